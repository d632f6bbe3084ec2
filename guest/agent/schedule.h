// SPDX-License-Identifier: Apache-2.0
// OCI process.ioPriority and process.scheduler.
#ifndef HYPERCELL_SCHEDULE_H
#define HYPERCELL_SCHEDULE_H

#include <sys/types.h>

#include "failure.h"
#include "json.h"

// Sets them for another process. In the agent. What the kernel lacks is "unsupported".
int schedule_apply(pid_t pid, const struct json *process, struct failure *f);

#endif
