// SPDX-License-Identifier: Apache-2.0
// Code generation. A syscall that needs no look at its arguments costs about log2(number of ranges) compares:
// neighbouring numbers with the same verdict form a range, and a binary tree of JGE finds the range.
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "seccomp_rule.h"

static const uint32_t x32_bit = 0x40000000; // __X32_SYSCALL_BIT

static void emit_jump(struct seccomp_program *p, int code, uint32_t k, size_t yes, size_t no)
{
	if (p->length == p->capacity && !p->failed) {
		size_t capacity = p->capacity == 0 ? 256 : p->capacity * 2;
		struct sock_filter *grown =
			capacity > 4 * BPF_MAXINSNS ? NULL : realloc(p->code, capacity * sizeof *grown);
		p->failed = grown == NULL;
		if (grown != NULL) {
			p->code = grown;
			p->capacity = capacity;
		}
	}
	if (yes > UINT8_MAX || no > UINT8_MAX)
		p->failed = true;
	if (p->failed)
		return;
	p->code[p->length++] = (struct sock_filter){(uint16_t)code, (uint8_t)yes, (uint8_t)no, k};
}

static void emit(struct seccomp_program *p, int code, uint32_t k)
{
	emit_jump(p, code, k, 0, 0);
}

static void emit_load(struct seccomp_program *p, size_t offset)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset);
}

// How a 64-bit compare is put together from its halves. The high words decide if they differ, else the low words.
struct comparison {
	int low_test;      // BPF_JEQ, BPF_JGT or BPF_JGE on the low words
	bool low_negated;  // the condition holds if that test fails
	bool above_holds;  // high word above the value's
	bool below_holds;  // high word below the value's
};

static const struct comparison comparisons[] = {
	[SECCOMP_EQ] = {BPF_JEQ, false, false, false},
	[SECCOMP_NE] = {BPF_JEQ, true, true, true},
	[SECCOMP_GT] = {BPF_JGT, false, true, false},
	[SECCOMP_LE] = {BPF_JGT, true, false, true},
	[SECCOMP_GE] = {BPF_JGE, false, true, false},
	[SECCOMP_LT] = {BPF_JGE, true, false, true},
	[SECCOMP_MASKED_EQ] = {BPF_JEQ, false, false, false},
};

// One condition in a fixed shape of 5 instructions (7 with a mask); falls out of its end if it holds, else
// jumps `fail` instructions further.
static void emit_condition(struct seccomp_program *p, const struct seccomp_condition *c, size_t fail)
{
	const struct comparison *how = &comparisons[c->operator];
	bool masked = c->operator == SECCOMP_MASKED_EQ;
	uint64_t value = masked ? c->value & c->mask : c->value;
	size_t base = offsetof(struct seccomp_data, args) + 8 * c->argument;
	size_t low_size = masked ? 3 : 2; // instructions of the test of the low words

	emit_load(p, base + 4);
	if (masked)
		emit(p, BPF_ALU | BPF_AND | BPF_K, (uint32_t)(c->mask >> 32));
	// Above, then different at all (that is: below). Jumps count from the following instruction.
	size_t hold = 1 + low_size, give_up = 1 + low_size + fail;
	emit_jump(p, BPF_JMP | BPF_JGT | BPF_K, (uint32_t)(value >> 32), how->above_holds ? hold : give_up, 0);
	hold--, give_up--;
	emit_jump(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value >> 32), 0, how->below_holds ? hold : give_up);
	emit_load(p, base);
	if (masked)
		emit(p, BPF_ALU | BPF_AND | BPF_K, (uint32_t)c->mask);
	emit_jump(p, BPF_JMP | how->low_test | BPF_K, (uint32_t)value, how->low_negated ? fail : 0,
		  how->low_negated ? 0 : fail);
}

static size_t condition_size(const struct seccomp_condition *c)
{
	return c->operator == SECCOMP_MASKED_EQ ? 7 : 5;
}

static void emit_rules(struct seccomp_program *p, const struct seccomp_rule *rule, uint32_t fallback)
{
	for (; rule != NULL; rule = rule->next) {
		size_t left = 1; // the verdict's RET
		for (size_t i = 0; i < rule->conditions_length; i++)
			left += condition_size(&rule->conditions[i]);
		for (size_t i = 0; i < rule->conditions_length; i++) {
			left -= condition_size(&rule->conditions[i]);
			emit_condition(p, &rule->conditions[i], left);
		}
		emit(p, BPF_RET | BPF_K, rule->action);
		if (rule->conditions_length == 0)
			return;
	}
	emit(p, BPF_RET | BPF_K, fallback);
}

// Numbers from `first` to the next range's, which share a verdict.
struct range {
	uint32_t first;
	const struct seccomp_verdict *verdict;
};

static bool same_verdict(const struct seccomp_verdict *a, const struct seccomp_verdict *b)
{
	return a->rules == NULL && b->rules == NULL && a->action == b->action;
}

static size_t find_ranges(const struct seccomp_table *table, struct range ranges[SECCOMP_NUMBERS])
{
	size_t n = 0;

	for (uint32_t number = 0; number < SECCOMP_NUMBERS; number++) {
		const struct seccomp_verdict *verdict = &table->verdicts[number];
		if (n == 0 || !same_verdict(ranges[n - 1].verdict, verdict))
			ranges[n++] = (struct range){number, verdict};
	}
	return n;
}

// The decision tree over n ranges, with the number (plus `bias`) in the accumulator. Every leaf returns, so
// the code can be moved as a whole.
static void emit_tree(struct seccomp_program *p, const struct range *ranges, size_t n, uint32_t bias, uint32_t fallback)
{
	if (n == 1) {
		if (ranges[0].verdict->rules != NULL)
			emit_rules(p, ranges[0].verdict->rules, fallback);
		else
			emit(p, BPF_RET | BPF_K, ranges[0].verdict->action);
		return;
	}
	size_t test = p->length, half = n / 2;
	emit_jump(p, BPF_JMP | BPF_JGE | BPF_K, bias + ranges[half].first, 0, 0);
	emit_tree(p, ranges, half, bias, fallback);
	size_t distance = p->length - test - 1;
	if (distance > UINT8_MAX) {
		// Too far for a conditional jump: "yes" goes to a long jump placed right behind the test.
		emit(p, BPF_RET | BPF_K, 0);
		if (p->failed)
			return;
		memmove(&p->code[test + 2], &p->code[test + 1], distance * sizeof p->code[0]);
		p->code[test + 1] = (struct sock_filter){BPF_JMP | BPF_JA, 0, 0, (uint32_t)distance};
		p->code[test].jf = 1;
	} else if (!p->failed) {
		p->code[test].jt = (uint8_t)distance;
	}
	emit_tree(p, ranges + half, n - half, bias, fallback);
}

static void emit_table(struct seccomp_program *p, const struct seccomp_table *table, uint32_t bias, uint32_t fallback)
{
	struct range ranges[SECCOMP_NUMBERS];

	emit_load(p, offsetof(struct seccomp_data, nr));
	emit_tree(p, ranges, find_ranges(table, ranges), bias, fallback);
}

// Emits `table` behind the test that was emitted last, which jumps over it when it does not hold.
static void emit_guarded(struct seccomp_program *p, int test, uint32_t k, const struct seccomp_table *table,
			 uint32_t bias, uint32_t fallback)
{
	emit_jump(p, BPF_JMP | test | BPF_K, k, 1, 0);
	size_t over = p->length;
	emit(p, BPF_JMP | BPF_JA, 0);
	if (table == NULL)
		emit(p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	else
		emit_table(p, table, bias, fallback);
	if (!p->failed)
		p->code[over].k = (uint32_t)(p->length - over - 1);
}

void seccomp_generate(struct seccomp_program *p, const struct seccomp_table *x86_64, const struct seccomp_table *x32,
		      const struct seccomp_table *i386, uint32_t fallback)
{
	emit_load(p, offsetof(struct seccomp_data, arch));
	emit_guarded(p, BPF_JEQ, AUDIT_ARCH_I386, i386, 0, fallback);
	// i386 returned; what is left is x86_64 (x32 has the same audit architecture), or nothing we know.
	emit_jump(p, BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
	emit(p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	emit_load(p, offsetof(struct seccomp_data, nr));
	emit_guarded(p, BPF_JGE, x32_bit, x32, x32_bit, fallback);
	emit_table(p, x86_64, 0, fallback);
	if (p->length > BPF_MAXINSNS)
		p->failed = true;
}
