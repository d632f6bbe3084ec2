// SPDX-License-Identifier: Apache-2.0
// Disks by serial, those in slots and those that were plugged in, each mounted once at /run/hypercell/disks/<serial>. All in the agent.
#ifndef HYPERCELL_DISK_H
#define HYPERCELL_DISK_H

#include <stdbool.h>
#include <stddef.h>

#include "failure.h"

#define DISK_DIRECTORY "/run/hypercell/disks"
enum { DISK_PATH_MAX = 128 };

// Finds the disk (waits at most 2 s for a late device), mounts it unless it is mounted, and counts one more user.
// fstype must be erofs or squashfs (read-only) or ext4; nothing is ever probed. The mount point goes to `path`.
// `not-found` without the device; `invalid` for a serial or fstype out of the list or other than it is mounted with.
int disk_acquire(const char *serial, const char *fstype, char path[DISK_PATH_MAX], struct failure *f);

// One user less; at zero the disk is synced and unmounted. -1 with f (`busy`) leaves it mounted and forgotten by this
// user.
int disk_release(const char *serial, struct failure *f);

// syncfs of every mounted disk.
int disk_sync(struct failure *f);

// At shutdown, after every process is gone: unmounts all disks (read-only remount where that fails). Never fails.
void disk_release_all(void);

#endif
