// SPDX-License-Identifier: Apache-2.0
#include "../capability.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../path.h"
#include "expect.h"

static void refuse(const char *json, const char *message)
{
	struct capabilities c;
	struct failure f = {0};
	struct json *v = expect_json(json);

	EXPECT(capability_parse(v, &c, &f) == -1);
	EXPECT_TEXT(f.code, "invalid");
	EXPECT_TEXT(f.message, message);
	json_free(v);
}

static void test_names_become_bits(void)
{
	struct capabilities c;
	struct json *v = expect_json("{'bounding':['CAP_CHOWN','CAP_CHECKPOINT_RESTORE'],'effective':['CAP_KILL'],"
				     "'permitted':null,'ambient':['CAP_SETUID','CAP_SETUID']}");

	EXPECT(capability_parse(v, &c, NULL) == 0);
	EXPECT(c.bounding == (UINT64_C(1) << 0 | UINT64_C(1) << 40) && c.effective == 1 << 5 && c.permitted == 0 &&
	       c.inheritable == 0 && c.ambient == 1 << 7);
	EXPECT(capability_parse(NULL, &c, NULL) == 0 && c.bounding == 0);
	json_free(v);
}

static void test_what_is_no_capability_is_refused(void)
{
	refuse("{'bounding':['CAP_NONSENSE']}", "process.capabilities.bounding: unknown capability \"CAP_NONSENSE\"");
	refuse("{'effective':['CHOWN']}", "process.capabilities.effective: unknown capability \"CHOWN\"");
	refuse("{'effective':['cap_chown']}", "process.capabilities.effective: unknown capability \"cap_chown\"");
	refuse("{'ambient':[1]}", "process.capabilities.ambient: unknown capability \"\"");
	refuse("{'permitted':'CAP_CHOWN'}", "process.capabilities.permitted must be an array");
	refuse("[]", "process.capabilities must be an object");
}

// What /proc/self/status says of CapInh, CapPrm, CapEff, CapBnd, CapAmb of a process with these capabilities.
static const char *become(const char *json, uid_t uid, bool execute)
{
	static char out[1024];
	int fds[2];

	if (pipe(fds) != 0)
		abort();
	pid_t child = fork();
	if (child == 0) {
		struct capabilities c;
		struct failure f = {0};
		if (capability_parse(expect_json(json), &c, &f) != 0 || capability_prepare(&c, &f) != 0 ||
		    setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0 || capability_apply(&c, &f) != 0) {
			(void)dprintf(fds[1], "%s", f.message);
			_exit(1);
		}
		(void)dup2(fds[1], 1);
		if (execute)
			(void)execl("/bin/grep", "grep", "^Cap", "/proc/self/status", (char *)NULL);
		char status[4096];
		(void)path_read(AT_FDCWD, "/proc/self/status", status, sizeof status);
		for (char *line = strtok(status, "\n"); line != NULL; line = strtok(NULL, "\n")) {
			if (strncmp(line, "Cap", 3) == 0)
				(void)dprintf(1, "%s\n", line);
		}
		_exit(0);
	}
	close(fds[1]);
	size_t used = 0;
	ssize_t n;
	while ((n = read(fds[0], out + used, sizeof out - 1 - used)) > 0)
		used += (size_t)n;
	out[used] = '\0';
	close(fds[0]);
	(void)waitpid(child, NULL, 0);
	return out;
}

#define SOME "'CAP_CHOWN','CAP_KILL','CAP_NET_RAW'" // 0x2021

static void test_root_keeps_what_is_listed(void)
{
	EXPECT_TEXT(become("{'bounding':[" SOME "],'effective':[" SOME "],'permitted':[" SOME "]}", 0, true),
		    "CapInh:\t0000000000000000\nCapPrm:\t0000000000002021\nCapEff:\t0000000000002021\n"
		    "CapBnd:\t0000000000002021\nCapAmb:\t0000000000000000\n");
}

static void test_a_user_keeps_over_execve_only_what_is_ambient(void)
{
	EXPECT_TEXT(become("{'bounding':[" SOME "],'effective':[" SOME "],'permitted':[" SOME "]}", 1000, true),
		    "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
		    "CapBnd:\t0000000000002021\nCapAmb:\t0000000000000000\n");
	EXPECT_TEXT(become("{'bounding':[" SOME "],'effective':[" SOME "],'permitted':[" SOME "],'inheritable':['CAP_KILL'],"
			   "'ambient':['CAP_KILL','CAP_CHOWN']}",
			   1000, true),
		    "CapInh:\t0000000000000020\nCapPrm:\t0000000000000020\nCapEff:\t0000000000000020\n"
		    "CapBnd:\t0000000000002021\nCapAmb:\t0000000000000020\n");
}

static void test_capabilities_survive_the_change_of_user_until_execve(void)
{
	EXPECT_TEXT(become("{'bounding':[],'effective':['CAP_KILL'],'permitted':[" SOME "]}", 1000, false),
		    "CapInh:\t0000000000000000\nCapPrm:\t0000000000002021\nCapEff:\t0000000000000020\n"
		    "CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n");
}

static void test_no_capabilities_are_none(void)
{
	EXPECT_TEXT(become("null", 0, true),
		    "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
		    "CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n");
}

int main(void)
{
	RUN(test_names_become_bits);
	RUN(test_what_is_no_capability_is_refused);
	RUN(test_root_keeps_what_is_listed);
	RUN(test_a_user_keeps_over_execve_only_what_is_ambient);
	RUN(test_capabilities_survive_the_change_of_user_until_execve);
	RUN(test_no_capabilities_are_none);
	return expect_failures != 0;
}
