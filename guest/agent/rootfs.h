// SPDX-License-Identifier: Apache-2.0
// A container's root, as container.create's `root` describes it: overlay of read-only disks and a writable layer.
#ifndef HYPERCELL_ROOTFS_H
#define HYPERCELL_ROOTFS_H

#include <stdbool.h>
#include <stddef.h>

#include "disk.h"
#include "failure.h"
#include "json.h"

enum { ROOTFS_DISKS_MAX = 48, ROOTFS_LOWERS_MAX = 15 };

// The parts of a root, as paths.
struct rootfs_layers {
	size_t lowers_length;
	char lowers[ROOTFS_LOWERS_MAX][DISK_PATH_MAX]; // topmost first, as overlayfs has them
	bool writable;
	char upper[DISK_PATH_MAX + 80], work[DISK_PATH_MAX + 80];
};

// What has to be given back; zeroed = nothing.
struct rootfs {
	char path[160]; // where the root is mounted: /run/hypercell/containers/<id>/root
	char scratch[160]; // tmpfs for the upper layer, or empty
	size_t disks_length;
	char disks[ROOTFS_DISKS_MAX][24]; // acquired serials
	struct rootfs_layers layers;
};

// In the agent: acquires the disks and mounts the root at /run/hypercell/containers/<id>/root.
// `root` is the member of container.create: {"lower": […], "upper": {"disk"…} | {"tmpfs": {"size"}} | null}.
// -1 with f filled and everything given back.
int rootfs_mount(const char *id, const struct json *root, struct rootfs *out, struct failure *f);

// In the agent: acquires what the volumes and host's files among config.mounts need; the disks are then given back with
// the root. -1 with f filled; what was acquired is.
int rootfs_add_volumes(struct rootfs *rootfs, const struct json *mounts, struct failure *f);

// In the agent: unmounts the root (lazily if somebody still holds it, `busy` is never the answer) and releases the
// disks.
int rootfs_unmount(struct rootfs *rootfs, struct failure *f);

// In a job of its own, as it may need a mount namespace: what was there before the container wrote anything, all layers but
// the writable one as one directory. The writable layer's directory. -1 with `out` untouched on failure; a root that has
// no such layer makes it -1.
int rootfs_open_lower(const struct rootfs *rootfs, int *out, struct failure *f);
int rootfs_open_upper(const struct rootfs *rootfs, int *out, struct failure *f);

#endif
