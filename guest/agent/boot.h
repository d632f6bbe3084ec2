// SPDX-License-Identifier: Apache-2.0
// From the kernel's first call to a machine that can hold containers.
#ifndef HYPERCELL_BOOT_H
#define HYPERCELL_BOOT_H

#include "failure.h"

int boot(struct failure *f);
// The host's port, open and non-blocking; waits for it for as long as it takes. -1 on error.
int boot_open_port(struct failure *f);

#endif
