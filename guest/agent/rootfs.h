// SPDX-License-Identifier: Apache-2.0
// A container's root, as container.create's `root` describes it: overlay of read-only disks and a writable layer.
#ifndef HYPERCELL_ROOTFS_H
#define HYPERCELL_ROOTFS_H

#include "failure.h"
#include "json.h"

enum { ROOTFS_DISKS_MAX = 16 };

// What has to be given back; zeroed = nothing.
struct rootfs {
	char path[160]; // where the root is mounted: /run/hypercell/containers/<id>/root
	char scratch[160]; // tmpfs for the upper layer, or empty
	size_t disks_length;
	char disks[ROOTFS_DISKS_MAX][24]; // acquired serials
};

// In the agent: acquires the disks and mounts the root at /run/hypercell/containers/<id>/root.
// `root` is the member of container.create: {"lower": […], "upper": {"disk"…} | {"tmpfs": {"size"}} | null}.
// -1 with f filled and everything given back.
int rootfs_mount(const char *id, const struct json *root, struct rootfs *out, struct failure *f);

// In the agent: unmounts the root (lazily if somebody still holds it, `busy` is never the answer) and releases the
// disks.
int rootfs_unmount(struct rootfs *rootfs, struct failure *f);

#endif
