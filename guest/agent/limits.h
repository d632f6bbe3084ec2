// SPDX-License-Identifier: Apache-2.0
// What keeps the agent alive whatever containers do.
#ifndef HYPERCELL_LIMITS_H
#define HYPERCELL_LIMITS_H

#include "failure.h"
#include "json.h"

// At start, after cgroup_setup: never killed for memory, some memory and some processes always left for the agent.
int limits_protect_agent(struct failure *f);
// pids.max of a container whose resources (or NULL) do not say it.
void limits_default_pids(int cgroup, const struct json *resources);

#endif
