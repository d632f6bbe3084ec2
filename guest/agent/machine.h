// SPDX-License-Identifier: Apache-2.0
// The VM itself: who it is, what time it is, its network.
#ifndef HYPERCELL_MACHINE_H
#define HYPERCELL_MACHINE_H

#include <stdbool.h>

#include "request.h"

bool machine_is_configured(void);
// The kernel's boot id, which containers see too; empty until the host gave entropy. The kernel makes it up when it is
// read for the first time, so reading it in a template would give all clones the same one.
const char *machine_boot_id(void);

int machine_configure(struct request *r, const struct json *body, struct failure *f);
int machine_update_network(struct request *r, const struct json *body, struct failure *f);

#endif
