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
	struct archive_time *before;
	struct timespec mtime;
	char path[];
};

void archive_times_add(struct archive_times *times, const char *path, struct timespec mtime)
{
	size_t length = strlen(path), size = sizeof(struct archive_time) + length + 1;
	struct archive_time *entry = size <= BYTES_MAX - times->bytes ? malloc(size) : NULL;

	if (entry == NULL)
		return;
	entry->before = times->last;
	entry->mtime = mtime;
	memcpy(entry->path, path, length + 1);
	times->last = entry;
	times->bytes += size;
}

void archive_times_apply(const struct archive_times *times, int root)
{
	for (const struct archive_time *entry = times->last; entry != NULL; entry = entry->before) {
		struct timespec both[2] = {entry->mtime, entry->mtime};
		int fd = path_open(root, entry->path, O_RDONLY | O_DIRECTORY, 0);
		if (fd < 0)
			continue;
		(void)futimens(fd, both);
		close(fd);
	}
}

void archive_times_free(struct archive_times *times)
{
	while (times->last != NULL) {
		struct archive_time *entry = times->last;
		times->last = entry->before;
		free(entry);
	}
	times->bytes = 0;
}
