// SPDX-License-Identifier: Apache-2.0
#include "archive_path.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "path.h"

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && strcmp(s + n - m, end) == 0;
}

int archive_path_parse(const char *path, struct archive_path *out, struct failure *f)
{
	if (path_clean(path, out->clean, sizeof out->clean) != 0)
		return fail(f, "invalid", "path is too long");
	bool root = strcmp(out->clean, "/") == 0;
	char *slash = strrchr(out->clean, '/');
	size_t n = (size_t)(slash - out->clean);
	out->base = slash + 1;
	memcpy(out->parent, out->clean, n);
	memcpy(out->parent + n, n == 0 ? "/" : "", n == 0 ? 2 : 1);
	out->content = ends_with(path, "/.") || strcmp(path, ".") == 0;
	out->follow = root || out->content || ends_with(path, "/");
	return 0;
}

int archive_path_failed(const char *path, struct failure *f)
{
	if (errno == ENOENT)
		return fail(f, "not-found", "no such file or directory: %.300s", path);
	if (errno == ENOTDIR)
		return fail(f, "invalid", "not a directory: %.300s", path);
	if (errno == ELOOP || errno == ENAMETOOLONG)
		return fail(f, "invalid", "%.300s: %s", path, strerror(errno));
	return fail_errno(f, "%.300s", path);
}

int archive_path_open(int root, const struct archive_path *path, struct failure *f)
{
	int fd = path_open(root, path->clean, O_PATH | (path->follow ? O_DIRECTORY : O_NOFOLLOW), 0);

	return fd >= 0 ? fd : archive_path_failed(path->clean, f);
}
