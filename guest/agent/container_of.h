// SPDX-License-Identifier: Apache-2.0
#ifndef HYPERCELL_CONTAINER_OF_H
#define HYPERCELL_CONTAINER_OF_H

#include <stddef.h>

// The struct of `type` whose `member` is at `pointer`.
#define CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

#endif
