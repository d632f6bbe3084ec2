// SPDX-License-Identifier: Apache-2.0
// Making the child of a process: one clone, straight into its namespaces and its cgroup. The child prepares itself, says so
// over a socket, and is held until it is let go (child.h).
#ifndef HYPERCELL_LAUNCH_H
#define HYPERCELL_LAUNCH_H

#include <stdbool.h>
#include <stdint.h>

#include "container.h"
#include "namespaces.h"

struct launch {
	struct container *container;
	const struct json *process; // OCI process
	const struct json *config;  // OCI config of a container to make; NULL joins a running one
	const struct json *files;   // with config: the request's list
	struct namespaces namespaces; // with config
	uint32_t rows, columns;
	// Filled on the way, for the child.
	int stdio[3];
	int control;
};

// Makes p's streams and its child. After -1 there is no child; p is still to be freed.
int launch(struct process *p, struct launch *l, struct failure *f);

#endif
