// SPDX-License-Identifier: Apache-2.0
// What of an OCI config.json is refused before anything is made of it.
#ifndef HYPERCELL_SPECIFICATION_H
#define HYPERCELL_SPECIFICATION_H

#include "failure.h"
#include "json.h"

// "unsupported", naming the member, for what the agent cannot carry out; "invalid" for wrong forms of `process`.
int specification_check(const struct json *config, struct failure *f);
// The same for a process object alone.
int specification_check_process(const struct json *process, struct failure *f);

#endif
