// SPDX-License-Identifier: Apache-2.0
#include "remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { DEPTH_MAX = 512 };

static int remove_at(int parent, const char *name, int depth);

static int remove_content(int fd, int depth)
{
	DIR *listing = fdopendir(fd);
	const struct dirent *entry;
	int result = 0;

	if (listing == NULL) {
		close(fd);
		return -1;
	}
	while (result == 0 && (entry = readdir(listing)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			result = remove_at(dirfd(listing), entry->d_name, depth + 1);
	}
	int error = errno;
	(void)closedir(listing);
	errno = error;
	return result;
}

static int remove_at(int parent, const char *name, int depth)
{
	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return -1;
	if (depth > DEPTH_MAX) {
		errno = ELOOP;
		return -1;
	}
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || remove_content(fd, depth) != 0)
		return -1;
	return unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -1;
}

int remove_tree(int parent, const char *name)
{
	return remove_at(parent, name, 0);
}
