// SPDX-License-Identifier: Apache-2.0
#include "sysctl.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "path.h"

static const char *const ipc_names[] = {
	"kernel/msgmax", "kernel/msgmnb",          "kernel/msgmni", "kernel/sem", "kernel/shmall",
	"kernel/shmmax", "kernel/shm_rmid_forced", "kernel/shmmni",
};

static bool is_ipc(const char *path)
{
	if (strncmp(path, "fs/mqueue/", 10) == 0)
		return true;
	for (size_t i = 0; i < sizeof ipc_names / sizeof ipc_names[0]; i++) {
		if (strcmp(path, ipc_names[i]) == 0)
			return true;
	}
	return false;
}

static bool is_allowed(const char *path, const struct sysctl_scope *scope)
{
	if (scope->machine)
		return true;
	if (strncmp(path, "net/", 4) == 0)
		return scope->network;
	if (is_ipc(path))
		return scope->ipc;
	return strcmp(path, "kernel/domainname") == 0 && scope->uts;
}

// Which of '.' and '/' comes first is the separator, and the other one stands for itself (sysctl(8)).
static int to_path(const char *name, char *path, size_t size, struct failure *f)
{
	size_t n = strlen(name);
	char separator = name[strcspn(name, "./")];

	if (n == 0 || n >= size || *name == '.' || *name == '/')
		return fail(f, "invalid", "sysctl: bad name %.64s", name);
	for (size_t i = 0; i <= n; i++) {
		if (name[i] == '.' && separator == '.')
			path[i] = '/';
		else if (name[i] == '/' && separator == '.')
			path[i] = '.';
		else
			path[i] = name[i];
	}
	if (strstr(path, "..") != NULL || strstr(path, "//") != NULL)
		return fail(f, "invalid", "sysctl: bad name %.64s", name);
	return 0;
}

int sysctl_apply(const struct json *values, const struct sysctl_scope *scope, struct failure *f)
{
	char path[256];

	if (json_length(values) == 0)
		return 0;
	for (size_t i = 0; i < json_length(values); i++) {
		const char *name = json_key(values, i), *value = json_string(json_at(values, i), NULL);
		if (name == NULL || value == NULL)
			return fail(f, "invalid", "sysctl must be an object of strings");
		memcpy(path, "/proc/sys/", 10);
		if (to_path(name, path + 10, sizeof path - 10, f) < 0)
			return -1;
		if (!is_allowed(path + 10, scope))
			return fail(f, "invalid", "sysctl %s is not in a separate kernel namespace", name);
		if (path_write(AT_FDCWD, path, value) < 0)
			return fail_errno(f, "sysctl %s", name);
	}
	return 0;
}
