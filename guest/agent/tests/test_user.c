// SPDX-License-Identifier: Apache-2.0
#include "../user.h"

#include <signal.h>
#include <sys/stat.h>

#include "expect.h"
#include "scratch.h"

static int root;
static struct user user;

// "uid:gid:groups:home", or the failure's code and message.
static const char *resolve(const char *json)
{
	static char answer[65536];
	struct failure f = {0};
	struct json *v = expect_json(json);
	int n = 0;

	if (user_resolve(root, v, &user, &f) != 0) {
		(void)snprintf(answer, sizeof answer, "%s: %s", f.code, f.message);
	} else {
		n = snprintf(answer, sizeof answer, "%u:%u:", user.uid, user.gid);
		for (size_t i = 0; i < user.groups_length; i++)
			n += snprintf(answer + n, sizeof answer - (size_t)n, i == 0 ? "%u" : ",%u", user.groups[i]);
		(void)snprintf(answer + n, sizeof answer - (size_t)n, ":%s", user.home);
	}
	json_free(v);
	return answer;
}

static void as(const char *username, const char *wanted)
{
	char json[4096];

	(void)snprintf(json, sizeof json, "{'username':'%s'}", username);
	EXPECT_TEXT(resolve(json), wanted);
}

static void test_names_are_resolved_as_docker_resolves_them(void)
{
	shell("printf 'root:x:0:0:root:/root:/bin/sh\\nalice:x:1000:1001:A:/home/alice:/bin/sh\\n"
	      "123:x:55:55::/named-123:\\nnohome:x:7:8:::\\n' > root/etc/passwd;"
	      "printf 'root:x:0:\\nalice:x:1001:\\nwheel:x:10:bob,alice\\ndocker:x:20:alice\\nx:x:30:malice,alice2\\n' > root/etc/group");
	as("alice", "1000:1001:1001,10,20:/home/alice");
	as("alice:wheel", "1000:10:10:/home/alice");
	as("alice:77", "1000:77:77:/home/alice");
	as("1000", "1000:1001:1001,10,20:/home/alice");
	as("1000:1001", "1000:1001:1001:/home/alice");
	as("4242", "4242:0:0:/");
	as("4242:20", "4242:20:20:/");
	as("123", "123:0:0:/"); // a number is a uid, also where it is a name
	as("nohome", "7:8:8:/");
	as(":wheel", "0:10:10:/root");
	as("alice:", "1000:1001:1001,10,20:/home/alice");
	as("0", "0:0:0:/root");
	as("bob", "invalid: unable to find user bob: no matching entries in passwd file");
	as("alice:none", "invalid: unable to find group none: no matching entries in group file");
	as("2147483648", "invalid: user 2147483648: uids and gids must be in range 0-2147483647");
	as("99999999999999999999999", "invalid: user 99999999999999999999999: uids and gids must be in range 0-2147483647");
	as("1:4294967296", "invalid: group 4294967296: uids and gids must be in range 0-2147483647");
	as("2147483647", "2147483647:0:0:/");
	as("-1", "invalid: unable to find user -1: no matching entries in passwd file");
}

static void test_numbers_are_taken_as_they_are(void)
{
	EXPECT_TEXT(resolve("null"), "0:0::/root");
	EXPECT_TEXT(resolve("{}"), "0:0::/root");
	EXPECT_TEXT(resolve("{'uid':1000,'gid':5,'additionalGids':[1,2,1]}"), "1000:5:1,2:/home/alice");
	EXPECT_TEXT(resolve("{'uid':99}"), "99:0::/");
	EXPECT_TEXT(resolve("{'uid':-1}"), "invalid: process.user.uid must be a number in range 0-2147483647");
	EXPECT_TEXT(resolve("{'gid':4294967295}"), "invalid: process.user.gid must be a number in range 0-2147483647");
	EXPECT_TEXT(resolve("{'uid':'0'}"), "invalid: process.user.uid must be a number in range 0-2147483647");
	EXPECT_TEXT(resolve("{'additionalGids':[-5]}"),
		    "invalid: process.user.additionalGids must be numbers in range 0-2147483647");
	EXPECT_TEXT(resolve("[]"), "invalid: process.user must be an object");
}

static void test_additional_groups_may_be_names(void)
{
	EXPECT_TEXT(resolve("{'username':'alice','additionalGids':['docker','99',7]}"),
		    "1000:1001:1001,10,20,99,7:/home/alice");
	EXPECT_TEXT(resolve("{'username':'4242','additionalGids':['wheel']}"), "4242:0:0,10:/");
	EXPECT_TEXT(resolve("{'additionalGids':['none']}"),
		    "invalid: unable to find group none: no matching entries in group file");
}

static void test_hostile_lines_are_skipped(void)
{
	shell("printf 'evil\\nevil:x\\nevil:x:\\nevil:x:-1:0:::\\nevil:x:abc:0:::\\nevil:x:0x0:0:::\\n"
	      "evil:x:4294967296:0:::\\nevil:x:99999999999:0:::\\nevil:x:5:abc:::\\nev\\000il:x:0:0:::\\n:x:0:0:::\\n\\n::::::\\n"
	      "good:x:6:6:::::extra:fields\\nlast:x:9:9::/last:/bin/sh' > root/etc/passwd");
	as("evil", "invalid: unable to find user evil: no matching entries in passwd file");
	as("good", "6:6:6:/");
	as("last", "9:9:9:/last");
	as("0", "0:0:0:/");
}

static void test_only_a_mebibyte_is_read_and_a_cut_line_dropped(void)
{
	shell("{ head -c 1048570 /dev/zero | tr '\\0' a; printf '\\nx:x:12345:1:::\\n'; } > root/etc/passwd");
	as("x", "invalid: unable to find user x: no matching entries in passwd file");
	shell("{ printf 'x:x:12:1:::\\n'; head -c 3000000 /dev/zero | tr '\\0' :; } > root/etc/passwd");
	as("x", "12:1:1:/");
}

// Nothing here may block: an alarm ends the test.
static void test_what_is_no_regular_file_is_no_database(void)
{
	static const char *const makes[] = {
		"mkfifo root/etc/passwd",
		"mkdir root/etc/passwd",
		"ln -s passwd root/etc/passwd",
		"ln -s /etc/other root/etc/passwd; ln -s /etc/passwd root/etc/other",
		"ln -s /proc/self/fd/0 root/etc/passwd",
		"ln -s ../../../../../../../../../etc/passwd root/etc/passwd",
		"mknod root/etc/passwd c 1 5",
		"mknod root/etc/passwd c 5 0",
		"python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"root/etc/passwd\")'",
		"rm -rf root/etc; ln -s etc root/etc",
	};
	(void)alarm(20);
	for (size_t i = 0; i < sizeof makes / sizeof makes[0]; i++) {
		shell("rm -rf root/etc/passwd; %s", makes[i]);
		as("root", "invalid: unable to find user root: no matching entries in passwd file");
		as("5", "5:0:0:/");
	}
	(void)alarm(0);
	shell("rm -rf root/etc; mkdir root/etc");
}

static void test_a_symlink_inside_the_root_is_followed(void)
{
	shell("mkdir root/data; printf 'u:x:3:4::/u:\\n' > root/data/passwd; ln -s /data/passwd root/etc/passwd");
	as("u", "3:4:4:/u");
}

static void test_more_groups_than_the_kernel_is_given_are_refused(void)
{
	shell("i=0; while [ $i -lt 1100 ]; do echo \"g$i:x:$((i+10)):u\"; i=$((i+1)); done > root/etc/group");
	as("u", "invalid: more than 1024 groups");
}

static void test_a_home_that_is_too_long_is_left_out(void)
{
	shell("{ printf 'h:x:3:4::/'; head -c 5000 /dev/zero | tr '\\0' h; printf ':\\n'; } > root/data/passwd");
	as("h", "3:4:4:/");
}

int main(void)
{
	scratch_make();
	shell("mkdir -p root/etc");
	root = open_scratch("root");
	RUN(test_names_are_resolved_as_docker_resolves_them);
	RUN(test_numbers_are_taken_as_they_are);
	RUN(test_additional_groups_may_be_names);
	RUN(test_hostile_lines_are_skipped);
	RUN(test_only_a_mebibyte_is_read_and_a_cut_line_dropped);
	RUN(test_what_is_no_regular_file_is_no_database);
	RUN(test_a_symlink_inside_the_root_is_followed);
	RUN(test_more_groups_than_the_kernel_is_given_are_refused);
	RUN(test_a_home_that_is_too_long_is_left_out);
	close(root);
	scratch_remove();
	return expect_failures != 0;
}
