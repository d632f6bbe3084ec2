// SPDX-License-Identifier: Apache-2.0
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base64.h"
#include "mount_api.h"
#include "path.h"
#include "write_all.h"

enum { FILES_MAX = 256 };

static void file_name(char out[24], size_t i)
{
	(void)snprintf(out, 24, "%zu", i);
}

static int write_file(int directory, size_t i, const struct json *entry, struct failure *f)
{
	const char *path = json_string(json_get(entry, "path"), ""), *encoded = json_string(json_get(entry, "data"), "");
	mode_t mode = (mode_t)json_int(json_get(entry, "mode"), 0644) & 07777;
	size_t size = 0;
	char name[24];

	if (path[0] != '/')
		return fail(f, "invalid", "files: path \"%s\" must be absolute", path);
	unsigned char *data = base64_decode(encoded, &size);
	if (data == NULL)
		return fail(f, "invalid", "files: data of %s is not base64", path);
	file_name(name, i);
	int fd = openat(directory, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	int result = 0;
	if (fd < 0 || write_all(fd, data, size) != 0 ||
	    fchown(fd, (uid_t)json_uint(json_get(entry, "uid"), 0), (gid_t)json_uint(json_get(entry, "gid"), 0)) != 0 ||
	    fchmod(fd, mode) != 0)
		result = fail_errno(f, "writing %s", path);
	if (fd >= 0)
		close(fd);
	free(data);
	return result;
}

int files_write(const char *directory, const struct json *list, struct failure *f)
{
	if (json_length(list) == 0)
		return 0;
	if (json_length(list) > FILES_MAX)
		return fail(f, "invalid", "more than %d files", FILES_MAX);
	int fd = -1;
	if (mkdir(directory, 0700) != 0 || (fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
		fail_errno(f, "making %s", directory);
		(void)rmdir(directory);
		return -1;
	}
	int result = 0;
	for (size_t i = 0; i < json_length(list) && result == 0; i++)
		result = write_file(fd, i, json_at(list, i), f);
	close(fd);
	if (result != 0)
		files_remove(directory);
	return result;
}

void files_remove(const char *directory)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < FILES_MAX; i++) {
		if (snprintf(path, sizeof path, "%s/%zu", directory, i) >= (int)sizeof path || unlink(path) != 0)
			break;
	}
	(void)rmdir(directory);
}

static int bind_file(int root, int directory, size_t i, const char *path, bool read_only)
{
	struct mount_change change = {.set = read_only ? MOUNT_READ_ONLY : 0};
	char name[24];
	int target = path_create(root, path, false);

	if (target < 0)
		return -1;
	file_name(name, i);
	int copy = mount_api_clone(directory, name, false), result = -1;
	if (copy >= 0) {
		if (mount_api_change(copy, &change) == 0)
			result = mount_api_attach_and_close(copy, target);
		else
			close(copy);
	}
	int error = errno;
	close(target);
	errno = error;
	return result;
}

int files_bind(int root, const char *directory, const struct json *list, bool read_only, struct failure *f)
{
	if (json_length(list) == 0)
		return 0;
	int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC), result = 0;
	if (fd < 0)
		return fail_errno(f, "opening %s", directory);
	for (size_t i = 0; i < json_length(list) && result == 0; i++) {
		const char *path = json_string(json_get(json_at(list, i), "path"), "");
		if (bind_file(root, fd, i, path, read_only) != 0)
			result = fail_errno(f, "mounting the file %s", path);
	}
	close(fd);
	return result;
}
