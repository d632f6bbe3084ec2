// SPDX-License-Identifier: Apache-2.0
// docker cp's two directions and stat, streaming POSIX.1-2001 (pax) tar.
//
// Run these in a child process that has entered the container's mount namespace, with `root` = open("/", O_PATH |
// O_DIRECTORY) there (or, for a container without processes, a descriptor of the root kept by the agent). No path is
// ever resolved outside of `root`. They block on `in` and `out` (pipes to the agent); a closed pipe ends them with a
// failure (ignore SIGPIPE).
#ifndef HYPERCELL_ARCHIVE_H
#define HYPERCELL_ARCHIVE_H

#include <stdbool.h>
#include <sys/types.h>

#include "failure.h"
#include "text.h"

// Appends {"name","size","mode","mtime_ns","link_target"} of `path`: the last component is not followed if it is a
// symlink, unless the path ends in "/" or "/.". link_target is the canonical path inside the root that a symlink
// leads to, else "". `not-found`.
int archive_stat(int root, const char *path, struct text *json, struct failure *f);

// Writes a tar of `path` to `out`, names beginning with the last component of the path (docker's rules: "/a/b" ->
// "b/…", "/a/b/." -> "./…", "/" -> "/…"). Sockets are left out. Files that vanish meanwhile are left out; one that
// shrinks is padded with NUL.
int archive_get(int root, const char *path, int out, struct failure *f);

// The same of everything below `root`, the names without a leading slash and without an entry of the root itself, as
// docker export has them.
int archive_export(int root, int out, struct failure *f);

struct archive_put {
	bool no_overwrite_dir_non_dir; // a directory may not replace a file, nor the other way round
	bool chown;                    // everything gets uid and gid below (copy_uid_gid), else those in the tar
	uid_t uid;
	gid_t gid;
};

// Unpacks the tar read from `in` into the directory `path`, to its end-of-archive marker or EOF; the rest of `in` is
// read and dropped. `invalid` for a malformed tar or a member that would leave `path`; `not-found` if the directory
// is missing.
int archive_put(int root, const char *path, int in, const struct archive_put *how, struct failure *f);

#endif
