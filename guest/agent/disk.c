// SPDX-License-Identifier: Apache-2.0
#include "disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "path.h"

enum {
	DISKS_MAX = 64,
	SERIAL_MAX = 20, // VIRTIO_BLK_ID_BYTES
	VPD_HEADER = 4,
	BLOCK = 4096,
	NODE_MAX = 32,
	WAIT_STEP_MS = 5,
	APPEAR_TIMEOUT_MS = 2000,
	FREE_TIMEOUT_MS = 1000,
};

struct disk {
	char serial[SERIAL_MAX + 1];
	char node[NODE_MAX]; // "/dev/vdb"
	const struct kind *kind;
	bool read_only; // as a device
	unsigned users; // 0: this place is free, but for the same disk
};

// What may be mounted; nothing is ever probed, as a tenant writes the disks.
static const struct kind {
	const char *fstype;
	unsigned long flags;
	const char *data;
	const char *afterwards; // options of a remount that makes it fit to use; NULL: it is
} kinds[] = {
	{"erofs", MS_RDONLY | MS_NOATIME, NULL, NULL},
	{"squashfs", MS_RDONLY | MS_NOATIME, NULL, NULL},
	// noinit_itable: zeroing a fresh disk's inode tables in the background costs more than it ever saves here.
	// Mounting marks the disk as in use, which with barriers waits three times for the host's own disk. The first
	// commit that matters flushes these marks before itself, so it is enough to have barriers from then on.
	{"ext4", MS_NOATIME, "errors=remount-ro,noinit_itable,barrier=0", "barrier=1"},
};

static struct disk disks[DISKS_MAX];

static void sleep_step(void)
{
	struct timespec t = {.tv_nsec = WAIT_STEP_MS * 1000000L};

	(void)nanosleep(&t, NULL);
}

static bool is_serial(const char *serial)
{
	size_t n = strlen(serial);

	return n > 0 && n <= SERIAL_MAX && strcmp(serial, ".") != 0 && strcmp(serial, "..") != 0 &&
	       strspn(serial, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == n;
}

static const struct kind *find_kind(const char *fstype)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		if (strcmp(kinds[i].fstype, fstype) == 0)
			return &kinds[i];
	}
	return NULL;
}

static struct disk *find_mounted(const char *serial)
{
	for (size_t i = 0; i < DISKS_MAX; i++) {
		if (disks[i].users > 0 && strcmp(disks[i].serial, serial) == 0)
			return &disks[i];
	}
	return NULL;
}

// A place for the disk: the one that it had before.
static struct disk *find_free(const char *serial)
{
	struct disk *found = NULL;

	for (size_t i = 0; i < DISKS_MAX; i++) {
		if (disks[i].users == 0 && strcmp(disks[i].serial, serial) == 0)
			return &disks[i];
		if (disks[i].users == 0 && (found == NULL || (*found->serial != '\0' && *disks[i].serial == '\0')))
			found = &disks[i];
	}
	return found;
}

static void mount_point(const char *serial, char path[DISK_PATH_MAX])
{
	(void)snprintf(path, DISK_PATH_MAX, DISK_DIRECTORY "/%.*s", SERIAL_MAX, serial);
}

// A virtio-blk disk has a file of it, which asks the disk; a SCSI disk the page of it (SPC-4, 7.8.10), as it was read
// when the disk was found.
static bool has_serial(int blocks, const char *name, const char *serial)
{
	char file[300], page[VPD_HEADER + 64] = {0}, *content = page;

	(void)snprintf(file, sizeof file, "%s/serial", name);
	if (path_read(blocks, file, page, sizeof page) < 0) {
		(void)snprintf(file, sizeof file, "%s/device/vpd_pg80", name);
		if (path_read(blocks, file, page, sizeof page) < VPD_HEADER)
			return false;
		content += VPD_HEADER;
	}
	content[strcspn(content, " \n")] = '\0';
	return strcmp(content, serial) == 0;
}

// A disk that is being found has its name a moment before it can be opened. One that was taken away has it a moment
// longer, and can be opened: its answer is what tells. (Each is plugged in at a place of its own.)
static bool answers(const char *node)
{
	static _Alignas(BLOCK) char block[BLOCK];
	bool plugged = strncmp(node, "/dev/sd", 7) == 0;
	int fd = open(node, O_RDONLY | O_CLOEXEC | (plugged ? O_DIRECT : 0));
	bool result = fd >= 0 && (!plugged || pread(fd, block, sizeof block, 0) == (ssize_t)sizeof block);

	if (fd >= 0)
		close(fd);
	return result;
}

// Looks once through /sys/block; the node must be there too.
static bool find_node(const char *serial, char node[NODE_MAX])
{
	DIR *blocks = opendir("/sys/block");
	const struct dirent *entry;
	bool found = false;

	if (blocks == NULL)
		return false;
	while (!found && (entry = readdir(blocks)) != NULL) {
		if (entry->d_name[0] == '.' || !has_serial(dirfd(blocks), entry->d_name, serial))
			continue;
		found = snprintf(node, NODE_MAX, "/dev/%s", entry->d_name) < NODE_MAX && answers(node);
	}
	(void)closedir(blocks);
	return found;
}

static int wait_for_node(const char *serial, char node[NODE_MAX], struct failure *f)
{
	for (int waited = 0; !find_node(serial, node); waited += WAIT_STEP_MS) {
		if (waited >= APPEAR_TIMEOUT_MS)
			return fail(f, "not-found", "no disk has the serial \"%s\"", serial);
		sleep_step();
	}
	return 0;
}

// Where it was before, a disk in a slot is again; to ask for its serial costs each of them a request. One that was
// plugged in may have been taken away meanwhile.
static bool is_still_there(const struct disk *d)
{
	const char *name = d->node + sizeof "/dev";
	int blocks;
	bool result;

	if (strncmp(name, "sd", 2) != 0)
		return true;
	blocks = open("/sys/block", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	result = blocks >= 0 && has_serial(blocks, name, d->serial) && answers(d->node);
	if (blocks >= 0)
		close(blocks);
	return result;
}

static bool is_read_only(const struct disk *d)
{
	char file[NODE_MAX + 20], content[8];

	(void)snprintf(file, sizeof file, "/sys/block/%s/ro", d->node + sizeof "/dev");
	return path_read(AT_FDCWD, file, content, sizeof content) > 0 && content[0] == '1';
}

static int make_mount_point(const char *path)
{
	static const char *const parents[] = {"/run", "/run/hypercell", DISK_DIRECTORY};

	for (size_t i = 0; i < sizeof parents / sizeof parents[0]; i++) {
		if (mkdir(parents[i], 0755) != 0 && errno != EEXIST)
			return -1;
	}
	return mkdir(path, 0755) != 0 && errno != EEXIST ? -1 : 0;
}

static int mount_disk(struct disk *d, const char *path, struct failure *f)
{
	if (make_mount_point(path) != 0)
		return fail_errno(f, "making %s", path);
	d->read_only = is_read_only(d);
	if (d->read_only && (d->kind->flags & MS_RDONLY) == 0) {
		// Its journal cannot be replayed: one that would have to be is refused (EROFS), not passed over.
		if (mount(d->node, path, d->kind->fstype, d->kind->flags | MS_RDONLY, NULL) == 0)
			return 0;
	} else if (mount(d->node, path, d->kind->fstype, d->kind->flags, d->kind->data) == 0) {
		const char *after = d->kind->afterwards;
		if (after == NULL || mount(NULL, path, NULL, MS_REMOUNT | d->kind->flags, after) == 0)
			return 0;
		int cause = errno;
		(void)umount2(path, MNT_DETACH);
		errno = cause;
	}
	if (errno == ENODEV)
		fail(f, "unsupported", "this kernel has no %s", d->kind->fstype);
	else if (errno == EROFS)
		fail(f, "invalid", "disk \"%s\" was not let go of in order, and cannot be written to", d->serial);
	else if (errno == EINVAL || errno == EUCLEAN)
		fail(f, "invalid", "disk \"%s\" holds no %s file system", d->serial, d->kind->fstype);
	else
		fail_errno(f, "mounting disk \"%s\" (%s)", d->serial, d->kind->fstype);
	(void)rmdir(path);
	return -1;
}

int disk_acquire(const char *serial, const char *fstype, char path[DISK_PATH_MAX], struct failure *f)
{
	const struct kind *kind = find_kind(fstype);
	struct disk *d = NULL;

	if (!is_serial(serial))
		return fail(f, "invalid", "disk serial \"%s\"", serial);
	if (kind == NULL)
		return fail(f, "invalid", "disks of type \"%s\" are not mounted", fstype);
	mount_point(serial, path);
	d = find_mounted(serial);
	if (d != NULL) {
		if (d->kind != kind)
			return fail(f, "invalid", "disk \"%s\" is mounted as %s", serial, d->kind->fstype);
		d->users++;
		return 0;
	}
	d = find_free(serial);
	if (d == NULL)
		return fail(f, "no-space", "more than %d disks", DISKS_MAX);
	if (strcmp(d->serial, serial) != 0 || !is_still_there(d)) {
		*d = (struct disk){0};
		if (wait_for_node(serial, d->node, f) != 0)
			return -1;
		(void)snprintf(d->serial, sizeof d->serial, "%s", serial);
	}
	d->kind = kind;
	if (mount_disk(d, path, f) != 0)
		return -1;
	d->users = 1;
	return 0;
}

static int sync_disk(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = -1;

	if (fd >= 0) {
		result = syncfs(fd);
		close(fd);
	}
	return result;
}

// A file system lives on while an overlay or a dying mount namespace holds it; the exclusive open of its device
// tells. The kernel takes such namespaces down a moment after their last process.
static bool wait_until_free(const char *node)
{
	for (int waited = 0; waited < FREE_TIMEOUT_MS; waited += WAIT_STEP_MS) {
		int fd = open(node, O_RDONLY | O_EXCL | O_CLOEXEC);
		if (fd >= 0)
			close(fd);
		if (fd >= 0 || errno != EBUSY)
			return true;
		sleep_step();
	}
	return false;
}

int disk_release(const char *serial, struct failure *f)
{
	char path[DISK_PATH_MAX];
	struct disk *d = find_mounted(serial);

	if (d == NULL)
		return fail(f, "not-found", "disk \"%s\" is not mounted", serial);
	if (--d->users > 0)
		return 0;
	mount_point(serial, path);
	bool synced = d->read_only || sync_disk(path) == 0;
	if (!synced)
		fail_errno(f, "writing disk \"%s\"", serial);
	(void)umount2(path, MNT_DETACH);
	(void)rmdir(path);
	if (!wait_until_free(d->node))
		return fail(f, "busy", "disk \"%s\" is still in use", serial);
	return synced ? 0 : -1;
}

int disk_sync(struct failure *f)
{
	char path[DISK_PATH_MAX];
	int result = 0;

	for (size_t i = 0; i < DISKS_MAX; i++) {
		if (disks[i].users == 0 || disks[i].read_only)
			continue;
		mount_point(disks[i].serial, path);
		if (sync_disk(path) != 0)
			result = fail_errno(f, "writing disk \"%s\"", disks[i].serial);
	}
	return result;
}

void disk_release_all(void)
{
	char path[DISK_PATH_MAX];

	for (size_t i = 0; i < DISKS_MAX; i++) {
		if (disks[i].users == 0)
			continue;
		mount_point(disks[i].serial, path);
		(void)sync_disk(path);
		// Whoever still holds it must at least write no more.
		if (umount2(path, 0) != 0 && !disks[i].read_only)
			(void)mount(NULL, path, NULL, MS_REMOUNT | MS_RDONLY, NULL);
		disks[i].users = 0;
	}
}
