// SPDX-License-Identifier: Apache-2.0
#include "volume.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "copy.h"
#include "disk.h"
#include "path.h"

// Not the file system's own root, where mkfs puts lost+found.
#define DIRECTORY "volume"

int volume_make(const char *disk, struct failure *f)
{
	char path[DISK_PATH_MAX + sizeof DIRECTORY + 1];
	struct stat st;

	(void)snprintf(path, sizeof path, "%s/" DIRECTORY, disk);
	if (mkdir(path, 0755) == 0 || (errno == EEXIST && lstat(path, &st) == 0 && S_ISDIR(st.st_mode)))
		return 0;
	// One that was never written, and is not to be now.
	if (errno == EROFS && lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	return fail(f, "invalid", "the disk %s holds no volume", disk);
}

int volume_open(const char *serial, const char *subpath, struct failure *f)
{
	char path[DISK_PATH_MAX + sizeof DIRECTORY + 1];

	if (strchr(serial, '/') != NULL)
		return fail(f, "invalid", "disk serial \"%s\"", serial);
	(void)snprintf(path, sizeof path, DISK_DIRECTORY "/%.*s/" DIRECTORY, DISK_PATH_MAX / 2, serial);
	int volume = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (volume < 0)
		return fail_errno(f, "opening the volume \"%s\"", serial);
	if (*subpath == '\0')
		return volume;
	int inside = path_open(volume, subpath, O_PATH, 0);
	if (inside < 0)
		fail(f, errno == ENOENT ? "not-found" : "invalid", "the volume has no %s: %s", subpath, strerror(errno));
	close(volume);
	return inside;
}

// -1 with errno, else whether.
static int is_empty(int volume)
{
	int fd = openat(volume, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;
	bool empty = true;

	if (directory == NULL) {
		int cause = errno;
		if (fd >= 0)
			close(fd);
		errno = cause;
		return -1;
	}
	while (empty && (entry = readdir(directory)) != NULL)
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	(void)closedir(directory);
	return empty;
}

int volume_fill(int target, int volume, struct failure *f)
{
	int empty = is_empty(volume);

	if (empty < 0)
		return fail_errno(f, "reading the volume");
	if (empty && copy_tree(target, volume) != 0 && errno != EROFS)
		return fail_errno(f, "copying what the image has into the volume");
	return 0;
}
