// SPDX-License-Identifier: Apache-2.0
#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "files.h"
#include "mount_api.h"
#include "mount_device.h"
#include "mount_entry.h"
#include "mount_options.h"
#include "path.h"

int mount_leave_initramfs(struct failure *f)
{
	// The initial file system cannot be moved or pivoted away from, a mount upon it can.
	int root = mount_api_clone(AT_FDCWD, "/", false), target = open("/", O_PATH | O_CLOEXEC), result = 0;

	if (root < 0 || target < 0 || mount_api_attach(root, target) != 0)
		result = fail_errno(f, "binding the initramfs over itself");
	// The new mount is on top of "/", yet this process is still below it.
	else if (fchdir(root) != 0 || chroot(".") != 0)
		result = fail_errno(f, "entering the bound initramfs");
	if (root >= 0)
		close(root);
	if (target >= 0)
		close(target);
	return result;
}

// Binds the root upon itself: pivot_root wants a mount point, and in a new user namespace one that is not locked.
static int open_root(const char *path, struct failure *f)
{
	struct mount_change slave = {.propagation = MS_SLAVE, .recursive = true};
	int top = open("/", O_PATH | O_CLOEXEC), target = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC), root = -1;

	// Nothing that is mounted from here on may be seen outside.
	if (top < 0 || mount_api_change(top, &slave) != 0)
		fail_errno(f, "making the mount tree a slave");
	else if (target < 0 || (root = mount_api_clone(target, "", true)) < 0 || mount_api_attach(root, target) != 0) {
		fail_errno(f, "binding the root %s", path);
		if (root >= 0)
			close(root);
		root = -1;
	}
	if (top >= 0)
		close(top);
	if (target >= 0)
		close(target);
	return root;
}

// As docker and runc: a working directory that the image does not have is made.
static void make_working_directory(int root, const struct json *config)
{
	const char *cwd = json_string(json_get(json_get(config, "process"), "cwd"), "/");
	int fd = path_create(root, cwd, true);

	// If it cannot be made, chdir will say so.
	if (fd >= 0)
		close(fd);
}

static int fill(int root, const struct json *config, const char *files, const struct json *list, struct failure *f)
{
	struct mount_entries entries = {0};
	bool read_only = json_bool(json_get(json_get(config, "root"), "readonly"), false);
	int result = -1;

	if (mount_entries_apply(root, json_get(config, "mounts"), &entries, f) == 0 &&
	    mount_device_nodes(root, config, f) == 0 && (files == NULL || files_bind(root, files, list, read_only, f) == 0)) {
		make_working_directory(root, config);
		// Only now, as the steps above have made files upon them.
		result = mount_entries_seal(&entries, f);
	}
	mount_entries_free(&entries);
	return result;
}

int mount_prepare(const char *root_path, const struct json *config, const char *files, const struct json *list,
		  struct failure *f)
{
	int root = open_root(root_path, f);

	if (root >= 0 && fill(root, config, files, list, f) != 0) {
		close(root);
		root = -1;
	}
	return root;
}

int mount_console(int root, int slave, struct failure *f)
{
	int target = path_create(root, "/dev/console", false);
	int bound = target >= 0 ? mount_api_clone(slave, "", false) : -1;
	int result = 0;

	if (bound < 0 || mount_api_attach_and_close(bound, target) != 0)
		result = fail_errno(f, "mounting /dev/console");
	if (target >= 0)
		close(target);
	return result;
}

// Calls change for each path of a list, opened inside the root; what is not there needs no protection.
static int for_each_path(int root, const struct json *paths, const char *what, int (*change)(int target), struct failure *f)
{
	for (size_t i = 0; i < json_length(paths); i++) {
		const char *path = json_string(json_at(paths, i), NULL);
		if (path == NULL)
			return fail(f, "invalid", "linux.%s must be strings", what);
		int target = path_open(root, path, O_PATH, 0);
		if (target < 0 && (errno == ENOENT || errno == ENOTDIR))
			continue;
		if (target < 0 || change(target) != 0) {
			fail_errno(f, "linux.%s: %s", what, path);
			if (target >= 0)
				close(target);
			return -1;
		}
		close(target);
	}
	return 0;
}

static int make_read_only(int target)
{
	struct mount_change read_only = {.set = MOUNT_READ_ONLY, .recursive = true};
	int copy = mount_api_clone(target, "", true);

	if (copy < 0)
		return -1;
	if (mount_api_change(copy, &read_only) != 0) {
		close(copy);
		return -1;
	}
	return mount_api_attach_and_close(copy, target);
}

// A directory is hidden by an empty one, anything else by the agent's own /dev/null (the container's may be a lie).
static int mask(int target)
{
	struct mount_change read_only = {.set = MOUNT_READ_ONLY};
	struct stat st;
	int cover;

	if (fstat(target, &st) != 0)
		return -1;
	if (S_ISDIR(st.st_mode))
		cover = mount_api_new("tmpfs", "tmpfs", "size=0,nr_inodes=2,mode=755", NULL);
	else
		cover = mount_api_clone(AT_FDCWD, "/dev/null", false);
	if (cover < 0)
		return -1;
	if (S_ISDIR(st.st_mode) && mount_api_change(cover, &read_only) != 0) {
		close(cover);
		return -1;
	}
	return mount_api_attach_and_close(cover, target);
}

static int pivot(int root, struct failure *f)
{
	// Both "." : the old root comes to lie upon the new one, from where it is taken off.
	if (fchdir(root) != 0 || syscall(SYS_pivot_root, ".", ".") != 0)
		return fail_errno(f, "pivot_root");
	if (umount2(".", MNT_DETACH) != 0)
		return fail_errno(f, "detaching the old root");
	return chdir("/") == 0 ? 0 : fail_errno(f, "entering the new root");
}

int mount_finish(int root, const struct json *config, struct failure *f)
{
	const struct json *linux_ = json_get(config, "linux");
	const char *propagation = json_string(json_get(linux_, "rootfsPropagation"), "");
	struct mount_change change;

	if (for_each_path(root, json_get(linux_, "readonlyPaths"), "readonlyPaths", make_read_only, f) != 0 ||
	    for_each_path(root, json_get(linux_, "maskedPaths"), "maskedPaths", mask, f) != 0)
		return -1;
	change = (struct mount_change){.set = MOUNT_READ_ONLY};
	if (json_bool(json_get(json_get(config, "root"), "readonly"), false) && mount_api_change(root, &change) != 0)
		return fail_errno(f, "making the root read-only");
	if (pivot(root, f) != 0)
		return -1;
	if (*propagation == '\0')
		return 0;
	if (!mount_options_propagation(propagation, &change))
		return fail(f, "invalid", "linux.rootfsPropagation \"%s\"", propagation);
	return mount_api_change(root, &change) == 0 ? 0 : fail_errno(f, "linux.rootfsPropagation");
}
