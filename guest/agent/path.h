// SPDX-License-Identifier: Apache-2.0
// Paths inside a root that a tenant wrote. Every look-up is openat2(2) with RESOLVE_IN_ROOT: "..", absolute
// symlinks and races can never lead outside; magic links of /proc are refused.
#ifndef HYPERCELL_PATH_H
#define HYPERCELL_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

// openat2 of `path` inside `root` (a directory descriptor). `flags` as for open(2); O_CLOEXEC is added. `mode`
// only with O_CREAT. Returns the descriptor or -1 with errno.
int path_open(int root, const char *path, int flags, mode_t mode);

// As path_open with O_PATH; what is missing is created first: directories (0755), and for !directory an empty file
// (0644) at the end. Returns an O_PATH descriptor or -1 with errno (ENOTDIR if a file stands in the way,
// ELOOP for a dangling symlink that cannot be followed to a place that could be created).
int path_create(int root, const char *path, bool directory);

// Copies `path` without the empty, "." and ".." components, with one leading "/" ("/" for the root itself); ".." is
// resolved as text. Returns 0, or -1 with errno ENAMETOOLONG.
int path_clean(const char *path, char *out, size_t size);

// The absolute path that `path` has inside `root` once every symlink is followed (the last one too). Parts that
// do not exist are kept as they are. Returns 0 or -1 with errno (ELOOP, ENAMETOOLONG, …).
int path_canonical(int root, const char *path, char *out, size_t size);

// Writes all of `data` to the file `name` in `directory`, which must exist (for /proc, /sys, cgroupfs). -1 with errno.
int path_write(int directory, const char *name, const char *data);

// Reads at most size - 1 bytes of the file `name` in `directory` and ends them with NUL. The length, or -1 with errno.
ssize_t path_read(int directory, const char *name, char *out, size_t size);

#endif
