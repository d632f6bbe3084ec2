// SPDX-License-Identifier: Apache-2.0
// What the host asks for after a greeting.
#ifndef HYPERCELL_STATE_H
#define HYPERCELL_STATE_H

#include "request.h"

int state_report(struct request *r, const struct json *body, struct failure *f);

#endif
