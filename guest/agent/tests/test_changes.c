// SPDX-License-Identifier: Apache-2.0
// What an overlay's upper directory says against a lower one, with whiteouts and opaque directories made by hand.
#include "../changes.h"

#include <limits.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "layers.h"

static int find(bool with_upper, bool with_lower)
{
	return write_layers(changes_write, "found", with_upper, with_lower);
}

// The records, separated by blanks.
static void are(const char *wanted)
{
	if (!EXPECT(find(true, true) == 0))
		(void)fprintf(stderr, "%s\n", failure.message);
	EXPECT_TEXT(answer_of("tr '\\0' ' ' < found"), wanted);
}

static void test_added_modified_and_deleted_paths_are_told_behind_their_directories(void)
{
	begin("mkdir -p a/b/c z; echo 1 > a/b/old; echo 1 > a/gone; echo 1 > z/same");
	shell("mkdir -p upper/a/b/new/deep upper/z; chmod 755 upper/a upper/a/b upper/z; echo 22 > upper/a/b/old;"
	      "mknod upper/a/gone c 0 0; touch upper/a/b/new/deep/f; cp -p lower/z/same upper/z/same; touch upper/top");
	are("C/a C/a/b A/a/b/new A/a/b/new/deep A/a/b/new/deep/f C/a/b/old D/a/gone A/top ");
}

static void test_what_was_only_copied_up_is_no_change(void)
{
	begin("mkdir -p d/e; echo 1 > d/e/f; ln -s f d/e/l; mknod d/n c 1 3; mkfifo d/p");
	shell("cp -a lower/d upper/; touch upper/d upper/d/e");
	are("");
}

static void test_every_attribute_of_a_file_counts_and_of_a_directory_only_mode_and_owner(void)
{
	static const char *const changes[] = {
		"chmod 600 upper/d/f",		  "chown 5 upper/d/f",	 "chgrp 5 upper/d/f",
		"touch -d 2001-01-01 upper/d/f",  "ln -sf xx upper/d/f", "rm upper/d/f; mknod upper/d/f c 1 5",
		"touch -d @1.5 upper/d/f; touch -d @1.25 lower/d/f",
	};
	// cap_net_raw+ep, version 2
	static const unsigned char capability[20] = {1, 0, 0, 2, 0, 0x20};
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
		begin("mkdir d; echo 1 > d/f");
		shell("cp -a lower/d upper/; %s", changes[i]);
		are("C/d C/d/f ");
	}
	// Half of the tools know no fractions.
	shell("rm -rf upper/d; cp -a lower/d upper/; touch -d @7 upper/d/f; touch -d @7.5 lower/d/f");
	are("");
	(void)snprintf(path, sizeof path, "%s/upper/d/f", scratch);
	EXPECT(setxattr(path, "security.capability", capability, sizeof capability, 0) == 0);
	are("C/d C/d/f ");
	(void)snprintf(path, sizeof path, "%s/lower/d/f", scratch);
	EXPECT(setxattr(path, "security.capability", capability, sizeof capability, 0) == 0);
	are("");
	shell("chmod 700 upper/d");
	are("C/d ");
}

static void test_a_directory_made_anew_hides_what_it_had(void)
{
	begin("mkdir -p d/kept/below d/gone/deep; touch d/f d/kept/x d/kept/below/y");
	shell("mkdir -p upper/d/kept/below upper/d/new; cp -p lower/d/f upper/d/");
	make_opaque("d");
	// The top of what is gone, and no more; that nothing shines through holds for the directories in it as well.
	are("C/d C/d/kept C/d/kept/below D/d/kept/below/y D/d/kept/x A/d/new D/d/gone ");
}

static void test_types_that_change_take_their_content_along(void)
{
	begin("mkdir -p d/e; touch d/e/f g");
	shell("touch upper/d; mkdir upper/g; touch upper/g/new");
	are("C/d C/g A/g/new ");
}

static void test_a_whiteout_of_nothing_is_no_change(void)
{
	begin("mkdir d");
	shell("mkdir upper/d; mknod upper/d/never c 0 0; mknod upper/neither c 0 0");
	are("");
}

static void test_what_is_made_to_mount_upon_is_no_change_where_the_image_lacks_it(void)
{
	begin("true");
	shell("mkdir -p upper/dev/pts upper/dev/shm upper/etc upper/proc upper/sys;"
	      "touch upper/dev/console upper/etc/hosts upper/etc/hostname upper/etc/resolv.conf");
	are("");
	shell("touch upper/etc/mine upper/sys/x; mkdir -p upper/run/etc; touch upper/run/etc/hosts; echo 1 > upper/etc/hosts");
	are("C/etc A/etc/hosts A/etc/mine A/run A/run/etc A/run/etc/hosts C/sys A/sys/x ");
	begin("mkdir etc; echo 1 > etc/hosts");
	shell("mkdir -p upper/etc; mknod upper/etc/hosts c 0 0");
	are("C/etc D/etc/hosts ");
}

static void test_names_of_any_bytes_are_told_as_they_are(void)
{
	begin("true");
	shell("cd upper; touch -- \"$(printf 'new\\nline')\" \"$(printf 'in\\377valid')\" '-rf' ' ' \"$(printf '\\001')\"");
	EXPECT(find(true, true) == 0);
	EXPECT_TEXT(answer_of("od -An -c found | tr -d ' \\n'"),
		    "A/001\\0A/\\0A/-rf\\0A/in377valid\\0A/new\\nline\\0");
}

static void test_symlinks_are_never_followed(void)
{
	begin("ln -s /etc l; mkdir d; touch d/f");
	shell("ln -s /usr upper/u; mkdir upper/l; touch upper/l/passwd; ln -s /etc upper/d");
	are("C/d C/l A/l/passwd A/u ");
}

static void test_a_root_without_layers_has_no_changes_or_only_additions(void)
{
	begin("touch f");
	shell("mkdir upper/d; touch upper/d/g");
	EXPECT(find(false, true) == 0);
	EXPECT_TEXT(answer_of("cat found"), "");
	EXPECT(find(true, false) == 0);
	EXPECT_TEXT(answer_of("tr '\\0' ' ' < found"), "A/d A/d/g ");
}

static void test_deep_trees_are_told_and_deeper_ones_refused(void)
{
	begin("true");
	shell("cd upper; for i in $(seq 50); do mkdir -p 1/1/1/1/1/1; cd -P 1/1/1/1/1/1; done");
	EXPECT(find(true, true) == 0);
	EXPECT_TEXT(answer_of("tr -cd '\\0' < found | wc -c"), "300");
	shell("cd upper; for i in $(seq 200); do mkdir -p 1/1/1/1/1/1; cd -P 1/1/1/1/1/1; done");
	EXPECT(find(true, true) == -1);
	EXPECT_TEXT(failure.code, "invalid");
	shell("rm -rf upper");
}

static void test_a_path_that_is_too_long_is_refused(void)
{
	begin("true");
	shell("cd upper; n=$(printf 'n%%.0s' $(seq 250)); for i in $(seq 20); do mkdir $n; cd -P $n; done");
	EXPECT(find(true, true) == -1);
	EXPECT_TEXT(failure.code, "invalid");
}

static void test_a_thousand_changes_come_through(void)
{
	begin("mkdir d; cd d; touch $(seq -w 0 9999)");
	shell("mkdir upper/d; cd upper/d; touch $(seq -w 10000 14999); for i in $(seq -w 0 99); do mknod 00$i c 0 0; done");
	EXPECT(find(true, true) == 0);
	EXPECT_TEXT(answer_of("tr '\\0' '\\n' < found | cut -c1 | sort | uniq -c | tr -d ' ' | tr '\\n' ' '"), "5000A 1C 100D ");
}

static void test_a_reader_that_has_gone_ends_it(void)
{
	int fds[2], upper;

	begin("true");
	shell("touch upper/f");
	upper = open_scratch("upper");
	EXPECT(pipe(fds) == 0);
	close(fds[0]);
	EXPECT(changes_write(upper, -1, fds[1], &failure) == -1);
	close(fds[1]);
	close(upper);
}

int main(void)
{
	struct rlimit limit;

	(void)signal(SIGPIPE, SIG_IGN);
	EXPECT(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = limit.rlim_max; // as the agent has it
	EXPECT(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	scratch_make();
	RUN(test_added_modified_and_deleted_paths_are_told_behind_their_directories);
	RUN(test_what_was_only_copied_up_is_no_change);
	RUN(test_every_attribute_of_a_file_counts_and_of_a_directory_only_mode_and_owner);
	RUN(test_a_directory_made_anew_hides_what_it_had);
	RUN(test_types_that_change_take_their_content_along);
	RUN(test_a_whiteout_of_nothing_is_no_change);
	RUN(test_what_is_made_to_mount_upon_is_no_change_where_the_image_lacks_it);
	RUN(test_names_of_any_bytes_are_told_as_they_are);
	RUN(test_symlinks_are_never_followed);
	RUN(test_a_root_without_layers_has_no_changes_or_only_additions);
	RUN(test_deep_trees_are_told_and_deeper_ones_refused);
	RUN(test_a_path_that_is_too_long_is_refused);
	RUN(test_a_thousand_changes_come_through);
	RUN(test_a_reader_that_has_gone_ends_it);
	scratch_remove();
	return expect_failures != 0;
}
