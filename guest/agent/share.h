// SPDX-License-Identifier: Apache-2.0
// What this VM sees of the host's files: one virtio-fs file system, in which the host laid out what is shared.
#ifndef HYPERCELL_SHARE_H
#define HYPERCELL_SHARE_H

#include "failure.h"

#define SHARE_TYPE "hypercell.bind"

// In the agent: the file system is mounted; once for the VM. `not-found` where the host shares nothing.
int share_mount(struct failure *f);

// In the child: opens what the host laid out as `name`, a number. An O_PATH descriptor, or -1.
int share_open(const char *name, struct failure *f);

#endif
