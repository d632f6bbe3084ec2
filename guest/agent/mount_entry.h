// SPDX-License-Identifier: Apache-2.0
// The entries of OCI config.mounts. In the child.
#ifndef HYPERCELL_MOUNT_ENTRY_H
#define HYPERCELL_MOUNT_ENTRY_H

#include <stddef.h>

#include "failure.h"
#include "json.h"

enum { MOUNT_ENTRIES_MAX = 512 };

// New file systems that are to be read-only once everything is in place; a zeroed struct is empty.
struct mount_entries {
	int *read_only; // descriptors of mounts
	size_t length;
};

// Mounts every entry of the list (NULL: none), in order, inside `root`. -1 with f filled.
int mount_entries_apply(int root, const struct json *mounts, struct mount_entries *entries, struct failure *f);

// Makes read-only what has waited for it.
int mount_entries_seal(struct mount_entries *entries, struct failure *f);

void mount_entries_free(struct mount_entries *entries);

#endif
