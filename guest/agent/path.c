// SPDX-License-Identifier: Apache-2.0
#include "path.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	SYMLINKS_MAX = 40,  // as the kernel's MAXSYMLINKS
	ATTEMPTS_MAX = 128, // a rename anywhere above may make openat2 answer EAGAIN
};

int path_open(int root, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
		.mode = (flags & O_CREAT) != 0 ? mode : 0,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};

	if (*path == '\0')
		path = ".";
	for (int attempt = 0;; attempt++) {
		int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR) || attempt == ATTEMPTS_MAX)
			return fd;
	}
}

// The next component of *path: its length (0 at the end), with *path moved to its first byte.
static size_t next_component(const char **path)
{
	while (**path == '/')
		++*path;
	return strcspn(*path, "/");
}

static bool is_dot(const char *name, size_t n)
{
	return n == 1 && name[0] == '.';
}

static bool is_dot_dot(const char *name, size_t n)
{
	return n == 2 && name[0] == '.' && name[1] == '.';
}

// `out` holds "" for the root or "/a/b".
static int push(char *out, size_t size, const char *name, size_t n)
{
	size_t used = strlen(out);

	if (used + n + 2 > size) {
		errno = ENAMETOOLONG;
		return -1;
	}
	out[used] = '/';
	memcpy(out + used + 1, name, n);
	out[used + 1 + n] = '\0';
	return 0;
}

static void pop(char *out)
{
	char *slash = strrchr(out, '/');

	if (slash != NULL)
		*slash = '\0';
}

static int finish(char *out, size_t size)
{
	return *out == '\0' ? push(out, size, "", 0) : 0;
}

int path_clean(const char *path, char *out, size_t size)
{
	*out = '\0';
	for (size_t n; (n = next_component(&path)) > 0; path += n) {
		if (is_dot(path, n))
			continue;
		if (is_dot_dot(path, n))
			pop(out);
		else if (push(out, size, path, n) != 0)
			return -1;
	}
	return finish(out, size);
}

// The target of the symlink `path` in `out`; its length, 0 if it is no symlink or does not exist, -1 with errno.
static ssize_t read_symlink(int root, const char *path, char out[PATH_MAX])
{
	int fd = path_open(root, path, O_PATH | O_NOFOLLOW, 0);
	struct stat st;
	ssize_t n = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : -1;
	if (fstat(fd, &st) != 0) {
		n = -1;
	} else if (S_ISLNK(st.st_mode)) {
		n = readlinkat(fd, "", out, PATH_MAX - 1);
		if (n >= 0)
			out[n] = '\0';
	}
	int error = errno;
	close(fd);
	errno = error;
	return n;
}

int path_canonical(int root, const char *path, char *out, size_t size)
{
	char rest[2 * PATH_MAX], target[PATH_MAX];
	int links = 0;

	*out = '\0';
	if (snprintf(rest, sizeof rest, "%s", path) >= PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	const char *at = rest;
	for (size_t n; (n = next_component(&at)) > 0;) {
		const char *name = at;
		at += n;
		if (is_dot(name, n))
			continue;
		if (is_dot_dot(name, n)) {
			pop(out);
			continue;
		}
		if (push(out, size, name, n) != 0)
			return -1;
		ssize_t length = read_symlink(root, out, target);
		if (length < 0)
			return -1;
		if (length == 0)
			continue;
		size_t left = strlen(at);
		if (++links > SYMLINKS_MAX || (size_t)length + 1 + left >= sizeof rest) {
			errno = ELOOP;
			return -1;
		}
		if (target[0] == '/')
			*out = '\0';
		else
			pop(out);
		memmove(rest + length + 1, at, left + 1);
		memcpy(rest, target, (size_t)length);
		rest[length] = '/';
		at = rest;
	}
	return finish(out, size);
}

// Opens `name` in `parent`, made first if it is missing. Consumes `parent`.
static int enter(int parent, const char *name, bool directory)
{
	int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC | (directory ? O_DIRECTORY : 0);
	int fd = openat(parent, name, flags);

	if (fd < 0 && errno == ENOENT) {
		if (directory) {
			if (mkdirat(parent, name, 0755) == 0 || errno == EEXIST)
				fd = openat(parent, name, flags);
		} else {
			int made = openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);
			if (made >= 0) {
				close(made);
				fd = openat(parent, name, flags);
			}
		}
	}
	int error = errno;
	close(parent);
	errno = error;
	return fd;
}

int path_create(int root, const char *path, bool directory)
{
	char canonical[PATH_MAX], name[NAME_MAX + 1];
	int fd = path_open(root, path, O_PATH | (directory ? O_DIRECTORY : 0), 0);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	// Something is missing. Follow the symlinks first, then make what is missing without following any: nobody
	// else works in this tree now, and whoever puts a symlink in our way makes us fail, not stray.
	if (path_canonical(root, path, canonical, sizeof canonical) != 0)
		return -1;
	fd = fcntl(root, F_DUPFD_CLOEXEC, 3);
	const char *at = canonical;
	for (size_t n; fd >= 0 && (n = next_component(&at)) > 0;) {
		if (n > NAME_MAX) {
			close(fd);
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(name, at, n);
		name[n] = '\0';
		at += n;
		fd = enter(fd, name, directory || *at == '/');
	}
	return fd;
}

int path_write(int directory, const char *name, const char *data)
{
	int fd = openat(directory, name, O_WRONLY | O_CLOEXEC);
	size_t length = strlen(data);

	if (fd < 0)
		return -1;
	// Kernel files take a value in one write.
	ssize_t n = write(fd, data, length);
	int error = n < 0 ? errno : EIO;
	close(fd);
	if (n == (ssize_t)length)
		return 0;
	errno = error;
	return -1;
}

ssize_t path_read(int directory, const char *name, char *out, size_t size)
{
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n = 0;

	*out = '\0';
	if (fd < 0)
		return -1;
	while (used < size - 1 && (n = read(fd, out + used, size - 1 - used)) > 0)
		used += (size_t)n;
	int error = errno;
	close(fd);
	out[used] = '\0';
	errno = error;
	return n < 0 ? -1 : (ssize_t)used;
}
