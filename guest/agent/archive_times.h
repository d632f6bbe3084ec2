// SPDX-License-Identifier: Apache-2.0
// Times of directories, which can only be set once nothing more is put into them.
#ifndef HYPERCELL_ARCHIVE_TIMES_H
#define HYPERCELL_ARCHIVE_TIMES_H

#include <stddef.h>
#include <time.h>

struct archive_time;

// A zeroed struct is empty. Bounded: directories beyond keep the time of their unpacking.
struct archive_times {
	struct archive_time *last;
	size_t bytes;
};

void archive_times_add(struct archive_times *times, const char *path, struct timespec mtime);

// Sets them, each path resolved inside `root`. What is gone or cannot be changed is left as it is.
void archive_times_apply(const struct archive_times *times, int root);

void archive_times_free(struct archive_times *times);

#endif
