// SPDX-License-Identifier: Apache-2.0
#include "copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DEPTH_MAX = 64, CHUNK = 1 << 20 };

static int copy_directory(int from, int to, int depth);

static int copy_attributes(int to, const struct stat *st)
{
	struct timespec times[2] = {st->st_atim, st->st_mtim};

	if (fchown(to, st->st_uid, st->st_gid) != 0 || fchmod(to, st->st_mode & 07777) != 0)
		return -1;
	return futimens(to, times);
}

static int copy_file(int from, int to, const char *name)
{
	struct stat st;
	int source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int target = openat(to, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
	int result = -1;

	if (source >= 0 && target >= 0 && fstat(source, &st) == 0) {
		ssize_t n;
		while ((n = sendfile(target, source, NULL, CHUNK)) > 0)
			;
		result = n == 0 ? copy_attributes(target, &st) : -1;
	}
	int error = errno;
	if (source >= 0)
		close(source);
	if (target >= 0)
		close(target);
	errno = error;
	return result;
}

static int copy_subdirectory(int from, int to, const char *name, int depth)
{
	if (mkdirat(to, name, 0700) != 0)
		return -1;
	int source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int target = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int result = source >= 0 && target >= 0 ? copy_directory(source, target, depth + 1) : -1;
	int error = errno;
	if (source >= 0)
		close(source);
	if (target >= 0)
		close(target);
	errno = error;
	return result;
}

static int copy_symlink(int from, int to, const char *name)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof target - 1);

	if (n < 0)
		return -1;
	target[n] = '\0';
	return symlinkat(target, to, name);
}

static int copy_one(int from, int to, const char *name, int depth)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return -1;
	if (S_ISDIR(st.st_mode))
		return copy_subdirectory(from, to, name, depth);
	if (S_ISREG(st.st_mode))
		return copy_file(from, to, name);
	if (S_ISSOCK(st.st_mode))
		return 0;
	struct timespec times[2] = {st.st_atim, st.st_mtim};
	int made = S_ISLNK(st.st_mode) ? copy_symlink(from, to, name) : mknodat(to, name, st.st_mode, st.st_rdev);
	if (made != 0 || fchownat(to, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) != 0)
		return -1;
	if (!S_ISLNK(st.st_mode) && fchmodat(to, name, st.st_mode & 07777, 0) != 0)
		return -1;
	return utimensat(to, name, times, AT_SYMLINK_NOFOLLOW);
}

static int copy_directory(int from, int to, int depth)
{
	struct stat st;
	int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0;
	DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *entry;

	if (listing == NULL) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (depth > DEPTH_MAX) {
		errno = ELOOP;
		result = -1;
	}
	while (result == 0 && (entry = readdir(listing)) != NULL) {
		const char *name = entry->d_name;
		if (name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0')))
			continue;
		result = copy_one(from, to, name, depth);
	}
	int error = errno;
	(void)closedir(listing);
	errno = error;
	// `to` may be a descriptor that cannot be changed through (O_PATH, a detached mount): open it anew.
	int target = result == 0 ? openat(to, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (target < 0)
		return -1;
	result = fstat(from, &st) == 0 ? copy_attributes(target, &st) : -1;
	close(target);
	return result;
}

int copy_tree(int from, int to)
{
	return copy_directory(from, to, 0);
}
