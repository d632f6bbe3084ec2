// SPDX-License-Identifier: Apache-2.0
#include "rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"
#include "path.h"
#include "share.h"
#include "text.h"
#include "volume.h"

#define CONTAINERS "/run/hypercell/containers"

static int acquire_disk(struct rootfs *r, const char *serial, const char *fstype, char path[DISK_PATH_MAX],
			struct failure *f)
{
	if (r->disks_length == ROOTFS_DISKS_MAX)
		return fail(f, "invalid", "a container of more than %d disks", ROOTFS_DISKS_MAX);
	if (disk_acquire(serial, fstype, path, f) != 0)
		return -1;
	(void)snprintf(r->disks[r->disks_length], sizeof r->disks[0], "%s", serial);
	r->disks_length++;
	return 0;
}

static int acquire(struct rootfs *r, const struct json *disk, char path[DISK_PATH_MAX], struct failure *f)
{
	return acquire_disk(r, json_string(json_get(disk, "disk"), ""), json_string(json_get(disk, "fstype"), ""), path, f);
}

// upper and work in `base`, made anew or found as an earlier container of the same id left them.
static int make_upper(const char *base, const char *id, struct rootfs_layers *l, struct failure *f)
{
	int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC), upper = -1, work = -1;
	struct stat st;
	char name[160];

	if (fd >= 0) {
		(void)snprintf(name, sizeof name, "%s/upper", id);
		bool fresh = fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0;
		upper = path_create(fd, name, true);
		// The merged root's own attributes are the upper directory's.
		if (upper >= 0 && fresh && l->lowers_length > 0 && stat(l->lowers[0], &st) == 0 &&
		    (fchownat(fd, name, st.st_uid, st.st_gid, 0) != 0 || fchmodat(fd, name, st.st_mode & 07777, 0) != 0)) {
			close(upper);
			upper = -1;
		}
		(void)snprintf(name, sizeof name, "%s/work", id);
		work = upper >= 0 ? path_create(fd, name, true) : -1;
	}
	int result = work >= 0 ? 0 : fail_errno(f, "making the writable layer");
	if (work >= 0)
		close(work);
	if (upper >= 0)
		close(upper);
	if (fd >= 0)
		close(fd);
	(void)snprintf(l->upper, sizeof l->upper, "%s/%s/upper", base, id);
	(void)snprintf(l->work, sizeof l->work, "%s/%s/work", base, id);
	l->writable = true;
	return result;
}

static int mount_scratch(struct rootfs *r, const char *id, const struct json *tmpfs, struct failure *f)
{
	char data[64];
	int64_t size = json_int(json_get(tmpfs, "size"), 0);

	if (!json_is_object(tmpfs) || size <= 0)
		return fail(f, "invalid", "root.upper.tmpfs.size must be above 0");
	(void)snprintf(data, sizeof data, "size=%" PRId64 ",mode=755", size);
	(void)snprintf(r->scratch, sizeof r->scratch, CONTAINERS "/%s/scratch", id);
	if ((mkdir(r->scratch, 0700) != 0 && errno != EEXIST) || mount("tmpfs", r->scratch, "tmpfs", 0, data) != 0) {
		fail_errno(f, "mounting the writable layer");
		(void)rmdir(r->scratch);
		r->scratch[0] = '\0';
		return -1;
	}
	return 0;
}

static int prepare_layers(struct rootfs *r, const char *id, const struct json *root, struct rootfs_layers *l, struct failure *f)
{
	const struct json *lower = json_get(root, "lower"), *upper = json_get(root, "upper");
	const struct json *tmpfs = json_get(upper, "tmpfs");
	char base[DISK_PATH_MAX];

	if (!json_is_object(root) || (lower != NULL && !json_is_array(lower)) || json_length(lower) > ROOTFS_LOWERS_MAX)
		return fail(f, "invalid", "root.lower must be an array of at most %d disks", ROOTFS_LOWERS_MAX);
	for (size_t i = 0; i < json_length(lower); i++) {
		if (acquire(r, json_at(lower, i), l->lowers[l->lowers_length++], f) != 0)
			return -1;
	}
	if (upper == NULL || json_type(upper) == JSON_NULL)
		return l->lowers_length > 0 ? 0 : fail(f, "invalid", "root has no layers");
	if (tmpfs != NULL)
		return mount_scratch(r, id, tmpfs, f) == 0 ? make_upper(r->scratch, ".", l, f) : -1;
	return acquire(r, upper, base, f) == 0 ? make_upper(base, id, l, f) : -1;
}

// As docker's overlay2: no index, no metacopy and no redirects, so that the upper directory alone says what was
// changed.
static int mount_overlay(const struct rootfs *r, const struct rootfs_layers *l, struct failure *f)
{
	struct text data = {0};
	int result = -1;

	for (size_t i = 0; i < l->lowers_length; i++)
		text_printf(&data, "%s%s", i == 0 ? "lowerdir=" : ":", l->lowers[i]);
	if (l->writable)
		text_printf(&data, ",upperdir=%s,workdir=%s,index=off,metacopy=off,redirect_dir=off,xino=auto", l->upper,
			    l->work);
	if (data.failed)
		fail(f, "internal", "out of memory");
	else if (mount("overlay", r->path, "overlay", 0, data.data) != 0)
		fail_errno(f, "mounting the overlay");
	else
		result = 0;
	text_free(&data);
	return result;
}

static int mount_layers(const struct rootfs *r, const struct rootfs_layers *l, struct failure *f)
{
	if (l->lowers_length + (l->writable ? 1 : 0) > 1)
		return mount_overlay(r, l, f);
	// Only one layer: it is the root as it is.
	const char *only = l->writable ? l->upper : l->lowers[0];
	return mount(only, r->path, NULL, MS_BIND, NULL) == 0 ? 0 : fail_errno(f, "mounting the root");
}

static int make_directories(struct rootfs *r, const char *id, struct failure *f)
{
	static const char *const parents[] = {"/run", "/run/hypercell", CONTAINERS};

	for (size_t i = 0; i < sizeof parents / sizeof parents[0]; i++) {
		if (mkdir(parents[i], 0755) != 0 && errno != EEXIST)
			return fail_errno(f, "making %s", parents[i]);
	}
	(void)snprintf(r->path, sizeof r->path, CONTAINERS "/%s", id);
	if (mkdir(r->path, 0700) != 0 && errno != EEXIST)
		return fail_errno(f, "making %s", r->path);
	(void)snprintf(r->path, sizeof r->path, CONTAINERS "/%s/root", id);
	if (mkdir(r->path, 0755) != 0 && errno != EEXIST)
		return fail_errno(f, "making %s", r->path);
	return 0;
}

// Everything of it, as far as it came.
static int give_back(struct rootfs *r, struct failure *f)
{
	int result = 0;

	if (r->path[0] != '\0') {
		(void)umount2(r->path, MNT_DETACH);
		(void)rmdir(r->path);
	}
	if (r->scratch[0] != '\0') {
		(void)umount2(r->scratch, MNT_DETACH);
		(void)rmdir(r->scratch);
	}
	// The container's directory; it stays if somebody else (files_write) still has something in it.
	char *slash = strrchr(r->path, '/');
	if (slash != NULL) {
		*slash = '\0';
		(void)rmdir(r->path);
	}
	while (r->disks_length > 0) {
		if (disk_release(r->disks[--r->disks_length], f) != 0)
			result = -1;
	}
	*r = (struct rootfs){0};
	return result;
}

int rootfs_mount(const char *id, const struct json *root, struct rootfs *out, struct failure *f)
{
	struct rootfs_layers l = {0};

	*out = (struct rootfs){0};
	if (strlen(id) > 64 || *id == '\0' || strchr(id, '/') != NULL || strcmp(id, ".") == 0 || strcmp(id, "..") == 0)
		return fail(f, "invalid", "container id \"%s\"", id);
	if (make_directories(out, id, f) == 0 && prepare_layers(out, id, root, &l, f) == 0 && mount_layers(out, &l, f) == 0) {
		out->layers = l;
		return 0;
	}
	(void)give_back(out, NULL);
	return -1;
}

int rootfs_add_volumes(struct rootfs *r, const struct json *mounts, struct failure *f)
{
	char path[DISK_PATH_MAX];

	for (size_t i = 0; i < json_length(mounts); i++) {
		const struct json *entry = json_at(mounts, i);
		const char *type = json_string(json_get(entry, "type"), "");
		if (strcmp(type, SHARE_TYPE) == 0 && share_mount(f) != 0)
			return -1;
		if (strcmp(type, VOLUME_TYPE) != 0)
			continue;
		if (acquire_disk(r, json_string(json_get(entry, "source"), ""), VOLUME_FSTYPE, path, f) != 0 ||
		    volume_make(path, f) != 0)
			return -1;
	}
	return 0;
}

int rootfs_unmount(struct rootfs *rootfs, struct failure *f)
{
	return give_back(rootfs, f);
}

static int open_directory(const char *path, int *out, struct failure *f)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return fail_errno(f, "opening a layer");
	*out = fd;
	return 0;
}

int rootfs_open_upper(const struct rootfs *r, int *out, struct failure *f)
{
	*out = -1;
	return r->layers.writable ? open_directory(r->layers.upper, out, f) : 0;
}

int rootfs_open_lower(const struct rootfs *r, int *out, struct failure *f)
{
	struct rootfs_layers lower = r->layers;

	*out = -1;
	if (lower.lowers_length == 0)
		return 0;
	if (lower.lowers_length == 1)
		return open_directory(lower.lowers[0], out, f);
	// Several are merged as for the container, over its root, where nobody else sees it.
	lower.writable = false;
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return fail_errno(f, "making a mount namespace");
	return mount_overlay(r, &lower, f) == 0 ? open_directory(r->path, out, f) : -1;
}
