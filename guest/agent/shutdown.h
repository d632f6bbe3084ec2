// SPDX-License-Identifier: Apache-2.0
#ifndef HYPERCELL_SHUTDOWN_H
#define HYPERCELL_SHUTDOWN_H

#include "request.h"

// Answers; then ends every process, unmounts, and resets the machine.
int shutdown_machine(struct request *r, const struct json *body, struct failure *f);

#endif
