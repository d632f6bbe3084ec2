// SPDX-License-Identifier: Apache-2.0
#ifndef HYPERCELL_PROCESS_LIST_H
#define HYPERCELL_PROCESS_LIST_H

#include <stdbool.h>

#include "failure.h"
#include "text.h"

// Appends the answer to container.processes: the processes of a cgroup, with pids as seen in their own pid namespace if
// `namespaced`. In a job: /proc/<pid>/cmdline may block on memory of the process.
int process_list(int cgroup, bool namespaced, struct text *answer, struct failure *f);

#endif
