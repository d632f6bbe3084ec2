// SPDX-License-Identifier: Apache-2.0
// An overlay's upper directory as a layer of an image, with whiteouts and opaque directories made by hand.
#include "../layer.h"

#include <limits.h>
#include <signal.h>
#include <sys/stat.h>

#include "layers.h"

static int make(bool with_upper, bool with_lower)
{
	return write_layers(layer_write, "layer", with_upper, with_lower);
}

// The names of its members, each behind a blank.
static void has(const char *wanted)
{
	if (!EXPECT(make(true, true) == 0))
		(void)fprintf(stderr, "%s\n", failure.message);
	EXPECT_TEXT(answer_of("tar -tf layer | tr '\\n' ' '"), wanted);
}

static void test_what_is_new_comes_behind_its_directories_and_what_is_gone_as_a_whiteout(void)
{
	begin("mkdir -p a/b z; echo 1 > a/b/old; echo 1 > a/gone; echo 1 > top");
	shell("mkdir -p upper/a/b/new upper/z; chmod 755 upper/a upper/a/b upper/z; echo 22 > upper/a/b/old;"
	      "mknod upper/a/gone c 0 0; touch upper/a/b/new/f; mknod upper/top c 0 0; mknod upper/never c 0 0");
	has("a/ a/b/ a/b/new/ a/b/new/f a/b/old a/.wh.gone .wh.top ");
}

static void test_a_file_is_in_it_even_if_it_looks_as_before(void)
{
	begin("mkdir d; echo 1 > d/f");
	shell("cp -a lower/d upper/; echo 2 > upper/d/f; touch -r lower/d/f upper/d/f");
	has("d/ d/f ");
	EXPECT_TEXT(answer_of("tar -xOf layer d/f"), "2");
}

static void test_a_directory_made_anew_hides_what_it_had_by_one_mark(void)
{
	begin("mkdir -p d/kept/below d/gone; touch d/kept/x");
	shell("mkdir -p upper/d/kept/below upper/d/new; chmod 755 upper/d upper/d/kept upper/d/kept/below");
	make_opaque("d");
	make_opaque("d/new");
	has("d/ d/.wh..wh..opq d/kept/ d/kept/below/ d/new/ ");
	// Where there was none, nothing need be hidden.
	begin("touch d");
	shell("mkdir upper/d upper/e");
	make_opaque("d");
	make_opaque("e");
	has("d/ e/ ");
}

static void test_types_owners_modes_and_attributes_are_kept(void)
{
	char name[PATH_MAX];

	begin("true");
	shell("cd upper; echo x > f; ln f same; chown 5:6 f; chmod 4750 f; ln -s /nowhere l; mkfifo p; mknod n c 1 3;"
	      "mkdir -m 1777 d; touch -d @7 d f");
	(void)snprintf(name, sizeof name, "%s/upper/f", scratch);
	EXPECT(setxattr(name, "user.mine", "1", 1, 0) == 0);
	EXPECT(setxattr(name, "trusted.overlay.origin", "1", 1, 0) == 0);
	EXPECT(make(true, true) == 0);
	EXPECT_TEXT(answer_of("tar --numeric-owner -tvf layer | awk '{print $1, $2, $3, $NF}' | tail -n +3"),
		    "lrwxrwxrwx 0/0 0 /nowhere\ncrw-r--r-- 0/0 1,3 n\nprw-r--r-- 0/0 0 p\nhrwsr-x--- 5/6 0 f");
	EXPECT_TEXT(answer_of("tar --numeric-owner -tvf layer d f | awk '{print $1, $2, $3, $NF}'"),
		    "drwxrwxrwt 0/0 0 d/\n-rwsr-x--- 5/6 2 f");
	EXPECT_TEXT(answer_of("grep -ac 'SCHILY.xattr.user.mine=1' layer; grep -ac 'trusted.overlay' layer"), "1\n0");
}

static void test_nothing_changed_is_the_tar_of_nothing(void)
{
	begin("mkdir etc");
	shell("mkdir -p upper/dev upper/proc upper/etc; chmod 755 upper/etc; touch upper/etc/hosts");
	has("");
	EXPECT_TEXT(answer_of("sha256sum < layer | cut -c1-12"), "5f70bf18a086");
	EXPECT(make(false, true) == 0);
	EXPECT_TEXT(answer_of("sha256sum < layer | cut -c1-12"), "5f70bf18a086");
}

static void test_a_name_that_would_hide_something_is_refused(void)
{
	begin("touch f");
	shell("mkdir upper/d; touch upper/d/.wh.f");
	EXPECT(make(true, true) == -1);
	EXPECT_TEXT(failure.code, "invalid");
}

static void test_a_whiteout_whose_name_is_too_long_is_refused(void)
{
	begin("n=$(printf 'n%.0s' $(seq 250)); for i in $(seq 16); do mkdir $n; cd -P $n; done; touch $(printf 'x%.0s' $(seq 76))");
	shell("cd upper; n=$(printf 'n%%.0s' $(seq 250)); for i in $(seq 16); do mkdir $n; cd -P $n; done;"
	      "mknod $(printf 'x%%.0s' $(seq 76)) c 0 0");
	EXPECT(make(true, true) == -1);
	EXPECT_TEXT(failure.code, "invalid");
}

static void test_a_reader_that_has_gone_ends_it(void)
{
	int fds[2], upper;

	begin("true");
	shell("touch upper/f");
	upper = open_scratch("upper");
	EXPECT(pipe(fds) == 0);
	close(fds[0]);
	EXPECT(layer_write(upper, -1, fds[1], &failure) == -1);
	close(fds[1]);
	close(upper);
}

int main(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	scratch_make();
	RUN(test_what_is_new_comes_behind_its_directories_and_what_is_gone_as_a_whiteout);
	RUN(test_a_file_is_in_it_even_if_it_looks_as_before);
	RUN(test_a_directory_made_anew_hides_what_it_had_by_one_mark);
	RUN(test_types_owners_modes_and_attributes_are_kept);
	RUN(test_nothing_changed_is_the_tar_of_nothing);
	RUN(test_a_name_that_would_hide_something_is_refused);
	RUN(test_a_whiteout_whose_name_is_too_long_is_refused);
	RUN(test_a_reader_that_has_gone_ends_it);
	scratch_remove();
	return expect_failures != 0;
}
