// SPDX-License-Identifier: Apache-2.0
// The names in a directory, in order: the same tree gives the same archive.
#ifndef HYPERCELL_ARCHIVE_NAMES_H
#define HYPERCELL_ARCHIVE_NAMES_H

#include <dirent.h>
#include <stddef.h>

#include "text.h"

// A zeroed struct is empty.
struct archive_names {
	const char **names; // sorted by strcmp; they point into `bytes`
	size_t length;
	struct text bytes;
};

// Replaces the names by the next ones of the listing, without "." and "..": all that are left, but at most some 2 MiB
// at once, so that a directory without end needs no memory without end. 1, 0 if there are none left; -1 with errno.
int archive_names_read(struct archive_names *names, DIR *listing);

void archive_names_free(struct archive_names *names);

#endif
