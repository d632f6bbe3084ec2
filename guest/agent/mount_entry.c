// SPDX-License-Identifier: Apache-2.0
#include "mount_entry.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "copy.h"
#include "disk.h"
#include "mount_api.h"
#include "mount_options.h"
#include "path.h"
#include "share.h"
#include "volume.h"

struct entry {
	const char *destination, *type, *source;
	struct mount_options options;
};

// File systems without a device, which make no difference between a read-only file system and a read-only mount.
static bool is_virtual(const char *type)
{
	static const char *const types[] = {"tmpfs", "ramfs", "proc", "sysfs", "devpts", "mqueue", "cgroup2"};

	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		if (strcmp(type, types[i]) == 0)
			return true;
	}
	return false;
}

static int parse(const struct json *entry, struct entry *out, struct failure *f)
{
	*out = (struct entry){
		.destination = json_string(json_get(entry, "destination"), ""),
		.type = json_string(json_get(entry, "type"), ""),
		.source = json_string(json_get(entry, "source"), ""),
	};
	if (json_length(json_get(entry, "uidMappings")) > 0 || json_length(json_get(entry, "gidMappings")) > 0)
		return fail(f, "unsupported", "mounts: uidMappings and gidMappings (idmapped mounts)");
	if (mount_options_parse(json_get(entry, "options"), &out->options, f) != 0)
		return -1;
	if (out->destination[0] != '/')
		return fail(f, "invalid", "mounts: destination \"%s\" must be absolute", out->destination);
	if (strcmp(out->type, "bind") == 0)
		out->options.bind = true;
	// A list made for cgroup v1: what there is here is version 2, under the container's own root.
	if (strcmp(out->type, "cgroup") == 0)
		out->type = "cgroup2";
	if (!out->options.bind && !out->options.remount && out->type[0] == '\0')
		return fail(f, "invalid", "mounts: %s has no type", out->destination);
	return 0;
}

// Opens the source of a bind. What lies on a disk was written by tenants: symlinks stay on that disk.
static int open_source(const char *source)
{
	const size_t prefix = sizeof DISK_DIRECTORY; // with the slash
	char disk[PATH_MAX];

	if (strncmp(source, DISK_DIRECTORY "/", prefix) != 0)
		return open(source, O_PATH | O_CLOEXEC);
	size_t serial = strcspn(source + prefix, "/");
	if (serial == 0 || snprintf(disk, sizeof disk, "%.*s", (int)(prefix + serial), source) >= (int)sizeof disk) {
		errno = ENOENT;
		return -1;
	}
	int root = open(disk, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -1;
	int fd = path_open(root, source + prefix + serial, O_PATH, 0), error = errno;
	close(root);
	errno = error;
	return fd;
}

// Whether a symlink of the image leads `path` elsewhere.
static bool is_displaced(int root, const char *path)
{
	char said[PATH_MAX], meant[PATH_MAX];

	return path_clean(path, said, sizeof said) == 0 && path_canonical(root, path, meant, sizeof meant) == 0 &&
	       strcmp(said, meant) != 0;
}

// Where to mount, made if it is missing. The root itself is no place: the descriptor of it would show what is below.
static int open_target(int root, const struct entry *e, bool directory, struct failure *f)
{
	struct stat there, top;

	// Masked and read-only paths are looked up by name, later. Were /proc a symlink, a mount in between could change where
	// it leads, and leave an open procfs elsewhere (CVE-2019-19921, CVE-2025-52881).
	if ((strcmp(e->type, "proc") == 0 || strcmp(e->type, "sysfs") == 0) && is_displaced(root, e->destination))
		return fail(f, "invalid", "mounts: %s is a symbolic link in the image", e->destination);
	int target = path_create(root, e->destination, directory);

	if (target < 0)
		return fail_errno(f, "making the mount point %s", e->destination);
	if (fstat(target, &there) == 0 && fstat(root, &top) == 0 && there.st_dev == top.st_dev &&
	    there.st_ino == top.st_ino) {
		close(target);
		return fail(f, "invalid", "mounts: destination \"%s\" is the root", e->destination);
	}
	return target;
}

// Attributes and propagation, in this order, as mount(8) does.
static int change(int mount, const struct entry *e, struct failure *f)
{
	if (mount_api_change(mount, &e->options.one) != 0 || mount_api_change(mount, &e->options.recursive) != 0)
		return fail_errno(f, "options of the mount %s", e->destination);
	for (unsigned i = 0; i < e->options.propagations; i++) {
		if (mount_api_change(mount, &e->options.propagation[i]) != 0)
			return fail_errno(f, "propagation of the mount %s", e->destination);
	}
	return 0;
}

// Takes `mount`, attaches it, and closes it unless it is left in *kept.
static int attach(int mount, int target, const struct entry *e, struct failure *f)
{
	if (mount_api_attach(mount, target) != 0)
		return fail_errno(f, "mounting on %s", e->destination);
	return change(mount, e, f);
}

static int bind_opened(int root, int source, const struct entry *e, struct failure *f)
{
	int target = -1, mount = -1, result = -1;
	struct stat st;

	if (fstat(source, &st) != 0)
		fail(f, "invalid", "mounts: source %s: %s", e->source, strerror(errno));
	else if ((target = open_target(root, e, S_ISDIR(st.st_mode), f)) >= 0) {
		mount = mount_api_clone(source, "", e->options.bind_recursive);
		result = mount < 0 ? fail_errno(f, "binding %s", e->source) : attach(mount, target, e, f);
	}
	if (mount >= 0)
		close(mount);
	if (target >= 0)
		close(target);
	return result;
}

static int mount_bind(int root, const struct entry *e, struct failure *f)
{
	int source = open_source(e->source), result = -1;

	if (source < 0)
		return fail(f, errno == ENOENT ? "not-found" : "invalid", "mounts: source %s: %s", e->source, strerror(errno));
	result = bind_opened(root, source, e, f);
	close(source);
	return result;
}

static bool exists(int root, const char *path)
{
	int fd = path_open(root, path, O_PATH, 0);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

// The mount point is made before the volume covers it: what the image has there may have to be copied first.
static int mount_volume(int root, const struct entry *e, struct failure *f)
{
	int source = volume_open(e->source, e->options.subpath, f), target = -1, mount = -1, result = -1;
	struct stat st;

	if (source < 0)
		return -1;
	bool existed = exists(root, e->destination);
	if (fstat(source, &st) != 0)
		fail_errno(f, "the volume \"%s\"", e->source);
	else if ((target = open_target(root, e, S_ISDIR(st.st_mode), f)) >= 0 &&
		 (!e->options.copy || !existed || !S_ISDIR(st.st_mode) || volume_fill(target, source, f) == 0)) {
		mount = mount_api_clone(source, "", false);
		result = mount < 0 ? fail_errno(f, "binding the volume \"%s\"", e->source) : attach(mount, target, e, f);
	}
	if (mount >= 0)
		close(mount);
	if (target >= 0)
		close(target);
	close(source);
	return result;
}

static int mount_share(int root, const struct entry *e, struct failure *f)
{
	int source = share_open(e->source, f), result = -1;

	if (source < 0)
		return -1;
	result = bind_opened(root, source, e, f);
	close(source);
	return result;
}

static int remount(int root, const struct entry *e, struct failure *f)
{
	if (!e->options.bind && e->options.data.length > 0)
		return fail(f, "unsupported", "mounts: remount of %s with options of its file system", e->destination);
	int target = path_open(root, e->destination, O_PATH, 0);
	if (target < 0)
		return fail_errno(f, "remounting %s", e->destination);
	int result = change(target, e, f);
	close(target);
	return result;
}

// The file system's options: those given, a tmpfs's mode as that of the directory it covers, and "ro" for devices.
static int file_system_data(const struct entry *e, int target, bool existed, struct text *data, struct failure *f)
{
	struct stat st;

	if (e->options.data.length > 0)
		text_append(data, e->options.data.data, e->options.data.length);
	if (existed && strcmp(e->type, "tmpfs") == 0 && !e->options.has_mode && fstat(target, &st) == 0)
		text_printf(data, ",mode=%o", (unsigned)st.st_mode & 07777U);
	if (e->options.read_only && !is_virtual(e->type))
		text_printf(data, ",ro");
	return data->failed ? fail(f, "internal", "out of memory") : 0;
}

// tmpcopyup: what the image has at the target is copied into the new tmpfs before it covers it.
static int copy_up(int target, int mount, const struct entry *e, struct failure *f)
{
	if (strcmp(e->type, "tmpfs") != 0)
		return fail(f, "invalid", "mounts: tmpcopyup on %s, which is no tmpfs", e->destination);
	if (copy_tree(target, mount) != 0)
		return fail_errno(f, "copying %s into its tmpfs", e->destination);
	return 0;
}

static int mount_new(int root, struct entry *e, struct mount_entries *entries, struct failure *f)
{
	struct text data = {0};
	bool existed = exists(root, e->destination);
	int target = open_target(root, e, true, f), mount = -1, result = -1;

	if (target < 0)
		return -1;
	// Read-only comes last of all: other mounts, devices and files may have to be made in this one.
	bool later = e->options.read_only;
	if (later)
		e->options.one.set &= ~MOUNT_READ_ONLY;
	if (file_system_data(e, target, existed, &data, f) == 0)
		mount = mount_api_new(e->type, *e->source != '\0' ? e->source : e->type, data.data, f);
	if (mount >= 0 && (!e->options.copy_up || copy_up(target, mount, e, f) == 0))
		result = attach(mount, target, e, f);
	text_free(&data);
	close(target);
	if (result == 0 && later)
		entries->read_only[entries->length++] = mount;
	else if (mount >= 0)
		close(mount);
	return result;
}

static int apply(int root, const struct json *entry, struct mount_entries *entries, struct failure *f)
{
	struct entry e;
	int result = parse(entry, &e, f);

	if (result == 0 && e.options.remount)
		result = remount(root, &e, f);
	else if (result == 0 && strcmp(e.type, VOLUME_TYPE) == 0)
		result = mount_volume(root, &e, f);
	else if (result == 0 && strcmp(e.type, SHARE_TYPE) == 0)
		result = mount_share(root, &e, f);
	else if (result == 0 && e.options.bind)
		result = mount_bind(root, &e, f);
	else if (result == 0)
		result = mount_new(root, &e, entries, f);
	mount_options_free(&e.options);
	return result;
}

int mount_entries_apply(int root, const struct json *mounts, struct mount_entries *entries, struct failure *f)
{
	size_t n = json_length(mounts);

	if (n > MOUNT_ENTRIES_MAX)
		return fail(f, "invalid", "more than %d mounts", MOUNT_ENTRIES_MAX);
	if (n == 0)
		return 0;
	entries->read_only = calloc(n, sizeof *entries->read_only);
	if (entries->read_only == NULL)
		return fail_errno(f, "mounts");
	for (size_t i = 0; i < n; i++) {
		if (apply(root, json_at(mounts, i), entries, f) != 0)
			return -1;
	}
	return 0;
}

int mount_entries_seal(struct mount_entries *entries, struct failure *f)
{
	struct mount_change read_only = {.set = MOUNT_READ_ONLY};

	for (size_t i = 0; i < entries->length; i++) {
		if (mount_api_change(entries->read_only[i], &read_only) != 0)
			return fail_errno(f, "making a mount read-only");
	}
	return 0;
}

void mount_entries_free(struct mount_entries *entries)
{
	for (size_t i = 0; i < entries->length; i++)
		close(entries->read_only[i]);
	free(entries->read_only);
	*entries = (struct mount_entries){0};
}
