// SPDX-License-Identifier: Apache-2.0
// Volumes: disks that containers mount beside their root, and that outlive them.
#ifndef HYPERCELL_VOLUME_H
#define HYPERCELL_VOLUME_H

#include "failure.h"

#define VOLUME_TYPE "hypercell.volume"
#define VOLUME_FSTYPE "ext4"

// In the agent: the directory of the volume in its file system, mounted at `disk`, is there. One that is read-only and
// has none is `invalid`.
int volume_make(const char *disk, struct failure *f);

// In the child: opens what of the volume of the disk `serial` is to be mounted: all of it, or what `subpath` names inside
// of it, whatever symlinks a tenant left there. A subpath that is not there is `not-found`. An O_PATH descriptor, or -1.
int volume_open(const char *serial, const char *subpath, struct failure *f);

// In the child: copies what the image has at `target` into the volume if that is empty.
int volume_fill(int target, int volume, struct failure *f);

#endif
