// SPDX-License-Identifier: Apache-2.0
// Against GNU tar and bsdtar, and against archives that no tar writes.
#include "../archive.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "../tar.h"
#include "expect.h"
#include "scratch.h"

static int root;

static struct failure failure;

static int get(const char *path, const char *file)
{
	char name[PATH_MAX];

	(void)snprintf(name, sizeof name, "%s/%s", scratch, file);
	int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	failure = (struct failure){0};
	int result = archive_get(root, path, fd, &failure);
	close(fd);
	return result;
}

static int put_with(const char *path, const char *file, const struct archive_put *how)
{
	int fd = open_scratch(file);

	failure = (struct failure){0};
	int result = archive_put(root, path, fd, how, &failure);
	EXPECT(result != 0 || lseek(fd, 0, SEEK_CUR) == lseek(fd, 0, SEEK_END)); // read to its end
	close(fd);
	return result;
}

static int put(const char *path, const char *file)
{
	static const struct archive_put plain;

	return put_with(path, file, &plain);
}

// Everything about a tree but its times, in a form to be compared.
#define DESCRIBE                                                                                          \
	"{ find . -mindepth 1 \\( -type d -printf '%%P %%y %%m %%U %%G %%T@\\n' -o -printf '%%P %%y %%m %%U %%G " \
	"%%s %%T@ %%l %%n\\n' \\) ; find . -type f -exec sha256sum {} +; find . \\( -type b -o -type c \\) -exec stat -c "  \
	"'%%n %%t %%T' {} +; } | sort"

static void make_tree(void)
{
	char path[PATH_MAX];

	shell("mkdir -p root/t/dir/sub root/t/empty; cd root/t; echo hello > file; : > zero; head -c 1000000 /dev/urandom > big;"
	      "ln file dir/hard; ln -s ../file dir/link; ln -s /absolute/%%s link; mkfifo fifo; mknod null c 1 3; mknod disk b 8 17;"
	      "chmod 4755 file; chmod 1777 dir; chmod 0 zero; chown 1000:2000 zero; chown 3000000:4000000000 big;"
	      "chown -h 7:8 link; n=$(printf 'n%%.0s' $(seq 200)); mkdir -p $n/$n; echo long > $n/$n/$n; ln $n/$n/$n $n/hard;"
	      "ln -s $n/$n/$n longlink; printf x > $(printf 'new\\nline'); printf y > ümläut; printf z > $(printf 'in\\377valid');"
	      "printf 12345678901234567890 > exact; head -c 512 /dev/zero > block; touch -d '1960-01-01 00:00:00' old;"
	      "touch -d '2300-01-01' future; touch -d '2001-02-03 04:05:06.123456789' dir");
	(void)snprintf(path, sizeof path, "%s/root/t/file", scratch);
	EXPECT(setxattr(path, "user.hello", "w\0rld\n", 6, 0) == 0 || errno == ENOTSUP);
	EXPECT(setxattr(path, "trusted.overlay.opaque", "y", 1, 0) == 0 || errno == ENOTSUP || errno == EPERM);
	// cap_net_raw+ep, version 2
	static const unsigned char capability[20] = {1, 0, 0, 2, 0, 0x20};
	EXPECT(setxattr(path, "security.capability", capability, sizeof capability, 0) == 0);
}

static void test_what_goes_out_is_read_alike_by_other_tars(void)
{
	static char wanted[65536];

	EXPECT(get("/t/.", "out.tar") == 0);
	(void)strcpy(wanted, answer_of("cd root/t; " DESCRIBE));
	EXPECT(strlen(wanted) > 3000);
	shell("mkdir gnu bsd; tar -C gnu --xattrs --xattrs-include='*' -xpf out.tar; bsdtar -C bsd --same-owner -xpf out.tar");
	EXPECT_TEXT(answer_of("cd gnu; " DESCRIBE), wanted);
	EXPECT_TEXT(answer_of("cd bsd; " DESCRIBE), wanted);
	char path[PATH_MAX], value[64];
	(void)snprintf(path, sizeof path, "%s/gnu/file", scratch);
	EXPECT(getxattr(path, "security.capability", value, sizeof value) == 20);
	EXPECT(getxattr(path, "trusted.overlay.opaque", value, sizeof value) < 0);
	shell("rm -rf gnu bsd");
}

static void test_a_tree_comes_back_as_it_went(void)
{
	static char wanted[65536];
	char path[PATH_MAX], value[64];

	EXPECT(get("/t/.", "out.tar") == 0);
	shell("mkdir root/back");
	EXPECT(put("/back", "out.tar") == 0);
	(void)strcpy(wanted, answer_of("cd root/t; " DESCRIBE));
	EXPECT_TEXT(answer_of("cd root/back; " DESCRIBE), wanted);
	(void)snprintf(path, sizeof path, "%s/root/back/file", scratch);
	EXPECT(getxattr(path, "security.capability", value, sizeof value) == 20);
	// Again over itself: everything is replaced, nothing is added.
	EXPECT(put("/back", "out.tar") == 0);
	EXPECT_TEXT(answer_of("cd root/back; " DESCRIBE), wanted);
	shell("rm -rf root/back");
}

// GNU tar reads them as we do; bsdtar does not.
static void test_fractions_of_times_before_1970_are_kept(void)
{
	shell("mkdir -p root/o root/back; touch -d @-0.25 root/o/a; touch -d @-1000.999999999 root/o/b; touch -d @-7 root/o/c");
	EXPECT(get("/o/.", "out.tar") == 0 && put("/back", "out.tar") == 0);
	EXPECT_TEXT(answer_of("cd root/back; stat -c %%.9Y a b c"), "-0.250000000\n-1000.999999999\n-7.000000000");
	shell("mkdir gnu; tar -C gnu -xpf out.tar 2>&1");
	EXPECT_TEXT(answer_of("cd gnu; stat -c %%.9Y a b c"), "-0.250000000\n-1000.999999999\n-7.000000000");
	shell("rm -rf gnu root/o root/back");
}

static void test_archives_of_other_tars_are_unpacked_as_they_unpack_them(void)
{
	static const struct {
		const char *command, *without;
	} tars[] = {
		{"tar --format=gnu -cf in.tar -C root/t .", "old"},
		{"tar --format=posix -cf in.tar -C root/t .", "-"},
		{"tar --format=posix --xattrs --xattrs-include='*' -cf in.tar -C root/t .", "-"},
		{"tar --format=ustar --exclude='n*' --exclude=longlink --exclude=big --exclude=old --exclude=future -cf in.tar -C root/t .", "-"},
		{"tar --format=v7 --exclude='n*' --exclude=longlink --exclude=big --exclude=old --exclude=future --exclude=fifo --exclude=disk "
		 "-cf in.tar -C root/t .",
		 "-"},
		{"bsdtar --format=pax -cf in.tar -C root/t .", "-"},
		{"bsdtar --format=gnutar --exclude=./old -cf in.tar -C root/t .", "-"},
		{"python3 -c 'import tarfile; t = tarfile.open(\"in.tar\", \"w\", format=tarfile.PAX_FORMAT); t.add(\"root/t\", \".\")'",
		 "-"},
		{"python3 -c 'import tarfile; t = tarfile.open(\"in.tar\", \"w\", format=tarfile.GNU_FORMAT); "
		 "t.add(\"root/t\", \".\", filter=lambda m: None if m.name.endswith(\"old\") else m)'",
		 "-"},
	};
	static char wanted[65536];

	for (size_t i = 0; i < sizeof tars / sizeof tars[0]; i++) {
		shell("%s; mkdir gnu root/ours; tar -C gnu --delay-directory-restore -xpf in.tar", tars[i].command);
		(void)strcpy(wanted, answer_of("cd gnu; " DESCRIBE));
		if (!EXPECT(put("/ours", "in.tar") == 0))
			(void)fprintf(stderr, "%s: %s\n", tars[i].command, failure.message);
		EXPECT_TEXT(answer_of("cd root/ours; " DESCRIBE), wanted);
		shell("rm -rf gnu root/ours in.tar");
	}
}

static void names(const char *path, const char *wanted)
{
	EXPECT(get(path, "out.tar") == 0);
	EXPECT_TEXT(answer_of("tar --quoting-style=literal -tPf out.tar | head -4 | tr '\\n' ' '"), wanted);
}

static void test_names_begin_as_docker_wants_them(void)
{
	shell("mkdir -p root/n/etc; echo 1 > root/n/etc/a; ln -s etc root/n/e; ln -s n/etc/a root/toa; ln -s n root/ton");
	// Sorted, as docker has them.
	names("/n", "n/ n/e n/etc/ n/etc/a ");
	names("/n/", "n/ n/e n/etc/ n/etc/a ");
	names("/n/.", "./ ./e ./etc/ ./etc/a ");
	names("/n/etc/../etc", "etc/ etc/a ");
	names("/n/e", "e ");
	names("/n/e/", "e/ e/a ");
	names("/n/e/.", "./ ./a ");
	names("/ton/etc/a", "a ");
	names("/toa", "toa ");
	int top = root;
	root = open_scratch("root/n");
	names("/", "/ /e /etc/ /etc/a ");
	close(root);
	root = top;
}

static void stat_is(const char *path, const char *wanted)
{
	struct text json = {0};

	failure = (struct failure){0};
	if (archive_stat(root, path, &json, &failure) != 0)
		text_printf(&json, "%s", failure.code);
	EXPECT_TEXT(json.data, wanted);
	text_free(&json);
}

static void test_stat_tells_of_the_link_and_where_it_leads(void)
{
	shell("cd root; echo 123 > s; chmod 640 s; ln -s /n/../s tos; ln -s ../../../../s out; ln -s nothing dead; ln -s round round;"
	      "touch -h -d @1.5 s tos out dead round n; chmod 700 n");
	stat_is("/s", "{\"name\":\"s\",\"size\":4,\"mode\":33184,\"mtime_ns\":1500000000,\"link_target\":\"\"}");
	stat_is("/tos", "{\"name\":\"tos\",\"size\":7,\"mode\":41471,\"mtime_ns\":1500000000,\"link_target\":\"/s\"}");
	stat_is("/out", "{\"name\":\"out\",\"size\":13,\"mode\":41471,\"mtime_ns\":1500000000,\"link_target\":\"/s\"}");
	stat_is("/dead", "{\"name\":\"dead\",\"size\":7,\"mode\":41471,\"mtime_ns\":1500000000,\"link_target\":\"/nothing\"}");
	stat_is("/round", "{\"name\":\"round\",\"size\":5,\"mode\":41471,\"mtime_ns\":1500000000,\"link_target\":\"\"}");
	stat_is("/none", "not-found");
	stat_is("/s/", "invalid");
	stat_is("/s/x", "invalid");
	stat_is("/round/x", "invalid");
	EXPECT(get("/none", "out.tar") == -1);
	EXPECT_TEXT(failure.code, "not-found");
	EXPECT(put("/none", "out.tar") == -1);
	EXPECT_TEXT(failure.code, "not-found");
	EXPECT(put("/s", "out.tar") == -1);
	EXPECT_TEXT(failure.code, "invalid");
}

// Writes an archive of one member, after `before` (raw bytes), to in.tar.
static void craft(const char *name, int type, const char *link, const char *data)
{
	static struct tar_member m;
	static struct tar_writer w;
	unsigned char block[TAR_BLOCK];
	char path[PATH_MAX];

	(void)snprintf(path, sizeof path, "%s/in.tar", scratch);
	int fd = open(path, O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600);
	memset(&m, 0, sizeof m);
	(void)strcpy(m.name, name);
	(void)strcpy(m.link, link);
	m.type = (enum tar_type)type;
	m.mode = 0644;
	m.size = strlen(data);
	tar_encode(&m, block);
	tar_writer_init(&w, fd);
	EXPECT(tar_writer_data(&w, block, sizeof block, NULL) == 0 && tar_writer_data(&w, data, strlen(data), NULL) == 0 &&
	       tar_writer_pad(&w, m.size, NULL) == 0);
	EXPECT(write(fd, w.buffer, w.used) == (ssize_t)w.used);
	close(fd);
}

static void refused(const char *why)
{
	if (!EXPECT(put("/in", "in.tar") == -1))
		(void)fprintf(stderr, "taken: %s\n", why);
	EXPECT_TEXT(failure.code, "invalid");
	shell("rm -f in.tar");
}

static void test_members_cannot_leave_the_directory(void)
{
	static const char *const names[] = {"../x", "a/../../x", "a/./../../b", "/../x", "..", "./..", "a/b/../../.."};

	shell("mkdir -p root/in");
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		craft(names[i], '0', "", "evil");
		refused(names[i]);
	}
	craft("", '0', "", "");
	refused("no name");
	craft(".", '0', "", "x");
	refused("a file in place of the directory");
	craft("hard", '1', "../s", "");
	refused("a hard link to outside");
	craft("hard", '1', "..", "");
	refused("a hard link to a directory outside");
	craft("hard", '1', "missing", "");
	refused("a hard link to nothing");
	EXPECT_TEXT(answer_of("ls -A root/in; cat root/s"), "123");
}

static void test_symlinks_in_an_archive_end_in_the_root(void)
{
	shell("mkdir outside; mkdir -p root%s/outside", scratch);
	craft("escape", '2', scratch, "");
	craft("escape/outside/x", '0', "", "1");
	craft("up", '2', "../../../../../../../../..", "");
	craft("up/y", '0', "", "2");
	craft("etc", '2', "/nowhere", "");
	craft("etc/z", '0', "", "3");
	craft("/absolute", '0', "", "4");
	EXPECT(put("/in", "in.tar") == 0);
	EXPECT_TEXT(answer_of("ls outside; cat root%s/outside/x root/y root/nowhere/z root/in/absolute", scratch), "1234");
	EXPECT(access("/y", F_OK) != 0);
	shell("rm -rf in.tar root/in root/y root/nowhere root/tmp; mkdir root/in");
	// A hard link through a symlink stays inside as well; of a symlink, the link itself.
	craft("out", '2', scratch, "");
	craft("hard", '1', "out/outside", "");
	refused("a hard link through a symlink that leads out");
	craft("l", '2', "/s", "");
	craft("h", '1', "l", "");
	EXPECT(put("/in", "in.tar") == 0);
	EXPECT_TEXT(answer_of("readlink root/in/h"), "/s");
	shell("rm -rf in.tar root/in; mkdir root/in");
}

static void test_ambiguous_archives_are_refused(void)
{
	char large[1024];

	craft("x", 'x', "", "16 size=0000001\n");
	(void)snprintf(large, sizeof large, "%0700d", 1);
	craft("file", '0', "", large);
	refused("a size that makes the next header lie in the data");
	craft("x", 'x', "", "12 path=abc\n");
	craft("y", 'x', "", "12 path=abd\n");
	craft("file", '0', "", "");
	refused("two extended headers");
	craft("x", 'x', "", "12 path=abc\n");
	craft("L", 'L', "", "def");
	craft("file", '0', "", "");
	refused("pax and GNU long names");
	craft("L", 'L', "", "def");
	craft("L", 'L', "", "ghi");
	craft("file", '0', "", "");
	refused("two long names");
	craft("g", 'g', "", "12 path=abc\n");
	craft("file", '0', "", "");
	refused("a global name");
	craft("dir", '5', "", "data");
	refused("data behind a directory");
	craft("link", '1', "file", "data");
	refused("data behind a hard link");
	craft("x", 'x', "", "22 GNU.sparse.major=1\n");
	craft("file", '0', "", "");
	refused("sparse");
	craft("file", 'S', "", "");
	refused("old sparse");
	craft("file", 'M', "", "");
	refused("volumes");
	craft("x", 'x', "", "12 path=abc\n");
	refused("an extended header without a member");
}

static void test_malformed_records_are_refused(void)
{
	static const char *const records[] = {"12 path=ab",	"13 path=abc\n", "11 path=abc\n", "-12 path=abc\n", "012 path=abc\n",
					      "12path=abc\n",	"6 =abc\n",	 "9 pathab\n",	  "99999999999999999999999 path=a\n",
					      "0 path=abc\n",	"10 uid=-1\n",	 "18 size=-00000001\n", "11 size=1x\n",
					      "18 uid=4294967295\n", "16 mtime=12.3.4\n", "5 a=\nx"};

	for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
		craft("x", 'x', "", records[i]);
		craft("file", '0', "", "");
		refused(records[i]);
	}
	craft("x", 'x', "", "12 path=abc\n20 SCHILY.xattr.=a\n\n");
	craft("file", '0', "", "");
	refused("an xattr without a name");
}

static void test_a_global_comment_is_ignored(void)
{
	craft("g", 'g', "", "14 comment=ab\n");
	craft("file", '0', "", "1");
	EXPECT(put("/in", "in.tar") == 0);
	EXPECT_TEXT(answer_of("cat root/in/file; rm root/in/file in.tar"), "1");
}

static void test_an_empty_record_takes_a_value_back(void)
{
	craft("x", 'x', "", "12 path=abc\n8 path=\n");
	craft("file", '0', "", "1");
	EXPECT(put("/in", "in.tar") == 0);
	EXPECT_TEXT(answer_of("cat root/in/file; rm root/in/file in.tar"), "1");
}

static void test_broken_archives_are_refused_wherever_they_break(void)
{
	craft("a", '5', "", "");
	craft("a/b", '0', "", "some data");
	craft("x", 'x', "", "12 path=abc\n");
	craft("c", '0', "", "more");
	shell("head -c 1024 /dev/zero >> in.tar; mv in.tar whole.tar");
	// Between members, and after the first zero block, the end is taken as one.
	for (int n = 1; n < 3584; n += n < 3072 ? 37 : 64) {
		bool boundary = n == 512 || n == 1536;
		shell("head -c %d whole.tar > in.tar", n);
		if (!EXPECT((put("/in", "in.tar") == 0) == boundary))
			(void)fprintf(stderr, "cut after %d bytes: %s\n", n, failure.message);
	}
	shell("head -c 1536 whole.tar > in.tar; rm -rf root/in; mkdir root/in");
	EXPECT(put("/in", "in.tar") == 0);
	shell("cp whole.tar in.tar; printf X | dd of=in.tar bs=1 seek=3 conv=notrunc status=none");
	refused("a wrong checksum");
	shell("{ head -c 512 /dev/zero; cat whole.tar; } > in.tar");
	refused("a lone zero block");
	shell("head -c 100000 /dev/urandom > in.tar");
	refused("noise");
	shell(": > in.tar");
	EXPECT(put("/in", "in.tar") == 0);
	shell("rm -f in.tar");
}

static void test_a_size_beyond_all_bounds_ends_with_the_archive(void)
{
	craft("x", 'x', "", "28 size=9223372036854775807\n");
	craft("file", '0', "", "12345");
	refused("8 EiB");
	craft("x", 'x', "", "28 size=9223372036854775808\n");
	craft("file", '0', "", "12345");
	refused("more than 8 EiB");
	shell("rm -f root/in/file");
}

static void test_directories_are_merged_and_all_else_replaced(void)
{
	shell("cd root/in; mkdir -p d/keep f; echo old > file; ln -s /s l; echo x > d/x; mkdir -p f/full/of");
	craft("d", '5', "", "");
	craft("d/new", '0', "", "new");
	craft("file", '0', "", "replaced");
	craft("l", '0', "", "plain");
	craft("f", '0', "", "was a directory");
	EXPECT(put("/in", "in.tar") == 0);
	EXPECT_TEXT(answer_of("cd root/in; ls d | tr '\\n' ' '; cat file l f ../s"), "keep new x replacedplainwas a directory123");
	struct archive_put how = {.no_overwrite_dir_non_dir = true};
	EXPECT(put_with("/in", "in.tar", &how) == 0);
	shell("rm in.tar");
	craft("d", '0', "", "x");
	EXPECT(put_with("/in", "in.tar", &how) == -1);
	EXPECT_TEXT(failure.message, "cannot overwrite directory \"d\" with non-directory");
	shell("rm in.tar");
	craft("file", '5', "", "");
	EXPECT(put_with("/in", "in.tar", &how) == -1);
	EXPECT_TEXT(failure.message, "cannot overwrite non-directory \"file\" with directory");
	shell("rm -rf in.tar root/in; mkdir root/in");
}

static void test_copies_can_be_given_to_a_user(void)
{
	struct archive_put how = {.chown = true, .uid = 12, .gid = 34};

	craft("d/f", '0', "", "x");
	craft("d/l", '2', "f", "");
	EXPECT(put_with("/in", "in.tar", &how) == 0);
	EXPECT_TEXT(answer_of("cd root/in/d; stat -c '%%u:%%g' f l; stat -c %%u ."), "12:34\n12:34\n0");
	shell("rm -rf in.tar root/in/d");
}

static void test_a_file_that_is_mounted_gets_the_content(void)
{
	shell("echo old > hosts; : > root/in/hosts; mount --bind hosts root/in/hosts");
	craft("hosts", '0', "", "new");
	EXPECT(put("/in", "in.tar") == 0);
	shell("umount root/in/hosts");
	EXPECT_TEXT(answer_of("cat hosts; cat root/in/hosts"), "new");
	shell("rm -rf in.tar root/in/hosts hosts");
}

static void test_a_read_only_root_says_so(void)
{
	shell("mount --bind root/in root/in; mount -o remount,ro,bind root/in");
	craft("f", '0', "", "x");
	EXPECT(put("/in", "in.tar") == -1);
	EXPECT_TEXT(failure.code, "invalid");
	EXPECT(strstr(failure.message, "Read-only file system") != NULL);
	shell("umount root/in; rm in.tar");
}

static void test_kernel_file_systems_are_not_copied(void)
{
	shell("mkdir -p root/k/proc root/k/mnt; mount -t proc proc root/k/proc; mount -t tmpfs t root/k/mnt; echo 1 > root/k/mnt/f");
	names("/k", "k/ k/mnt/ k/mnt/f k/proc/ ");
	names("/k/proc/version", "version ");
	shell("umount root/k/proc root/k/mnt; rm -rf root/k");
}

static void test_trees_are_walked_to_a_bound(void)
{
	shell("cd root; mkdir deep; cd deep; for i in $(seq 100); do mkdir -p 1/1/1/1/1/1; cd -P 1/1/1/1/1/1; done");
	EXPECT(get("/deep", "out.tar") == -1);
	EXPECT_TEXT(failure.code, "invalid");
	craft("deep", '0', "", "in place of a deep tree");
	EXPECT(put("/", "in.tar") == -1);
	EXPECT_TEXT(failure.code, "invalid");
	shell("rm -rf in.tar root/deep");
}

static void test_sockets_are_left_out(void)
{
	shell("mkdir root/so; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"root/so/s\")'");
	names("/so", "so/ ");
	names("/so/s", "");
}

static void test_an_export_has_the_whole_root_without_naming_it(void)
{
	char path[PATH_MAX];

	shell("mkdir -p x/d/empty; cd x; echo 1 > d/a; ln d/a d/b; ln -s d/a l; chown 5:6 d/a");
	(void)snprintf(path, sizeof path, "%s/x.tar", scratch);
	int tree = open_scratch("x"), out = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	EXPECT(archive_export(tree, out, &failure) == 0);
	close(out);
	close(tree);
	EXPECT_TEXT(answer_of("tar -tPf x.tar | tr '\\n' ' '"), "d/ d/a d/b d/empty/ l ");
	EXPECT_TEXT(answer_of("mkdir y; tar -C y -xpf x.tar; cd y; stat -c '%%h %%u %%g' d/b; readlink l"), "2 5 6\nd/a");
	shell("rm -rf x y x.tar");
}

static void test_a_reader_that_has_gone_ends_it(void)
{
	int fds[2];

	EXPECT(pipe(fds) == 0);
	close(fds[0]);
	EXPECT(archive_get(root, "/t", fds[1], &failure) == -1);
	close(fds[1]);
}

int main(void)
{
	(void)signal(SIGPIPE, SIG_IGN);
	scratch_make();
	shell("mkdir root");
	root = open_scratch("root");
	make_tree();
	RUN(test_what_goes_out_is_read_alike_by_other_tars);
	RUN(test_a_tree_comes_back_as_it_went);
	RUN(test_fractions_of_times_before_1970_are_kept);
	RUN(test_archives_of_other_tars_are_unpacked_as_they_unpack_them);
	RUN(test_names_begin_as_docker_wants_them);
	RUN(test_stat_tells_of_the_link_and_where_it_leads);
	RUN(test_members_cannot_leave_the_directory);
	RUN(test_symlinks_in_an_archive_end_in_the_root);
	RUN(test_ambiguous_archives_are_refused);
	RUN(test_malformed_records_are_refused);
	RUN(test_a_global_comment_is_ignored);
	RUN(test_an_empty_record_takes_a_value_back);
	RUN(test_broken_archives_are_refused_wherever_they_break);
	RUN(test_a_size_beyond_all_bounds_ends_with_the_archive);
	RUN(test_directories_are_merged_and_all_else_replaced);
	RUN(test_copies_can_be_given_to_a_user);
	RUN(test_a_file_that_is_mounted_gets_the_content);
	RUN(test_a_read_only_root_says_so);
	RUN(test_kernel_file_systems_are_not_copied);
	RUN(test_trees_are_walked_to_a_bound);
	RUN(test_sockets_are_left_out);
	RUN(test_an_export_has_the_whole_root_without_naming_it);
	RUN(test_a_reader_that_has_gone_ends_it);
	close(root);
	scratch_remove();
	return expect_failures != 0;
}
