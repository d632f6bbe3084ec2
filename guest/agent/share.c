// SPDX-License-Identifier: Apache-2.0
#include "share.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define DIRECTORY "/run/hypercell/share"
#define TAG "hypercell.share"

int share_mount(struct failure *f)
{
	static bool mounted;
	static const char *const parents[] = {"/run", "/run/hypercell", DIRECTORY};

	if (mounted)
		return 0;
	for (size_t i = 0; i < sizeof parents / sizeof parents[0]; i++) {
		if (mkdir(parents[i], 0755) != 0 && errno != EEXIST)
			return fail_errno(f, "making %s", parents[i]);
	}
	if (mount(TAG, DIRECTORY, "virtiofs", 0, NULL) != 0) {
		if (errno == ENODEV)
			return fail(f, "unsupported", "this kernel has no virtiofs");
		return errno == EINVAL ? fail(f, "not-found", "the host shares nothing with this VM")
				       : fail_errno(f, "mounting what the host shares");
	}
	mounted = true;
	return 0;
}

int share_open(const char *name, struct failure *f)
{
	char path[sizeof DIRECTORY + 24];
	struct stat st;
	size_t n = strlen(name);

	if (n == 0 || n > 6 || strspn(name, "0123456789") != n)
		return fail(f, "invalid", "mounts: source \"%s\" is no number", name);
	(void)snprintf(path, sizeof path, DIRECTORY "/%s", name);
	if (lstat(path, &st) != 0)
		return fail(f, "not-found", "the host shares nothing as %s", name);
	// A directory has a file system of its own, which is mounted when somebody goes there.
	if (S_ISDIR(st.st_mode))
		(void)strncat(path, "/.", sizeof path - strlen(path) - 1);
	int fd = open(path, O_PATH | O_CLOEXEC);
	return fd >= 0 ? fd : fail_errno(f, "opening what the host shares");
}
