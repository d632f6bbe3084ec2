// SPDX-License-Identifier: Apache-2.0
// docker cp's reading of a path: cleaned as text, absolute; its last component is followed only behind "/" or "/.".
#ifndef HYPERCELL_ARCHIVE_PATH_H
#define HYPERCELL_ARCHIVE_PATH_H

#include <limits.h>
#include <stdbool.h>

#include "failure.h"

struct archive_path {
	char clean[PATH_MAX];  // "/", "/a/b"
	char parent[PATH_MAX]; // "/", "/a"
	const char *base;      // "", "b": the end of `clean`
	bool follow;           // it ended in "/" or "/.", or is the root
	bool content;          // it ended in "/."
};

int archive_path_parse(const char *path, struct archive_path *out, struct failure *f);

// Opens it with O_PATH: `not-found`, or `invalid` if "/" stood behind a file.
int archive_path_open(int root, const struct archive_path *path, struct failure *f);

// Turns errno of a look-up into a failure: `not-found` for ENOENT, `invalid` for ENOTDIR and ELOOP.
int archive_path_failed(const char *path, struct failure *f);

#endif
