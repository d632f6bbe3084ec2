// SPDX-License-Identifier: Apache-2.0
#include "device.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	RULES_MAX = 1024, // of the list
	PROLOGUE = 6,
	RULE_MAX = 7,  // instructions a rule can take
	EPILOGUE = 2,
};

struct rule {
	bool allow;
	uint32_t type;   // BPF_DEVCG_DEV_BLOCK or _CHAR; 0: both
	uint32_t access; // BPF_DEVCG_ACC_*
	int64_t major, minor; // -1: any
};

enum { READ_WRITE_MKNOD = BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE | BPF_DEVCG_ACC_MKNOD };

// What every container may do, whatever the list says, as in runc: making nodes (using them is another matter), and
// the devices that mount.c puts into /dev.
static const struct rule defaults[] = {
	{true, BPF_DEVCG_DEV_CHAR, BPF_DEVCG_ACC_MKNOD, -1, -1},
	{true, BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_ACC_MKNOD, -1, -1},
	{true, BPF_DEVCG_DEV_CHAR, READ_WRITE_MKNOD, 1, 3},    // null
	{true, BPF_DEVCG_DEV_CHAR, READ_WRITE_MKNOD, 1, 5},    // zero
	{true, BPF_DEVCG_DEV_CHAR, READ_WRITE_MKNOD, 1, 7},    // full
	{true, BPF_DEVCG_DEV_CHAR, READ_WRITE_MKNOD, 1, 8},    // random
	{true, BPF_DEVCG_DEV_CHAR, READ_WRITE_MKNOD, 1, 9},    // urandom
	{true, BPF_DEVCG_DEV_CHAR, READ_WRITE_MKNOD, 5, 0},    // tty
	{true, BPF_DEVCG_DEV_CHAR, READ_WRITE_MKNOD, 5, 2},    // ptmx
	{true, BPF_DEVCG_DEV_CHAR, READ_WRITE_MKNOD, 136, -1}, // pts
};
enum { DEFAULTS = sizeof defaults / sizeof defaults[0] };

static struct bpf_insn instruction(int code, int to, int from, int offset, int32_t k)
{
	struct bpf_insn i = {.code = (uint8_t)code, .off = (int16_t)offset, .imm = k};

	i.dst_reg = (unsigned)to & 0xfU;
	i.src_reg = (unsigned)from & 0xfU;
	return i;
}

static int parse_number(const struct json *v, int64_t *out, const char *what, struct failure *f)
{
	*out = -1;
	if (v == NULL || json_type(v) == JSON_NULL)
		return 0;
	int64_t n = json_int(v, INT64_MIN);
	if (!json_is_number(v) || n < -1 || n > INT32_MAX)
		return fail(f, "invalid", "linux.resources.devices: bad %s number", what);
	*out = n;
	return 0;
}

static int parse_rule(const struct json *entry, struct rule *out, struct failure *f)
{
	const char *type = json_string(json_get(entry, "type"), "a");
	const char *access = json_string(json_get(entry, "access"), "");

	if (!json_is_object(entry))
		return fail(f, "invalid", "linux.resources.devices must be an array of objects");
	*out = (struct rule){.allow = json_bool(json_get(entry, "allow"), false)};
	if (strcmp(type, "b") == 0)
		out->type = BPF_DEVCG_DEV_BLOCK;
	else if (strcmp(type, "c") == 0 || strcmp(type, "u") == 0)
		out->type = BPF_DEVCG_DEV_CHAR;
	else if (*type != '\0' && strcmp(type, "a") != 0)
		return fail(f, "invalid", "linux.resources.devices: type \"%s\"", type);
	for (const char *c = access; *c != '\0'; c++) {
		if (*c == 'r')
			out->access |= BPF_DEVCG_ACC_READ;
		else if (*c == 'w')
			out->access |= BPF_DEVCG_ACC_WRITE;
		else if (*c == 'm')
			out->access |= BPF_DEVCG_ACC_MKNOD;
		else
			return fail(f, "invalid", "linux.resources.devices: access \"%s\"", access);
	}
	if (out->access == 0)
		out->access = READ_WRITE_MKNOD;
	if (parse_number(json_get(entry, "major"), &out->major, "major", f) != 0 ||
	    parse_number(json_get(entry, "minor"), &out->minor, "minor", f) != 0)
		return -1;
	return 0;
}

static bool takes_all(const struct rule *r)
{
	return r->type == 0 && r->access == READ_WRITE_MKNOD && r->major < 0 && r->minor < 0;
}

// Reads the rules. What comes before a rule that matches everything has no effect any more, so that rule becomes
// the default; *n is what follows it.
static int parse_rules(const struct json *devices, struct rule *rules, size_t *n, bool *fallback, struct failure *f)
{
	*n = 0;
	*fallback = false;
	if (json_length(devices) > RULES_MAX)
		return fail(f, "invalid", "linux.resources.devices has more than %d rules", RULES_MAX);
	for (size_t i = 0; i < json_length(devices); i++) {
		struct rule *r = &rules[*n];
		if (parse_rule(json_at(devices, i), r, f) != 0)
			return -1;
		if (takes_all(r)) {
			*fallback = r->allow;
			*n = 0;
		} else {
			++*n;
		}
	}
	if (*n == 0 && *fallback)
		return 0; // everything is allowed already
	memcpy(&rules[*n], defaults, sizeof defaults);
	*n += DEFAULTS;
	return 0;
}

// Registers: r2 = type, r3 = access wanted, r4 = major, r5 = minor, r1 scratch.
static size_t emit_prologue(struct bpf_insn *out)
{
	const int access_type = (int)offsetof(struct bpf_cgroup_dev_ctx, access_type);
	size_t n = 0;

	out[n++] = instruction(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, access_type, 0);
	out[n++] = instruction(BPF_ALU | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
	out[n++] = instruction(BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
	out[n++] = instruction(BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
	out[n++] = instruction(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_4, BPF_REG_1,
			       (int)offsetof(struct bpf_cgroup_dev_ctx, major), 0);
	out[n++] = instruction(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_5, BPF_REG_1,
			       (int)offsetof(struct bpf_cgroup_dev_ctx, minor), 0);
	return n;
}

static size_t emit_verdict(struct bpf_insn *out, bool allow)
{
	out[0] = instruction(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, allow);
	out[1] = instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	return 2;
}

// A rule that allows needs all that is wanted within its access; one that denies needs any of it.
static size_t emit_rule(struct bpf_insn *out, const struct rule *r)
{
	size_t tests[4], tests_length = 0, n = 0;

	if (r->type != 0) {
		tests[tests_length++] = n;
		out[n++] = instruction(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, 0, (int32_t)r->type);
	}
	if (r->access != READ_WRITE_MKNOD) {
		out[n++] = instruction(BPF_ALU | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
		out[n++] = instruction(BPF_ALU | BPF_AND | BPF_K, BPF_REG_1, 0, 0,
				       (int32_t)(r->allow ? ~r->access & READ_WRITE_MKNOD : r->access));
		tests[tests_length++] = n;
		out[n++] = instruction(BPF_JMP | (r->allow ? BPF_JNE : BPF_JEQ) | BPF_K, BPF_REG_1, 0, 0, 0);
	}
	if (r->major >= 0) {
		tests[tests_length++] = n;
		out[n++] = instruction(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_4, 0, 0, (int32_t)r->major);
	}
	if (r->minor >= 0) {
		tests[tests_length++] = n;
		out[n++] = instruction(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_5, 0, 0, (int32_t)r->minor);
	}
	n += emit_verdict(out + n, r->allow);
	for (size_t i = 0; i < tests_length; i++)
		out[tests[i]].off = (int16_t)(n - tests[i] - 1);
	return n;
}

static int compile(const struct rule *rules, size_t n, bool fallback, struct bpf_insn **out, size_t *length,
		   struct failure *f)
{
	struct bpf_insn *code = calloc(PROLOGUE + n * (RULE_MAX + EPILOGUE) + EPILOGUE, sizeof *code);

	if (code == NULL)
		return fail_errno(f, "device rules");
	size_t used = emit_prologue(code);
	// The last rule that matches wins, so ask the last one first.
	for (size_t i = n; i-- > 0;)
		used += emit_rule(code + used, &rules[i]);
	used += emit_verdict(code + used, fallback);
	*out = code;
	*length = used;
	return 0;
}

int device_compile(const struct json *devices, struct bpf_insn **out, size_t *length, struct failure *f)
{
	struct rule *rules = calloc(RULES_MAX + DEFAULTS + 1, sizeof *rules);
	size_t n;
	bool fallback;

	*out = NULL;
	*length = 0;
	if (rules == NULL)
		return fail_errno(f, "device rules");
	int result = parse_rules(devices, rules, &n, &fallback, f);
	if (result == 0 && (n > 0 || !fallback))
		result = compile(rules, n, fallback, out, length, f);
	free(rules);
	return result;
}

static int bpf(int command, union bpf_attr *attributes)
{
	return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

static int load(const struct bpf_insn *code, size_t length)
{
	union bpf_attr attributes = {0};

	attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attributes.insns = (uint64_t)(uintptr_t)code;
	attributes.insn_cnt = (uint32_t)length;
	attributes.license = (uint64_t)(uintptr_t) "Apache-2.0";
	return bpf(BPF_PROG_LOAD, &attributes);
}

// The program of `code`, which is taken. Most containers have the same rules: the latest is kept, as the kernel takes
// milliseconds to verify one. The descriptor stays ours. -1 with errno: there is none.
static int program_of(struct bpf_insn *code, size_t length)
{
	static struct bpf_insn *latest_code;
	static size_t latest_length;
	static int latest = -1;

	if (latest >= 0 && latest_length == length && memcmp(latest_code, code, length * sizeof *code) == 0) {
		free(code);
		return latest;
	}
	int program = load(code, length), error = errno;
	if (program < 0) {
		free(code);
		errno = error;
		return -1;
	}
	if (latest >= 0)
		(void)close(latest);
	free(latest_code);
	latest_code = code;
	latest_length = length;
	return latest = program;
}

static int attach(int cgroup, int program)
{
	union bpf_attr attributes = {0};

	attributes.target_fd = (uint32_t)cgroup;
	attributes.attach_bpf_fd = (uint32_t)program;
	attributes.attach_type = BPF_CGROUP_DEVICE;
	return bpf(BPF_PROG_ATTACH, &attributes);
}

static void detach(int cgroup)
{
	union bpf_attr attributes = {0};

	attributes.target_fd = (uint32_t)cgroup;
	attributes.attach_type = BPF_CGROUP_DEVICE;
	(void)bpf(BPF_PROG_DETACH, &attributes);
}

int device_attach(int cgroup, const struct json *devices, struct failure *f)
{
	struct bpf_insn *code;
	size_t length;

	if (device_compile(devices, &code, &length, f) != 0)
		return -1;
	if (code == NULL) {
		detach(cgroup); // everything is allowed
		return 0;
	}
	int program = program_of(code, length);
	if (program < 0 && (errno == ENOSYS || errno == EINVAL))
		return fail(f, "unsupported", "linux.resources.devices: this kernel has no BPF for cgroup devices");
	if (program < 0)
		return fail_errno(f, "loading the device rules");
	int result = attach(cgroup, program);
	if (result != 0)
		result = errno == EINVAL ? fail(f, "unsupported", "linux.resources.devices: this kernel has no "
								 "BPF for cgroup devices")
					 : fail_errno(f, "attaching the device rules");
	return result;
}
