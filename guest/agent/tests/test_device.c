// SPDX-License-Identifier: Apache-2.0
// The eBPF programs are interpreted here, and loaded into the kernel, whose verifier judges them too.
#include "../device.h"

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "expect.h"

enum { R = BPF_DEVCG_ACC_READ, W = BPF_DEVCG_ACC_WRITE, M = BPF_DEVCG_ACC_MKNOD };

struct program {
	struct bpf_insn *code;
	size_t length;
};

static bool interpret(const struct program *p, const struct bpf_cgroup_dev_ctx *context)
{
	uint64_t r[11] = {0};
	bool taken;

	for (size_t at = 0; at < p->length; at++) {
		const struct bpf_insn *i = &p->code[at];
		uint64_t *to = &r[i->dst_reg], from = r[i->src_reg];
		switch (i->code) {
		case BPF_LDX | BPF_MEM | BPF_W: {
			uint32_t word;
			memcpy(&word, (const char *)context + i->off, sizeof word);
			*to = word;
			break;
		}
		case BPF_ALU | BPF_MOV | BPF_X:
			*to = (uint32_t)from;
			break;
		case BPF_ALU64 | BPF_MOV | BPF_K:
			*to = (uint64_t)(int64_t)i->imm;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			*to = (uint32_t)*to & (uint32_t)i->imm;
			break;
		case BPF_ALU | BPF_RSH | BPF_K:
			*to = (uint32_t)*to >> i->imm;
			break;
		case BPF_JMP | BPF_JNE | BPF_K:
		case BPF_JMP | BPF_JEQ | BPF_K:
			taken = (*to == (uint64_t)(int64_t)i->imm) == (BPF_OP(i->code) == BPF_JEQ);
			at += taken ? (size_t)i->off : 0;
			break;
		case BPF_JMP | BPF_EXIT:
			return r[0] != 0;
		default:
			abort();
		}
	}
	abort();
}

// The kernel's verifier; true also where this machine has no such programs.
static bool loads(const struct program *p)
{
	static char log[65536];
	union bpf_attr attributes = {0};

	attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attributes.insns = (uint64_t)(uintptr_t)p->code;
	attributes.insn_cnt = (uint32_t)p->length;
	attributes.license = (uint64_t)(uintptr_t) "Apache-2.0";
	attributes.log_buf = (uint64_t)(uintptr_t)log;
	attributes.log_size = sizeof log;
	attributes.log_level = 1;
	int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
	if (fd >= 0) {
		close(fd);
		return true;
	}
	if (errno == EINVAL && log[0] == '\0')
		return true;
	if (errno == ENOSYS || errno == EPERM)
		return true;
	(void)fprintf(stderr, "%s\n", log);
	return false;
}

static struct program compile(const char *json)
{
	struct program p = {0};
	struct failure f = {0};
	struct json *v = expect_json(json);

	if (!EXPECT(device_compile(v, &p.code, &p.length, &f) == 0))
		(void)fprintf(stderr, "%s\n", f.message);
	json_free(v);
	if (p.code != NULL)
		EXPECT(loads(&p));
	return p;
}

static bool may(const struct program *p, uint32_t type, uint32_t major, uint32_t minor, uint32_t access)
{
	struct bpf_cgroup_dev_ctx context = {.access_type = access << 16 | type, .major = major, .minor = minor};

	return interpret(p, &context);
}

static const uint32_t c = BPF_DEVCG_DEV_CHAR, b = BPF_DEVCG_DEV_BLOCK;

static void test_without_rules_only_the_default_devices_are_allowed(void)
{
	static const char *const lists[] = {"null", "[]", "[{'allow':false,'access':'rwm'}]", "[{'allow':false,'type':'a'}]"};

	for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
		struct program p = compile(lists[i]);
		EXPECT(may(&p, c, 1, 3, R | W) && may(&p, c, 1, 9, R) && may(&p, c, 136, 17, R | W) && may(&p, c, 5, 2, R | W));
		EXPECT(may(&p, c, 10, 200, M) && may(&p, b, 8, 0, M)); // making nodes
		EXPECT(!may(&p, b, 254, 0, R) && !may(&p, c, 10, 200, R) && !may(&p, c, 1, 1, R) && !may(&p, b, 1, 3, R));
		EXPECT(!may(&p, b, 8, 0, M | R));
		free(p.code);
	}
}

static void test_a_privileged_container_needs_no_program(void)
{
	struct program p = compile("[{'allow':false,'access':'rwm'},{'allow':true,'access':'rwm'}]");

	EXPECT(p.code == NULL && p.length == 0);
	p = compile("[{'allow':true}]");
	EXPECT(p.code == NULL);
}

static void test_later_rules_win(void)
{
	struct program p = compile("[{'allow':true},{'allow':false,'type':'b','major':8,'access':'w'}]");

	EXPECT(may(&p, b, 8, 1, R) && !may(&p, b, 8, 1, W) && !may(&p, b, 8, 1, R | W) && may(&p, b, 9, 1, R | W));
	EXPECT(may(&p, c, 8, 1, W));
	free(p.code);
	p = compile("[{'allow':false,'access':'rwm'},{'allow':true,'type':'b','major':8,'minor':0,'access':'r'},"
		    "{'allow':true,'type':'c','major':10,'access':'rwm'},{'allow':false,'type':'c','major':10,'minor':5}]");
	EXPECT(may(&p, b, 8, 0, R) && !may(&p, b, 8, 0, W) && !may(&p, b, 8, 0, R | W) && !may(&p, b, 8, 1, R));
	EXPECT(may(&p, c, 10, 4, R | W) && !may(&p, c, 10, 5, R));
	free(p.code);
	p = compile("[{'allow':true,'type':'b','major':8,'access':'rwm'},{'allow':false},{'allow':true,'type':'c','major':1,"
		    "'minor':1,'access':'r'}]");
	EXPECT(!may(&p, b, 8, 0, R) && may(&p, c, 1, 1, R));
	free(p.code);
}

static void refuse(const char *json)
{
	struct program p;
	struct failure f = {0};
	struct json *v = expect_json(json);

	EXPECT(device_compile(v, &p.code, &p.length, &f) == -1 && p.code == NULL);
	EXPECT_TEXT(f.code, "invalid");
	json_free(v);
}

static void test_bad_rules_are_refused(void)
{
	refuse("[1]");
	refuse("[{'allow':true,'type':'x'}]");
	refuse("[{'allow':true,'type':'c','access':'rx'}]");
	refuse("[{'allow':true,'type':'c','major':-2}]");
	refuse("[{'allow':true,'type':'c','minor':4294967296}]");
	refuse("[{'allow':true,'type':'c','minor':'*'}]");
}

int main(void)
{
	RUN(test_without_rules_only_the_default_devices_are_allowed);
	RUN(test_a_privileged_container_needs_no_program);
	RUN(test_later_rules_win);
	RUN(test_bad_rules_are_refused);
	return expect_failures != 0;
}
