// SPDX-License-Identifier: Apache-2.0
// Who a process runs as, from OCI process.user and the container's own /etc/passwd and /etc/group.
#ifndef HYPERCELL_USER_H
#define HYPERCELL_USER_H

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

#include "failure.h"
#include "json.h"

enum { USER_GROUPS_MAX = 1024 };

struct user {
	uid_t uid;
	gid_t gid;
	size_t groups_length;
	gid_t groups[USER_GROUPS_MAX]; // for setgroups(2)
	char home[PATH_MAX];           // never empty: "/" if unknown
};

// `root`: a directory descriptor of the container's root (in the child: open("/") after mount_finish). The files are as
// hostile as the image: only regular files are read, at most 1 MiB of each, nothing blocks.
// With user.username (docker's `user[:group]`): resolved as docker does; unknown names and ids above 2^31-1 are
// `invalid`, worded as docker words them. Else uid and gid are taken as they are. additionalGids: numbers, or (an
// extension, for docker's --group-add) strings, which are names of /etc/group or numbers. `user` NULL: uid 0, gid 0.
// Returns 0 or -1.
int user_resolve(int root, const struct json *user, struct user *out, struct failure *f);

#endif
