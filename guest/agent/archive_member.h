// SPDX-License-Identifier: Apache-2.0
// What is on a disk, as members of a tar: one at a time, for whoever walks a tree.
#ifndef HYPERCELL_ARCHIVE_MEMBER_H
#define HYPERCELL_ARCHIVE_MEMBER_H

#include <limits.h>
#include <sys/stat.h>

#include "archive_links.h"
#include "failure.h"
#include "tar.h"

enum { ARCHIVE_XATTRS_SIZE = 65536 + 16384 };

// A zeroed struct, with its writer begun and `f` set.
struct archive_out {
	struct tar_writer writer;
	struct archive_links links;
	struct tar_member member;
	char name[PATH_MAX]; // of the member that is written next; a directory's ends in a slash
	char xattrs[ARCHIVE_XATTRS_SIZE];
	char names[16384]; // listxattr
	unsigned char data[65536];
	struct failure *f;
};

// All return 0, or -1 with f. What has vanished meanwhile, or is something else by now, is left out.

// The directory `fd`, without what is in it.
int archive_member_directory(struct archive_out *out, int fd, const struct stat *st);
// What `base` in the directory `parent` is, but for directories. Sockets are left out.
int archive_member_other(struct archive_out *out, int parent, const char *base, const struct stat *st);
// An empty file, which only its name says something by.
int archive_member_mark(struct archive_out *out);

#endif
