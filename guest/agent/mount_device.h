// SPDX-License-Identifier: Apache-2.0
// The container's /dev. In the child.
#ifndef HYPERCELL_MOUNT_DEVICE_H
#define HYPERCELL_MOUNT_DEVICE_H

#include "failure.h"
#include "json.h"

// Makes the default devices and symlinks (runtime-spec config-linux.md, "Default Devices"; runtime-linux.md, "Dev
// symbolic links"), a mount point for /dev/console if process.terminal is set, and linux.devices. Nothing by default
// if /dev itself is a bind mount.
int mount_device_nodes(int root, const struct json *config, struct failure *f);

#endif
