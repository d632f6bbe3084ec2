// SPDX-License-Identifier: Apache-2.0
#ifndef HYPERCELL_ID_MAP_H
#define HYPERCELL_ID_MAP_H

#include <sys/types.h>

#include "failure.h"
#include "json.h"

// Writes linux.uidMappings and linux.gidMappings of config for a process in a new user namespace.
int id_map_write(pid_t pid, const struct json *config, struct failure *f);

#endif
