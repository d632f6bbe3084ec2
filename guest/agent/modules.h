// SPDX-License-Identifier: Apache-2.0
#ifndef HYPERCELL_MODULES_H
#define HYPERCELL_MODULES_H

#include "failure.h"

// Loads the kernel modules named in /modules/order, one file name a line, in that order, and removes them all from the
// initramfs. Without the file there is nothing to do.
int modules_load(struct failure *f);

#endif
