// SPDX-License-Identifier: Apache-2.0
// The kernel's descriptor-based mount API (Linux 5.2; mount_setattr 5.12). A mount is made detached, given its
// attributes, and attached to an open target, so that no path is looked up twice.
#ifndef HYPERCELL_MOUNT_API_H
#define HYPERCELL_MOUNT_API_H

#include <stdbool.h>
#include <stdint.h>

#include "failure.h"

// A new file system, detached. `data`: "key=value,flag,…" or NULL. Returns its descriptor; -1 with f, which quotes the
// kernel's own explanation if it gives one: `unsupported` if the kernel has no such type.
int mount_api_new(const char *type, const char *source, const char *data, struct failure *f);

// A detached copy (bind) of the mount at `path` relative to `directory`; "" is `directory` itself. -1 with errno.
int mount_api_clone(int directory, const char *path, bool recursive);

// Attaches a detached mount over what `target` is. `mount` is then a descriptor of the attached mount. -1 with errno.
int mount_api_attach(int mount, int target);

// MOUNT_ATTR_RDONLY, for those who include no kernel header.
#define MOUNT_READ_ONLY UINT64_C(1)

struct mount_change {
	uint64_t set, clear;  // MOUNT_ATTR_*
	uint64_t propagation; // MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE or 0
	bool recursive;
};

// Changes a mount, attached or not (propagation of attached ones). -1 with errno.
int mount_api_change(int mount, const struct mount_change *change);

// Mounts `mount` on `target` and closes `mount`; for callers that need it no longer. -1 with errno.
int mount_api_attach_and_close(int mount, int target);

#endif
