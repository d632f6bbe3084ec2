// SPDX-License-Identifier: Apache-2.0
// The end of processes: those that the host asked for, jobs, and every orphan of the machine, as PID 1 must.
#ifndef HYPERCELL_REAP_H
#define HYPERCELL_REAP_H

#include "failure.h"

// Blocks all signals and takes SIGCHLD from the loop.
int reap_init(struct failure *f);

#endif
