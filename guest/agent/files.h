// SPDX-License-Identifier: Apache-2.0
// The `files` of container.create: small files of the host's (hosts, resolv.conf, hostname, secrets) that are bound
// over a path of the container.
#ifndef HYPERCELL_FILES_H
#define HYPERCELL_FILES_H

#include <stdbool.h>

#include "failure.h"
#include "json.h"

// In the agent: writes entry i of the list to <directory>/<i> with its mode and owner; `directory` (on the VM's
// tmpfs, e.g. /run/hypercell/containers/<id>/files) is created. NULL or an empty list writes nothing. -1 with nothing
// left.
int files_write(const char *directory, const struct json *list, struct failure *f);

// In the agent: removes what files_write() made.
void files_remove(const char *directory);

// In the child, by mount_prepare(): binds <directory>/<i> over entry i's path inside `root`, created if missing.
int files_bind(int root, const char *directory, const struct json *list, bool read_only, struct failure *f);

#endif
