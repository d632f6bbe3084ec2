// SPDX-License-Identifier: Apache-2.0
#include "modules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "path.h"

static int load(const char *name, struct failure *f)
{
	char path[160];

	(void)snprintf(path, sizeof path, "/modules/%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail_errno(f, "open %s", path);
	// It may be built into this kernel.
	int result = (int)syscall(SYS_finit_module, fd, "", 0);
	if (result < 0 && errno != EEXIST)
		(void)fail_errno(f, "load %s", path);
	else
		result = 0;
	(void)close(fd);
	(void)unlink(path);
	return result;
}

int modules_load(struct failure *f)
{
	char order[8192], *rest = order, *name;

	if (path_read(AT_FDCWD, "/modules/order", order, sizeof order) < 0)
		return errno == ENOENT ? 0 : fail_errno(f, "read /modules/order");
	while ((name = strsep(&rest, "\n")) != NULL) {
		if (*name != '\0' && load(name, f) < 0)
			return -1;
	}
	(void)unlink("/modules/order");
	(void)rmdir("/modules");
	return 0;
}
