// SPDX-License-Identifier: Apache-2.0
// A container's file system view, built in its own mount namespace with the descriptor-based mount API
// (fsopen, fsmount, open_tree, move_mount, mount_setattr): every target is resolved once, inside the root
// (path.h), and mounted on through its descriptor. What the image put at /dev, /proc or /etc/resolv.conf cannot lead
// out.
#ifndef HYPERCELL_MOUNT_H
#define HYPERCELL_MOUNT_H

#include "failure.h"
#include "json.h"

// In the agent, once, first thing at boot, before anything is mounted: pivot_root(2) is refused while "/" is the
// initramfs itself, so "/" is bound over itself and entered.
int mount_leave_initramfs(struct failure *f);

// In the child, after its namespaces exist (mount; and pid, network, ipc, uts, cgroup, user as the spec says: proc,
// sysfs, mqueue and cgroup2 show those of the caller) and while the agent's /proc and /dev are still reachable.
// `root`: where disk_mount_root() mounted the container's root. `files`: the directory of files_write(), or NULL;
// `list`: the request's `files`. Does, in this order: propagation of "/", root bound on itself, config.mounts,
// default devices and symlinks, linux.devices, `files`. Returns an O_PATH descriptor of the root, or -1 with f filled
// (the child then exits).
int mount_prepare(const char *root, const struct json *config, const char *files, const struct json *list,
		  struct failure *f);

// In the child, between the two: binds the pty's slave over /dev/console.
// (The pty: path_open(root, "/dev/ptmx", O_RDWR | O_NOCTTY, 0), then ioctl(TIOCSPTLCK, 0) and ioctl(TIOCGPTPEER).)
int mount_console(int root, int slave, struct failure *f);

// In the child, after console and sysctl (write those through the agent's /proc/sys before this call: it shows the
// caller's namespaces): readonlyPaths, maskedPaths, read-only mounts and root, pivot_root with the old root
// detached, rootfsPropagation, chdir("/"). `root` stays open; the caller closes it.
int mount_finish(int root, const struct json *config, struct failure *f);

#endif
