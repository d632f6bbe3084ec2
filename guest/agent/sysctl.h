// SPDX-License-Identifier: Apache-2.0
#ifndef HYPERCELL_SYSCTL_H
#define HYPERCELL_SYSCTL_H

#include <stdbool.h>

#include "failure.h"
#include "json.h"

// Writes an object of sysctl names (dots or slashes) and values below /proc/sys, in the namespaces of the caller.
// In a container only namespaced ones may be set: those of the network namespace if `network`, of the ipc namespace if `ipc`,
// and kernel.domainname if `uts`. `machine` allows all.
struct sysctl_scope {
	bool machine, network, ipc, uts;
};

int sysctl_apply(const struct json *values, const struct sysctl_scope *scope, struct failure *f);

#endif
