// SPDX-License-Identifier: Apache-2.0
// Only <linux/mount.h> here: some C libraries' <sys/mount.h> cannot stand beside it.
#include "mount_api.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

static int configure(int context, unsigned command, const char *key, const char *value)
{
	return (int)syscall(SYS_fsconfig, context, command, key, value, 0);
}

// One option, "key=value" or "flag".
static int configure_option(int context, char *option)
{
	char *value = strchr(option, '=');

	if (*option == '\0')
		return 0;
	if (value == NULL)
		return configure(context, FSCONFIG_SET_FLAG, option, NULL);
	*value++ = '\0';
	return configure(context, FSCONFIG_SET_STRING, option, value);
}

static int configure_options(int context, const char *data)
{
	char *copy = strdup(data), *position = NULL;
	int result = copy == NULL ? -1 : 0;

	for (char *option = result == 0 ? strtok_r(copy, ",", &position) : NULL; option != NULL && result == 0;
	     option = strtok_r(NULL, ",", &position))
		result = configure_option(context, option);
	free(copy);
	return result;
}

// The kernel keeps its explanations in the context: "e tmpfs: Bad value for 'size'".
static int explain(int context, const char *type, struct failure *f)
{
	char message[256];
	int error = errno;
	ssize_t n = read(context, message, sizeof message - 1);

	if (n > 2 && message[1] == ' ') {
		message[n] = '\0';
		message[strcspn(message, "\n")] = '\0';
		return fail(f, error == EINVAL ? "invalid" : "internal", "mounting %s: %s", type, message + 2);
	}
	errno = error;
	if (error == EINVAL)
		return fail(f, "invalid", "mounting %s: an option is not accepted", type);
	return fail_errno(f, "mounting %s", type);
}

int mount_api_new(const char *type, const char *source, const char *data, struct failure *f)
{
	int context = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC), mount = -1;

	if (context < 0)
		return errno == ENODEV ? fail(f, "unsupported", "file system type \"%s\"", type)
				       : fail_errno(f, "file system type \"%s\"", type);
	if ((source != NULL && *source != '\0' && configure(context, FSCONFIG_SET_STRING, "source", source) != 0) ||
	    (data != NULL && configure_options(context, data) != 0) ||
	    configure(context, FSCONFIG_CMD_CREATE, NULL, NULL) != 0 ||
	    (mount = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0)) < 0)
		explain(context, type, f);
	close(context);
	return mount;
}

int mount_api_clone(int directory, const char *path, bool recursive)
{
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;

	flags |= *path == '\0' ? (unsigned)AT_EMPTY_PATH : 0;
	flags |= recursive ? (unsigned)AT_RECURSIVE : 0;
	return (int)syscall(SYS_open_tree, directory, path, flags);
}

int mount_api_attach(int mount, int target)
{
	return (int)syscall(SYS_move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

int mount_api_attach_and_close(int mount, int target)
{
	int result = mount_api_attach(mount, target), error = errno;

	close(mount);
	errno = error;
	return result;
}

int mount_api_change(int mount, const struct mount_change *change)
{
	struct mount_attr attributes = {
		.attr_set = change->set,
		.attr_clr = change->clear,
		.propagation = change->propagation,
	};
	unsigned flags = AT_EMPTY_PATH | (change->recursive ? (unsigned)AT_RECURSIVE : 0);

	if (change->set == 0 && change->clear == 0 && change->propagation == 0)
		return 0;
	// The times are one field of two bits, which can only be replaced as a whole.
	if ((change->set & MOUNT_ATTR__ATIME) != 0)
		attributes.attr_clr |= MOUNT_ATTR__ATIME;
	return (int)syscall(SYS_mount_setattr, mount, "", flags, &attributes, sizeof attributes);
}
