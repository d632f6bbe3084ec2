// SPDX-License-Identifier: Apache-2.0
#ifndef HYPERCELL_SYSCALL_TABLE_H
#define HYPERCELL_SYSCALL_TABLE_H

#include <stddef.h>

struct syscall_entry {
	const char *name;
	short numbers[3]; // of x86_64, i386, x32 (without its bit 30); -1: not there
};

// Sorted by name (strcmp).
extern const struct syscall_entry syscall_table[];
extern const size_t syscall_table_length;

#endif
