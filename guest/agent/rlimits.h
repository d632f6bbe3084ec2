// SPDX-License-Identifier: Apache-2.0
// OCI process.rlimits.
#ifndef HYPERCELL_RLIMITS_H
#define HYPERCELL_RLIMITS_H

#include <sys/types.h>

#include "failure.h"
#include "json.h"

// Sets the limits of another process (0: checks their form and sets nothing). In the agent, which may raise any limit, when
// all else is done: a limit on files or memory must not break the preparation.
int rlimits_apply(pid_t pid, const struct json *process, struct failure *f);

#endif
