// SPDX-License-Identifier: Apache-2.0
// What seccomp.c reads out of a profile and seccomp_code.c turns into instructions.
#ifndef HYPERCELL_SECCOMP_RULE_H
#define HYPERCELL_SECCOMP_RULE_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum seccomp_operator { SECCOMP_NE, SECCOMP_LT, SECCOMP_LE, SECCOMP_EQ, SECCOMP_GE, SECCOMP_GT, SECCOMP_MASKED_EQ };

enum { SECCOMP_ARGUMENTS = 6 };

struct seccomp_condition {
	unsigned argument; // 0 to 5
	enum seccomp_operator operator;
	uint64_t value;
	uint64_t mask; // MASKED_EQ: (argument & mask) == value
};

// Holds if all of its conditions hold; then `action`, a SECCOMP_RET_* with its data, is the verdict.
struct seccomp_rule {
	size_t conditions_length;
	struct seccomp_condition conditions[SECCOMP_ARGUMENTS];
	uint32_t action;
	const struct seccomp_rule *next; // asked if this one does not hold; at the end: the default action
};

// What one architecture does with one syscall number: `rules`, or without them `action`.
struct seccomp_verdict {
	const struct seccomp_rule *rules;
	uint32_t action;
};

enum { SECCOMP_NUMBERS = 576 }; // above every syscall number

// One architecture's table; numbers from SECCOMP_NUMBERS on are treated as the last one.
struct seccomp_table {
	struct seccomp_verdict verdicts[SECCOMP_NUMBERS];
};

struct seccomp_program {
	struct sock_filter *code;
	size_t length, capacity;
	bool failed; // no memory, or longer than BPF_MAXINSNS
};

// x86_64 must be there, x32 and i386 may be NULL: their syscalls then kill the process, as does any other architecture.
void seccomp_generate(struct seccomp_program *p, const struct seccomp_table *x86_64, const struct seccomp_table *x32,
		      const struct seccomp_table *i386, uint32_t fallback);

#endif
