// SPDX-License-Identifier: Apache-2.0
// OCI linux.resources -> files of cgroup v2 (runtime-spec config-linux.md, "Control groups").
#ifndef HYPERCELL_RESOURCES_H
#define HYPERCELL_RESOURCES_H

#include <stdbool.h>
#include <stdint.h>

#include "failure.h"
#include "json.h"

// Applies the object (NULL: none) to the cgroup. `fresh`: a new cgroup, where device rules apply even if none are
// given as a list.
int resources_apply(int cgroup, const struct json *resources, bool fresh, struct failure *f);

// cpu.shares of cgroup v1 (2 to 262144) -> cpu.weight (1 to 10000); the default 1024 becomes 100. As runc since 1.3.2.
uint64_t resources_cpu_weight(uint64_t shares);

#endif
