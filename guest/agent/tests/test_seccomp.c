// SPDX-License-Identifier: Apache-2.0
// The compiled programs are interpreted here as the kernel would, and some are installed in a child.
#include "../seccomp.h"

#include <asm/unistd_64.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

// seccomp's subset of classic BPF. Counts steps to show that programs are short to run.
static uint32_t interpret(const struct seccomp_filter *filter, const struct seccomp_data *data, unsigned *steps)
{
	uint32_t a = 0;

	for (size_t at = 0; at < filter->length; at++) {
		const struct sock_filter *i = &filter->code[at];
		++*steps;
		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (i->k > sizeof *data - 4 || i->k % 4 != 0)
				abort();
			memcpy(&a, (const char *)data + i->k, 4);
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			break;
		case BPF_JMP | BPF_JA:
			at += i->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			at += a == i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			at += a > i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			at += a >= i->k ? i->jt : i->jf;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		default:
			abort();
		}
	}
	abort(); // ran off the end
}

static uint32_t ask(const struct seccomp_filter *filter, uint32_t arch, int nr, uint64_t a0, uint64_t a1)
{
	struct seccomp_data data = {.nr = nr, .arch = arch, .args = {a0, a1}};
	unsigned steps = 0;

	return interpret(filter, &data, &steps);
}

static struct seccomp_filter compile(const char *profile)
{
	struct seccomp_filter filter = {0};
	struct failure f = {0};
	struct json *json = expect_json(profile);

	if (!EXPECT(seccomp_compile(json, &filter, &f) == 0))
		(void)fprintf(stderr, "%s: %s\n", f.code, f.message);
	json_free(json);
	return filter;
}

static void refuse(const char *profile, const char *code)
{
	struct seccomp_filter filter;
	struct failure f = {0};
	struct json *json = expect_json(profile);

	EXPECT(seccomp_compile(json, &filter, &f) == -1);
	EXPECT_TEXT(f.code, code);
	EXPECT(filter.code == NULL);
	json_free(json);
}

static const uint32_t allow = SECCOMP_RET_ALLOW, eperm = SECCOMP_RET_ERRNO | EPERM;

static void test_a_missing_profile_is_no_filter(void)
{
	struct seccomp_filter filter;
	struct json *null = expect_json("null");

	EXPECT(seccomp_compile(NULL, &filter, NULL) == 0 && filter.code == NULL);
	EXPECT(seccomp_compile(null, &filter, NULL) == 0 && filter.code == NULL);
	EXPECT(seccomp_install(&filter, NULL) == 0);
	json_free(null);
}

static void test_actions_carry_their_numbers(void)
{
	struct seccomp_filter f = compile("{'defaultAction':'SCMP_ACT_ALLOW','syscalls':["
					  "{'names':['read'],'action':'SCMP_ACT_ERRNO'},"
					  "{'names':['write'],'action':'SCMP_ACT_ERRNO','errnoRet':38},"
					  "{'names':['open'],'action':'SCMP_ACT_KILL'},"
					  "{'names':['close'],'action':'SCMP_ACT_KILL_PROCESS'},"
					  "{'names':['stat'],'action':'SCMP_ACT_TRAP'},"
					  "{'names':['fstat'],'action':'SCMP_ACT_TRACE','errnoRet':7},"
					  "{'names':['lstat'],'action':'SCMP_ACT_LOG'},"
					  "{'names':['no_such_syscall'],'action':'SCMP_ACT_KILL'}]}");
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_read, 0, 0) == eperm);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_write, 0, 0) == (SECCOMP_RET_ERRNO | 38));
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_open, 0, 0) == SECCOMP_RET_KILL_THREAD);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_close, 0, 0) == SECCOMP_RET_KILL_PROCESS);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_stat, 0, 0) == SECCOMP_RET_TRAP);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_fstat, 0, 0) == (SECCOMP_RET_TRACE | 7));
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_lstat, 0, 0) == SECCOMP_RET_LOG);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_poll, 0, 0) == allow);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, 5000, 0, 0) == allow);
	EXPECT(f.flags == SECCOMP_FILTER_FLAG_SPEC_ALLOW);
	seccomp_free(&f);
}

static void test_operators_compare_64_bits(void)
{
	static const char *const operators[] = {"NE", "LT", "LE", "EQ", "GE", "GT"};
	static const uint64_t interesting[] = {0, 1, 2, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x100000001,
					       0x1ffffffff, 0x7fffffffffffffff};
	const size_t n = sizeof interesting / sizeof interesting[0];

	for (size_t o = 0; o < 6; o++) {
		for (size_t v = 0; v < n; v++) {
			char profile[512];
			(void)snprintf(profile, sizeof profile,
				       "{'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':['read'],'action':"
				       "'SCMP_ACT_ALLOW','args':[{'index':1,'value':%llu,'op':'SCMP_CMP_%s'}]}]}",
				       (unsigned long long)interesting[v], operators[o]);
			struct seccomp_filter f = compile(profile);
			for (size_t a = 0; a < n; a++) {
				uint64_t x = interesting[a], y = interesting[v];
				bool wanted[] = {x != y, x < y, x <= y, x == y, x >= y, x > y};
				EXPECT((ask(&f, AUDIT_ARCH_X86_64, __NR_read, 0, x) == allow) == wanted[o]);
			}
			seccomp_free(&f);
		}
	}
}

static void test_masked_equality_looks_at_the_masked_bits_of_both_halves(void)
{
	struct seccomp_filter f = compile("{'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':['clone'],'action':"
					  "'SCMP_ACT_ALLOW','args':[{'index':0,'value':1099515822080,'valueTwo':1099511627776,"
					  "'op':'SCMP_CMP_MASKED_EQ'}]}]}"); // mask 0x100_0040_0000, wanted 0x100_0000_0000
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_clone, 0x10000000000, 0) == allow);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_clone, 0x10000000011, 0) == allow);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_clone, 0x10000400000, 0) == eperm);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_clone, 0, 0) == eperm);
	seccomp_free(&f);
}

static void test_conditions_on_one_argument_are_alternatives_and_on_several_are_all_needed(void)
{
	struct seccomp_filter f = compile(
		"{'defaultAction':'SCMP_ACT_ERRNO','syscalls':["
		"{'names':['personality'],'action':'SCMP_ACT_ALLOW','args':[{'index':0,'value':0,'op':'SCMP_CMP_EQ'},"
		"{'index':0,'value':8,'op':'SCMP_CMP_EQ'}]},"
		"{'names':['socket'],'action':'SCMP_ACT_ALLOW','args':[{'index':0,'value':2,'op':'SCMP_CMP_EQ'},"
		"{'index':1,'value':1,'op':'SCMP_CMP_EQ'}]},"
		"{'names':['socket'],'action':'SCMP_ACT_ALLOW','args':[{'index':0,'value':40,'op':'SCMP_CMP_GT'}]}]}");
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_personality, 0, 0) == allow);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_personality, 8, 0) == allow);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_personality, 9, 0) == eperm);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_socket, 2, 1) == allow);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_socket, 2, 2) == eperm);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_socket, 41, 2) == allow);
	seccomp_free(&f);
}

static void test_other_architectures_die_unless_the_profile_names_them(void)
{
	struct seccomp_filter f = compile("{'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':['getpid'],'action':"
					  "'SCMP_ACT_ALLOW'}]}");
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_getpid, 0, 0) == allow);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, 0x40000000 + __NR_getpid, 0, 0) == SECCOMP_RET_KILL_PROCESS);
	EXPECT(ask(&f, AUDIT_ARCH_I386, 20, 0, 0) == SECCOMP_RET_KILL_PROCESS);
	EXPECT(ask(&f, AUDIT_ARCH_AARCH64, __NR_getpid, 0, 0) == SECCOMP_RET_KILL_PROCESS);
	seccomp_free(&f);
	f = compile("{'defaultAction':'SCMP_ACT_ERRNO','architectures':['SCMP_ARCH_X86_64','SCMP_ARCH_X86','SCMP_ARCH_X32',"
		    "'SCMP_ARCH_AARCH64'],'syscalls':[{'names':['getpid','ioctl'],'action':'SCMP_ACT_ALLOW'}]}");
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_getpid, 0, 0) == allow);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, 0x40000000 + __NR_getpid, 0, 0) == allow);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, 0x40000000 + 514, 0, 0) == allow); // x32's own ioctl
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, 0x40000000 + __NR_ioctl, 0, 0) == eperm);
	EXPECT(ask(&f, AUDIT_ARCH_I386, 20, 0, 0) == allow);
	EXPECT(ask(&f, AUDIT_ARCH_I386, __NR_getpid, 0, 0) == eperm);
	EXPECT(ask(&f, AUDIT_ARCH_AARCH64, __NR_getpid, 0, 0) == SECCOMP_RET_KILL_PROCESS);
	seccomp_free(&f);
}

static void test_syscalls_newer_than_the_profile_are_answered_enosys(void)
{
	struct seccomp_filter f = compile("{'defaultAction':'SCMP_ACT_ERRNO','syscalls':[{'names':['statx'],'action':"
					  "'SCMP_ACT_ALLOW'}]}"); // 332
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, 331, 0, 0) == eperm);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, 332, 0, 0) == allow);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, 333, 0, 0) == (SECCOMP_RET_ERRNO | ENOSYS));
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, 100000, 0, 0) == (SECCOMP_RET_ERRNO | ENOSYS));
	seccomp_free(&f);
}

static void test_what_cannot_be_carried_out_is_refused(void)
{
	refuse("{}", "invalid");
	refuse("[]", "invalid");
	refuse("{'defaultAction':7}", "invalid");
	refuse("{'defaultAction':'SCMP_ACT_NONSENSE'}", "invalid");
	refuse("{'defaultAction':'SCMP_ACT_NOTIFY'}", "unsupported");
	refuse("{'defaultAction':'SCMP_ACT_ALLOW','listenerPath':'/x'}", "unsupported");
	refuse("{'defaultAction':'SCMP_ACT_ALLOW','flags':['NONSENSE']}", "invalid");
	refuse("{'defaultAction':'SCMP_ACT_ALLOW','architectures':['x86']}", "invalid");
	refuse("{'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':-1}", "invalid");
	refuse("{'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':65536}", "invalid");
	refuse("{'defaultAction':'SCMP_ACT_ALLOW','defaultErrnoRet':1}", "invalid");
	refuse("{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'action':'SCMP_ACT_KILL'}]}", "invalid");
	refuse("{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':[1],'action':'SCMP_ACT_KILL'}]}", "invalid");
	refuse("{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['read'],'action':'SCMP_ACT_KILL','args':"
	       "[{'index':6,'value':0,'op':'SCMP_CMP_EQ'}]}]}",
	       "invalid");
	refuse("{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['read'],'action':'SCMP_ACT_KILL','args':"
	       "[{'index':0,'value':-1,'op':'SCMP_CMP_EQ'}]}]}",
	       "invalid");
	refuse("{'defaultAction':'SCMP_ACT_ALLOW','syscalls':[{'names':['read'],'action':'SCMP_ACT_KILL','args':"
	       "[{'index':0,'value':0,'op':'SCMP_CMP_SOME'}]}]}",
	       "invalid");
}

static struct seccomp_filter compile_default(void)
{
	static char text[1 << 16];
	char error[128];
	struct seccomp_filter filter = {0};
	FILE *file = fopen("tests/data/seccomp_default.json", "r");

	if (file == NULL)
		abort();
	size_t n = fread(text, 1, sizeof text, file);
	(void)fclose(file);
	struct json *profile = json_parse(text, n, error);
	EXPECT(profile != NULL && seccomp_compile(profile, &filter, NULL) == 0);
	json_free(profile);
	return filter;
}

static void test_dockers_default_profile_is_short_to_run(void)
{
	struct seccomp_filter f = compile_default();
	unsigned total = 0, most = 0;

	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_read, 0, 0) == allow);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_mount, 0, 0) == eperm);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_clone3, 0, 0) == (SECCOMP_RET_ERRNO | ENOSYS));
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_clone, 0x10000000, 0) == eperm); // CLONE_NEWUSER
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_clone, 17, 0) == allow);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_socket, 40, 0) == eperm); // AF_VSOCK
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_socket, 2, 0) == allow);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_personality, 0xffffffff, 0) == allow);
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_personality, 1, 0) == eperm);
	EXPECT(ask(&f, AUDIT_ARCH_I386, 3, 0, 0) == allow);
	EXPECT(ask(&f, AUDIT_ARCH_I386, 21, 0, 0) == eperm); // mount
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, 0x40000000 + 520, 0, 0) == allow); // x32's execve
	for (int nr = 0; nr < 450; nr++) {
		struct seccomp_data data = {.nr = nr, .arch = AUDIT_ARCH_X86_64};
		unsigned steps = 0;
		(void)interpret(&f, &data, &steps);
		total += steps;
		most = steps > most ? steps : most;
	}
	(void)printf("docker's default: %u instructions, %u steps on average, at most %u\n", f.length, total / 450, most);
	EXPECT(total / 450 < 20 && most < 60);
	seccomp_free(&f);
}

// Runs `probe` under the filter; its return value, or 128 + the signal.
static int under(const struct seccomp_filter *filter, int (*probe)(void))
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct failure f;
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || seccomp_install(filter, &f) != 0)
			_exit(99);
		_exit(probe());
	}
	if (waitpid(child, &status, 0) != child)
		abort();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int probe_default(void)
{
	errno = 0;
	if (syscall(SYS_getppid) < 0)
		return 1;
	if (syscall(SYS_unshare, 0x10000000) != -1 || errno != EPERM)
		return 2;
	if (syscall(SYS_keyctl, 0, 0, 0) != -1 || errno != EPERM)
		return 3;
	return syscall(SYS_clone3, NULL, 0) == -1 && errno == ENOSYS ? 0 : 4;
}

static int probe_reboot(void)
{
	syscall(SYS_reboot, 0, 0, 0, 0);
	return 0;
}

static void test_the_kernel_takes_the_programs(void)
{
	struct seccomp_filter f = compile_default();

	EXPECT(under(&f, probe_default) == 0);
	seccomp_free(&f);
	f = compile("{'defaultAction':'SCMP_ACT_ALLOW','flags':['SECCOMP_FILTER_FLAG_LOG','SECCOMP_FILTER_FLAG_TSYNC'],"
		    "'syscalls':[{'names':['reboot'],'action':'SCMP_ACT_KILL_PROCESS'}]}");
	EXPECT(f.flags == SECCOMP_FILTER_FLAG_LOG);
	EXPECT(under(&f, probe_reboot) == 128 + 31);
	seccomp_free(&f);
}

// Every syscall with a different errno, so that no two share a range: the tree is at its largest, jumps at their longest.
static void test_the_largest_tree_still_finds_every_number(void)
{
	static char profile[1 << 18];
	size_t used = (size_t)sprintf(profile, "{'defaultAction':'SCMP_ACT_ERRNO','defaultErrnoRet':999,'architectures':["
					       "'SCMP_ARCH_X86_64','SCMP_ARCH_X86','SCMP_ARCH_X32'],'syscalls':[");
	static const char *const names[] = {"read", "write", "open",	"close",  "stat",   "fstat",  "lstat",
					    "poll", "lseek", "mmap",	"mprotect", "munmap", "brk"};
	const size_t n = sizeof names / sizeof names[0];
	for (size_t i = 0; i < n; i++)
		used += (size_t)sprintf(profile + used,
					"%s{'names':['%s'],'action':'SCMP_ACT_ERRNO','errnoRet':%zu},"
					"{'names':['%s'],'action':'SCMP_ACT_KILL'}",
					i == 0 ? "" : ",", names[i], i + 1, names[i]);
	for (size_t i = 0; i < 200; i++)
		used += (size_t)sprintf(profile + used,
					",{'names':['ioctl'],'action':'SCMP_ACT_ERRNO','errnoRet':%zu,'args':[{'index':1,"
					"'value':%zu,'op':'SCMP_CMP_EQ'}]}",
					1000 + i, i * 3);
	(void)sprintf(profile + used, "]}");
	struct seccomp_filter f = compile(profile);
	for (int nr = 0; nr < (int)n; nr++)
		EXPECT(ask(&f, AUDIT_ARCH_X86_64, nr, 0, 0) == (SECCOMP_RET_ERRNO | (unsigned)(nr + 1)));
	for (unsigned i = 0; i < 200; i++) {
		EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_ioctl, 0, i * 3) == (SECCOMP_RET_ERRNO | (1000 + i)));
		EXPECT(ask(&f, AUDIT_ARCH_X86_64, __NR_ioctl, 0, i * 3 + 1) == (SECCOMP_RET_ERRNO | 999));
	}
	EXPECT(ask(&f, AUDIT_ARCH_X86_64, 13, 0, 0) == (SECCOMP_RET_ERRNO | 999));
	seccomp_free(&f);
}

int main(void)
{
	RUN(test_a_missing_profile_is_no_filter);
	RUN(test_actions_carry_their_numbers);
	RUN(test_operators_compare_64_bits);
	RUN(test_masked_equality_looks_at_the_masked_bits_of_both_halves);
	RUN(test_conditions_on_one_argument_are_alternatives_and_on_several_are_all_needed);
	RUN(test_other_architectures_die_unless_the_profile_names_them);
	RUN(test_syscalls_newer_than_the_profile_are_answered_enosys);
	RUN(test_what_cannot_be_carried_out_is_refused);
	RUN(test_dockers_default_profile_is_short_to_run);
	RUN(test_the_kernel_takes_the_programs);
	RUN(test_the_largest_tree_still_finds_every_number);
	return expect_failures != 0;
}
