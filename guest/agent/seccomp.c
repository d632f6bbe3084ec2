// SPDX-License-Identifier: Apache-2.0
#include "seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "seccomp_rule.h"
#include "syscall_table.h"

enum { RULES_MAX = 4096 };

// The order of syscall_entry.numbers.
enum { X86_64, I386, X32, ARCHITECTURES };

// A profile on its way to a program.
struct profile {
	uint32_t fallback; // the default action
	bool wanted[ARCHITECTURES];
	struct seccomp_rule *rules; // RULES_MAX of them; never moved, they are chained by address
	size_t rules_length;
	struct seccomp_table *tables; // ARCHITECTURES of them
	short highest[ARCHITECTURES]; // the highest number that the profile names
};

struct name {
	const char *name;
	uint32_t value;
};

static int look_up(const struct name *names, size_t n, const char *name, uint32_t *value)
{
	for (size_t i = 0; name != NULL && i < n; i++) {
		if (strcmp(names[i].name, name) == 0) {
			*value = names[i].value;
			return 0;
		}
	}
	return -1;
}
#define LOOK_UP(names, name, value) look_up(names, sizeof names / sizeof names[0], name, value)

static int parse_action(const struct json *action, const struct json *data, uint32_t *out, struct failure *f)
{
	static const struct name actions[] = {
		{"SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW},
		{"SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO},
		{"SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD},
		{"SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS},
		{"SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD},
		{"SCMP_ACT_LOG", SECCOMP_RET_LOG},
		{"SCMP_ACT_TRACE", SECCOMP_RET_TRACE},
		{"SCMP_ACT_TRAP", SECCOMP_RET_TRAP},
	};
	const char *name = json_string(action, NULL);

	if (name != NULL && strcmp(name, "SCMP_ACT_NOTIFY") == 0)
		return fail(f, "unsupported", "seccomp action SCMP_ACT_NOTIFY");
	if (LOOK_UP(actions, name, out) != 0)
		return fail(f, "invalid", "seccomp action %s", name != NULL ? name : "is not a string");
	bool takes_data = *out == SECCOMP_RET_ERRNO || *out == SECCOMP_RET_TRACE;
	if (data != NULL && json_type(data) != JSON_NULL) {
		uint64_t value = json_uint(data, UINT64_MAX);
		if (!json_is_number(data) || json_int(data, -1) < 0 || value > SECCOMP_RET_DATA)
			return fail(f, "invalid", "seccomp errnoRet must be 0 to 65535");
		if (takes_data)
			*out |= (uint32_t)value;
		else if (value != 0)
			return fail(f, "invalid", "seccomp action %s takes no errnoRet", name);
	} else if (takes_data) {
		*out |= EPERM;
	}
	return 0;
}

static int parse_architectures(struct profile *p, const struct json *architectures, struct failure *f)
{
	for (size_t i = 0; i < json_length(architectures); i++) {
		const char *name = json_string(json_at(architectures, i), "");
		if (strcmp(name, "SCMP_ARCH_X86") == 0)
			p->wanted[I386] = true;
		else if (strcmp(name, "SCMP_ARCH_X32") == 0)
			p->wanted[X32] = true;
		else if (strncmp(name, "SCMP_ARCH_", 10) != 0)
			return fail(f, "invalid", "seccomp architecture \"%s\"", name);
		// x86_64 is always there; other machines' architectures mean nothing here.
	}
	return 0;
}

static int parse_flags(const struct json *flags, unsigned *out, struct failure *f)
{
	static const struct name names[] = {
		{"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
		{"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		// One thread installs the filter and there is no listener: nothing to do for these two.
		{"SECCOMP_FILTER_FLAG_TSYNC", 0},
		{"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", 0},
	};

	// As runc: without any flags the speculative store bypass stays as it is.
	*out = json_is_array(flags) ? 0 : SECCOMP_FILTER_FLAG_SPEC_ALLOW;
	for (size_t i = 0; i < json_length(flags); i++) {
		uint32_t flag;
		const char *name = json_string(json_at(flags, i), "");
		if (LOOK_UP(names, name, &flag) != 0)
			return fail(f, "invalid", "seccomp flag \"%s\"", name);
		*out |= flag;
	}
	return 0;
}

static int parse_condition(const struct json *arg, struct seccomp_condition *out, struct failure *f)
{
	static const struct name operators[] = {
		{"SCMP_CMP_NE", SECCOMP_NE}, {"SCMP_CMP_LT", SECCOMP_LT},
		{"SCMP_CMP_LE", SECCOMP_LE}, {"SCMP_CMP_EQ", SECCOMP_EQ},
		{"SCMP_CMP_GE", SECCOMP_GE}, {"SCMP_CMP_GT", SECCOMP_GT},
		{"SCMP_CMP_MASKED_EQ", SECCOMP_MASKED_EQ},
	};
	const char *name = json_string(json_get(arg, "op"), NULL);
	const struct json *index = json_get(arg, "index"), *value = json_get(arg, "value");
	uint32_t operator;

	if (LOOK_UP(operators, name, &operator) != 0)
		return fail(f, "invalid", "seccomp operator %s", name != NULL ? name : "is not a string");
	if (!json_is_number(index) || json_int(index, -1) < 0 || json_int(index, -1) >= SECCOMP_ARGUMENTS)
		return fail(f, "invalid", "seccomp argument index must be 0 to 5");
	if (!json_is_number(value) || json_int(value, -1) < 0)
		return fail(f, "invalid", "seccomp argument value must be a number, not negative");
	*out = (struct seccomp_condition){
		.argument = (unsigned)json_int(index, 0),
		.operator = (enum seccomp_operator)operator,
		.value = json_uint(value, 0),
	};
	if (operator == SECCOMP_MASKED_EQ) {
		out->mask = out->value;
		out->value = json_uint(json_get(arg, "valueTwo"), 0);
	}
	return 0;
}

static struct seccomp_rule *new_rule(struct profile *p, const struct seccomp_rule *rule)
{
	if (p->rules_length == RULES_MAX)
		return NULL;
	struct seccomp_rule *added = &p->rules[p->rules_length++];
	*added = *rule;
	return added;
}

// Puts the rule behind those that the number already has. The first that holds wins.
static int append(struct profile *p, struct seccomp_verdict *verdict, const struct seccomp_rule *rule, struct failure *f)
{
	const struct seccomp_rule **link = &verdict->rules;

	while (*link != NULL) {
		if ((*link)->conditions_length == 0)
			return 0; // an earlier rule takes every call
		// Every rule lives in the writable p->rules.
		link = &p->rules[*link - p->rules].next;
	}
	if (verdict->rules == NULL && rule->conditions_length == 0 && verdict->action == p->fallback) {
		verdict->action = rule->action; // no look at arguments: may share a range with its neighbours
		return 0;
	}
	if (verdict->rules == NULL && verdict->action != p->fallback)
		return 0;
	*link = new_rule(p, rule);
	if (*link == NULL)
		return fail(f, "invalid", "seccomp profile has more than %d rules", RULES_MAX);
	return 0;
}

static int compare_names(const void *key, const void *entry)
{
	return strcmp(key, ((const struct syscall_entry *)entry)->name);
}

static int add_rule(struct profile *p, const char *name, const struct seccomp_rule *rule, struct failure *f)
{
	const struct syscall_entry *entry =
		bsearch(name, syscall_table, syscall_table_length, sizeof syscall_table[0], compare_names);
	if (entry == NULL)
		return 0; // not a syscall of these architectures
	for (size_t i = 0; i < ARCHITECTURES; i++) {
		short number = entry->numbers[i];
		if (number < 0 || number >= SECCOMP_NUMBERS)
			continue;
		if (number > p->highest[i])
			p->highest[i] = number;
		// A rule that says what the default says is no rule (libseccomp refuses it, runc skips it).
		if (rule->action != p->fallback && append(p, &p->tables[i].verdicts[number], rule, f) != 0)
			return -1;
	}
	return 0;
}

static int add_names(struct profile *p, const struct json *names, const struct seccomp_rule *rule, struct failure *f)
{
	for (size_t i = 0; i < json_length(names); i++) {
		const char *name = json_string(json_at(names, i), NULL);
		if (name == NULL)
			return fail(f, "invalid", "seccomp syscall names must be strings");
		if (add_rule(p, name, rule, f) != 0)
			return -1;
	}
	return 0;
}

static int parse_syscall(struct profile *p, const struct json *entry, struct failure *f)
{
	const struct json *names = json_get(entry, "names"), *args = json_get(entry, "args");
	struct seccomp_rule rule = {0};
	bool seen[SECCOMP_ARGUMENTS] = {false}, repeated = false;

	if (!json_is_array(names) || json_length(names) == 0)
		return fail(f, "invalid", "seccomp syscalls need names");
	if (parse_action(json_get(entry, "action"), json_get(entry, "errnoRet"), &rule.action, f) != 0)
		return -1;
	if (json_length(args) > SECCOMP_ARGUMENTS)
		return fail(f, "invalid", "seccomp rule with more than %d args", SECCOMP_ARGUMENTS);
	for (size_t i = 0; i < json_length(args); i++) {
		struct seccomp_condition *c = &rule.conditions[rule.conditions_length++];
		if (parse_condition(json_at(args, i), c, f) != 0)
			return -1;
		repeated = repeated || seen[c->argument];
		seen[c->argument] = true;
	}
	if (!repeated)
		return add_names(p, names, &rule, f);
	// As runc: conditions on the same argument are alternatives, each a rule of its own.
	for (size_t i = 0; i < rule.conditions_length; i++) {
		struct seccomp_rule one = {
			.conditions_length = 1, .conditions = {rule.conditions[i]}, .action = rule.action};
		if (add_names(p, names, &one, f) != 0)
			return -1;
	}
	return 0;
}

// As runc: a syscall that is newer than all that the profile names fails with ENOSYS, not with the profile's
// error, so that a C library falls back to an older one instead of giving up.
static void answer_enosys(struct profile *p)
{
	uint32_t kind = p->fallback & SECCOMP_RET_ACTION_FULL;

	if (kind == SECCOMP_RET_ALLOW || kind == SECCOMP_RET_LOG || kind == SECCOMP_RET_TRACE)
		return;
	for (size_t i = 0; i < ARCHITECTURES; i++) {
		if (p->highest[i] < 0)
			continue; // names nothing: the default is meant for everything
		for (int number = p->highest[i] + 1; number < SECCOMP_NUMBERS; number++)
			p->tables[i].verdicts[number].action = SECCOMP_RET_ERRNO | ENOSYS;
	}
}

static int parse_profile(struct profile *p, const struct json *seccomp, unsigned *flags, struct failure *f)
{
	const struct json *syscalls = json_get(seccomp, "syscalls");

	if (!json_is_object(seccomp))
		return fail(f, "invalid", "linux.seccomp must be an object");
	if (json_string(json_get(seccomp, "listenerPath"), "")[0] != '\0')
		return fail(f, "unsupported", "linux.seccomp.listenerPath");
	if (parse_action(json_get(seccomp, "defaultAction"), json_get(seccomp, "defaultErrnoRet"), &p->fallback, f) != 0 ||
	    parse_architectures(p, json_get(seccomp, "architectures"), f) != 0 ||
	    parse_flags(json_get(seccomp, "flags"), flags, f) != 0)
		return -1;
	for (size_t i = 0; i < ARCHITECTURES; i++) {
		p->highest[i] = -1;
		for (size_t number = 0; number < SECCOMP_NUMBERS; number++)
			p->tables[i].verdicts[number].action = p->fallback;
	}
	for (size_t i = 0; i < json_length(syscalls); i++) {
		if (parse_syscall(p, json_at(syscalls, i), f) != 0)
			return -1;
	}
	answer_enosys(p);
	return 0;
}

int seccomp_compile(const struct json *seccomp, struct seccomp_filter *out, struct failure *f)
{
	struct profile p = {0};
	struct seccomp_program program = {0};
	int result = -1;

	*out = (struct seccomp_filter){0};
	if (seccomp == NULL || json_type(seccomp) == JSON_NULL)
		return 0;
	p.rules = calloc(RULES_MAX, sizeof *p.rules);
	p.tables = calloc(ARCHITECTURES, sizeof *p.tables);
	if (p.rules == NULL || p.tables == NULL) {
		fail_errno(f, "seccomp");
		goto out;
	}
	if (parse_profile(&p, seccomp, &out->flags, f) != 0)
		goto out;
	seccomp_generate(&program, &p.tables[X86_64], p.wanted[X32] ? &p.tables[X32] : NULL,
			 p.wanted[I386] ? &p.tables[I386] : NULL, p.fallback);
	if (program.failed) {
		fail(f, "invalid", "seccomp profile needs more than %d instructions", BPF_MAXINSNS);
		goto out;
	}
	out->code = program.code;
	out->length = (unsigned short)program.length;
	program.code = NULL;
	result = 0;
out:
	free(program.code);
	free(p.rules);
	free(p.tables);
	if (result != 0)
		*out = (struct seccomp_filter){0};
	return result;
}

int seccomp_install(const struct seccomp_filter *filter, struct failure *f)
{
	struct sock_fprog program = {.len = filter->length, .filter = filter->code};

	if (filter->code == NULL)
		return 0;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, filter->flags, &program) != 0)
		return fail_errno(f, "installing the seccomp filter");
	return 0;
}

void seccomp_free(struct seccomp_filter *filter)
{
	free(filter->code);
	*filter = (struct seccomp_filter){0};
}
