// SPDX-License-Identifier: Apache-2.0
// write(2) until all of it is written.
#ifndef HYPERCELL_WRITE_ALL_H
#define HYPERCELL_WRITE_ALL_H

#include <stddef.h>

// 0, or -1 with errno: a part of it may have been written.
int write_all(int fd, const void *data, size_t size);

#endif
