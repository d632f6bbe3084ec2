// SPDX-License-Identifier: Apache-2.0
#include "archive_times.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "path.h"

enum { BYTES_MAX = 8 << 20 };

struct archive_time {
	char *path;
	struct timespec mtime;
};

void archive_times_add(struct archive_times *times, const char *path, int64_t seconds, uint32_t nanoseconds)
{
	size_t size = strlen(path) + 1 + sizeof(struct archive_time);

	if (size > BYTES_MAX - times->bytes)
		return;
	if (times->length == times->capacity) {
		size_t capacity = times->capacity == 0 ? 64 : times->capacity * 2;
		struct archive_time *grown = realloc(times->entries, capacity * sizeof *grown);
		if (grown == NULL)
			return;
		times->entries = grown;
		times->capacity = capacity;
	}
	char *copy = strdup(path);
	if (copy == NULL)
		return;
	times->entries[times->length++] =
		(struct archive_time){copy, {.tv_sec = (time_t)seconds, .tv_nsec = (long)nanoseconds}};
	times->bytes += size;
}

void archive_times_apply(const struct archive_times *times, int root)
{
	// The deepest came last; setting a time does not change its parent's, so any order will do.
	for (size_t i = 0; i < times->length; i++) {
		struct timespec both[2] = {times->entries[i].mtime, times->entries[i].mtime};
		int fd = path_open(root, times->entries[i].path, O_RDONLY | O_DIRECTORY, 0);
		if (fd < 0)
			continue;
		(void)futimens(fd, both);
		close(fd);
	}
}

void archive_times_free(struct archive_times *times)
{
	for (size_t i = 0; i < times->length; i++)
		free(times->entries[i].path);
	free(times->entries);
	*times = (struct archive_times){0};
}
