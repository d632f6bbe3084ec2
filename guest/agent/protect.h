// SPDX-License-Identifier: Apache-2.0
// What keeps the agent alive whatever containers do.
#ifndef HYPERCELL_PROTECT_H
#define HYPERCELL_PROTECT_H

#include "failure.h"
#include "json.h"

// At start, after cgroup_setup: never killed for memory, some memory and some processes always left for the agent.
int protect_agent(struct failure *f);
// pids.max of a container whose resources (or NULL) do not say it.
void protect_from_fork_bombs(int cgroup, const struct json *resources);

#endif
