// SPDX-License-Identifier: Apache-2.0
#include "../path.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include "expect.h"
#include "scratch.h"

static int root;

static bool opens(const char *path)
{
	int fd = path_open(root, path, O_PATH, 0);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static void test_symlinks_never_lead_out(void)
{
	shell("mkdir -p root/etc outside; echo secret > outside/secret; ln -s %s/outside root/absolute; "
	      "ln -s ../../../../../../../../..%s/outside root/relative; ln -s / root/slash; ln -s /proc/self/root root/magic",
	      scratch, scratch);
	EXPECT(!opens("/absolute/secret"));
	EXPECT(!opens("/relative/secret"));
	EXPECT(!opens("../outside/secret"));
	EXPECT(opens("/slash/etc"));
	EXPECT(!opens("/slash/outside"));
	EXPECT(opens("/../../../etc"));
	EXPECT(opens(""));
}

static void test_magic_links_are_refused(void)
{
	int top = open("/", O_PATH | O_CLOEXEC);

	EXPECT(path_open(top, "/proc/self/root", O_PATH, 0) < 0 && errno == ELOOP);
	EXPECT(path_open(top, "/proc/self/exe", O_RDONLY, 0) < 0 && errno == ELOOP);
	close(top);
}

static void clean(const char *path, const char *wanted)
{
	char out[PATH_MAX];

	EXPECT(path_clean(path, out, sizeof out) == 0);
	EXPECT_TEXT(out, wanted);
}

static void test_paths_are_cleaned_as_text(void)
{
	clean("", "/");
	clean("/", "/");
	clean("..", "/");
	clean("a", "/a");
	clean("//a///b/./c/../d/", "/a/b/d");
	clean("/../../a/..", "/");
	clean("...", "/...");
	char out[8];
	EXPECT(path_clean("/aaaaaaa", out, sizeof out) == -1 && errno == ENAMETOOLONG);
	EXPECT(path_clean("/aaaaaa", out, sizeof out) == 0);
}

static void canonical(const char *path, const char *wanted)
{
	char out[PATH_MAX];

	EXPECT(path_canonical(root, path, out, sizeof out) == 0);
	EXPECT_TEXT(out, wanted);
}

static void test_canonical_paths_follow_symlinks_within_the_root(void)
{
	shell("mkdir -p root/usr/lib root/a/b; ln -s usr/lib root/lib; ln -s /a root/usr/lib/up; ln -s ../../.. root/a/b/out;"
	      "ln -s /nowhere/x root/dangling; ln -s loop root/loop");
	char out[PATH_MAX];
	canonical("/", "/");
	canonical("/lib/up/b/../c", "/a/c");
	canonical("/a/b/out/a", "/a");
	canonical("/dangling/y", "/nowhere/x/y");
	canonical("/not/there", "/not/there");
	EXPECT(path_canonical(root, "/loop", out, sizeof out) == -1 && errno == ELOOP);
}

static void create(const char *path, bool directory, int error)
{
	int fd = path_create(root, path, directory);

	if (error != 0)
		EXPECT(fd == -1 && errno == error);
	else if (EXPECT(fd >= 0))
		close(fd);
}

static void test_what_is_missing_is_made_inside(void)
{
	shell("ln -s %s/elsewhere root/trap; ln -s ../../../../etc/hypercell-test root/trap2; echo x > root/file", scratch);
	create("/new/deep/dir", true, 0);
	create("/new/deep/file", false, 0);
	create("/trap/dir", true, 0);
	create("/trap2/dir", true, 0);
	create("/dangling", true, 0);
	create("/file/x", false, ENOTDIR);
	create("/file", true, ENOTDIR);
	create("/file", false, 0);
	create("/loop/x", true, ELOOP);
	EXPECT_TEXT(answer_of("cd root; stat -c '%%F %%a' new/deep/dir new/deep/file nowhere/x etc/hypercell-test/dir; "
			      "ls -d ../elsewhere /etc/hypercell-test 2>/dev/null"),
		    "directory 755\nregular empty file 644\ndirectory 755\ndirectory 755");
}

static void test_files_of_the_kernel_are_read_and_written_whole(void)
{
	char out[8];

	shell("printf 0123456789 > root/long; printf '' > root/empty");
	EXPECT(path_read(root, "long", out, sizeof out) == 7);
	EXPECT_TEXT(out, "0123456");
	EXPECT(path_read(root, "empty", out, sizeof out) == 0);
	EXPECT(path_read(root, "missing", out, sizeof out) == -1 && errno == ENOENT);
	EXPECT_TEXT(out, "");
	EXPECT(path_write(root, "missing", "x") == -1 && errno == ENOENT);
	EXPECT(path_write(root, "empty", "x") == 0);
	EXPECT(path_read(root, "empty", out, sizeof out) == 1);
}

int main(void)
{
	scratch_make();
	shell("mkdir root");
	root = open_scratch("root");
	(void)umask(0);
	RUN(test_symlinks_never_lead_out);
	RUN(test_magic_links_are_refused);
	RUN(test_paths_are_cleaned_as_text);
	RUN(test_canonical_paths_follow_symlinks_within_the_root);
	RUN(test_what_is_missing_is_made_inside);
	RUN(test_files_of_the_kernel_are_read_and_written_whole);
	close(root);
	scratch_remove();
	return expect_failures != 0;
}
