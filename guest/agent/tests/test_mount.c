// SPDX-License-Identifier: Apache-2.0
// Containers' views are built in a child with namespaces of its own, and looked at from inside.
#include "../mount.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "../files.h"
#include "../path.h"
#include "expect.h"
#include "scratch.h"

static const char *test_files;       // JSON of `files`, or NULL
static struct failure why;           // of a build that failed, in the child
static int between_result;

// What A's code does between the two halves; tests may look here before the root is entered.
static void (*between)(int root);

static int build(const char *config_text)
{
	char path[128], directory[128];
	struct json *config = expect_json(config_text), *files = test_files != NULL ? expect_json(test_files) : NULL;

	(void)snprintf(path, sizeof path, "%s/root", scratch);
	(void)snprintf(directory, sizeof directory, "%s/files", scratch);
	if (files != NULL && files_write(directory, files, &why) != 0)
		return -1;
	int root = mount_prepare(path, config, files != NULL ? directory : NULL, files, &why);
	if (root < 0)
		return -1;
	if (between != NULL)
		between(root);
	int result = mount_finish(root, config, &why);
	close(root);
	json_free(config);
	json_free(files);
	return result;
}

// Runs look() inside a container of this config (or after the build failed); counts its failures as ours.
static void inside_with(int namespaces, const char *config, void (*look)(int result))
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		if (unshare(CLONE_NEWNS | CLONE_NEWPID | namespaces) != 0)
			_exit(98);
		pid_t init = fork();
		if (init == 0) {
			expect_failures = 0;
			(void)umask(0);
			int result = build(config);
			look(result);
			if (result != 0 && expect_failures > 0)
				(void)fprintf(stderr, "%s: %s\n", why.code, why.message);
			_exit(expect_failures > 90 ? 90 : expect_failures);
		}
		if (waitpid(init, &status, 0) != init || !WIFEXITED(status))
			_exit(97);
		_exit(WEXITSTATUS(status));
	}
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		abort();
	if (WEXITSTATUS(status) >= 97)
		abort();
	expect_failures += WEXITSTATUS(status);
	between = NULL;
	test_files = NULL;
	shell("rm -rf files");
}

static void inside(const char *config, void (*look)(int result))
{
	inside_with(0, config, look);
}

static const char *content(const char *path)
{
	static char out[256];

	(void)path_read(AT_FDCWD, path, out, sizeof out);
	return out;
}

static unsigned mode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (unsigned)st.st_mode : 0;
}

static bool is_device(const char *path, unsigned major_, unsigned minor_)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISCHR(st.st_mode) && major(st.st_rdev) == major_ && minor(st.st_rdev) == minor_;
}

static bool is_type(const char *path, unsigned long magic)
{
	struct statfs sf;

	return statfs(path, &sf) == 0 && (unsigned long)sf.f_type == magic;
}

static unsigned long flags_of(const char *path)
{
	struct statvfs sv;

	return statvfs(path, &sv) == 0 ? sv.f_flag : 0;
}

static const char *link_of(const char *path)
{
	static char out[256];
	ssize_t n = readlink(path, out, sizeof out - 1);

	out[n < 0 ? 0 : n] = '\0';
	return out;
}

#define DOCKER_MOUNTS                                                                                                      \
	"{'destination':'/proc','type':'proc','source':'proc','options':['nosuid','noexec','nodev']},"                     \
	"{'destination':'/dev','type':'tmpfs','source':'tmpfs','options':['nosuid','strictatime','mode=755','size=65536k']},"  \
	"{'destination':'/dev/pts','type':'devpts','source':'devpts','options':['nosuid','noexec','newinstance',"          \
	"'ptmxmode=0666','mode=0620','gid=5']},"                                                                           \
	"{'destination':'/dev/mqueue','type':'mqueue','source':'mqueue','options':['nosuid','noexec','nodev']},"           \
	"{'destination':'/dev/shm','type':'tmpfs','source':'shm','options':['nosuid','noexec','nodev','mode=1777',"        \
	"'size=67108864']}"

#define DOCKER                                                                                                             \
	"{'root':{'readonly':%s},'process':{'terminal':true,'cwd':'/made/cwd'},'mounts':[" DOCKER_MOUNTS "],'linux':{"     \
	"'maskedPaths':['/proc/version','/proc/kcore','/proc/scsi','/proc/not-there','/sys/firmware','/secret','/secrets'],"    \
	"'readonlyPaths':['/proc/bus','/proc/fs','/proc/irq','/proc/sys','/proc/sysrq-trigger','/nowhere','/ro']}}"

static const char *docker(const char *read_only)
{
	static char config[8192];

	(void)snprintf(config, sizeof config, DOCKER, read_only);
	return config;
}

static void open_a_pty(int root)
{
	int master = path_open(root, "/dev/ptmx", O_RDWR | O_NOCTTY, 0), unlock = 0;

	EXPECT(master >= 0 && ioctl(master, 0x40045431, &unlock) == 0); // TIOCSPTLCK
	int slave = ioctl(master, 0x5441, O_RDWR | O_NOCTTY);           // TIOCGPTPEER
	EXPECT(slave >= 0);
	between_result = mount_console(root, slave, &why);
	EXPECT(between_result == 0);
	close(slave);
}

static void look_at_docker(int result)
{
	char cwd[64];

	if (!EXPECT(result == 0))
		return;
	EXPECT(getcwd(cwd, sizeof cwd) != NULL && strcmp(cwd, "/") == 0);
	EXPECT_TEXT(content("/marker"), "root\n");
	EXPECT(is_type("/proc", 0x9fa0) && is_type("/dev", 0x1021994) && is_type("/dev/pts", 0x1cd1) &&
	       is_type("/dev/mqueue", 0x19800202) && is_type("/dev/shm", 0x1021994));
	EXPECT_TEXT(link_of("/proc/self"), "1"); // its own pid namespace
	EXPECT(is_device("/dev/null", 1, 3) && is_device("/dev/zero", 1, 5) && is_device("/dev/full", 1, 7) &&
	       is_device("/dev/random", 1, 8) && is_device("/dev/urandom", 1, 9) && is_device("/dev/tty", 5, 0));
	EXPECT(mode_of("/dev/null") == (S_IFCHR | 0666) && mode_of("/dev/shm") == (S_IFDIR | 01777) &&
	       mode_of("/dev") == (S_IFDIR | 0755));
	EXPECT_TEXT(link_of("/dev/fd"), "/proc/self/fd");
	EXPECT_TEXT(link_of("/dev/stdin"), "/proc/self/fd/0");
	EXPECT_TEXT(link_of("/dev/ptmx"), "pts/ptmx");
	EXPECT(mode_of("/dev/console") >> 12 == S_IFCHR >> 12 && is_type("/dev/console", 0x1cd1));
	EXPECT((flags_of("/proc") & (ST_NOSUID | ST_NOEXEC | ST_NODEV)) == (ST_NOSUID | ST_NOEXEC | ST_NODEV));
	EXPECT((flags_of("/dev") & (ST_NOSUID | ST_NOEXEC)) == ST_NOSUID);
	EXPECT(S_ISDIR(mode_of("/made/cwd")));
	EXPECT(open("/proc/sys/kernel/hostname", O_WRONLY) < 0 && errno == EROFS);
	EXPECT(open("/ro/file", O_WRONLY) < 0 && errno == EROFS);
	EXPECT(is_device("/proc/version", 1, 3));
	EXPECT_TEXT(content("/secret"), "");
	EXPECT(open("/secrets/x", O_RDONLY) < 0 && errno == ENOENT);
	EXPECT(open("/secrets/y", O_CREAT | O_WRONLY, 0600) < 0 && errno == EROFS);
	// Nothing of the machine is left: no mount but the container's own.
	EXPECT(strstr(content("/proc/self/mountinfo"), "hypercell-test") != NULL); // the root itself, by its source
	EXPECT(access("/work", F_OK) != 0 && access("/../../work", F_OK) != 0);
	EXPECT(open("/made/file", O_CREAT | O_WRONLY, 0600) >= 0);
}

static void test_a_docker_container_sees_what_it_should(void)
{
	shell("echo root > root/marker; echo s > root/secret; mkdir root/secrets root/ro; echo s > root/secrets/x; echo > root/ro/file");
	between = open_a_pty;
	inside(docker("false"), look_at_docker);
}

static void look_read_only(int result)
{
	if (!EXPECT(result == 0))
		return;
	EXPECT(open("/new", O_CREAT | O_WRONLY, 0600) < 0 && errno == EROFS);
	EXPECT(open("/dev/shm/new", O_CREAT | O_WRONLY, 0600) >= 0);
	EXPECT(open("/dev/null", O_WRONLY) >= 0);
	EXPECT((flags_of("/") & ST_RDONLY) != 0 && (flags_of("/dev/shm") & ST_RDONLY) == 0);
	EXPECT(open("/etc/hosts", O_WRONLY) < 0 && errno == EROFS);
	EXPECT_TEXT(content("/etc/hosts"), "hello");
}

static void test_a_read_only_root_leaves_its_mounts_writable(void)
{
	test_files = "[{'path':'/etc/hosts','data':'aGVsbG8='}]";
	inside(docker("true"), look_read_only);
}

// hostile-inputs A13: what the image has at the targets are symlinks to the outside.
static void look_hostile(int result)
{
	if (!EXPECT(result == 0))
		return;
	EXPECT(is_type("/dev", 0x1021994)); // through the image's own link, inside
	EXPECT_TEXT(content("/etc/resolv.conf"), "hello");
	EXPECT_TEXT(content("/etc/plain"), "hello");
}

static void test_hostile_roots_are_mounted_inside_themselves(void)
{
	shell("mkdir -p victim/dev; echo victim > victim/resolv.conf; mv root root.good; mkdir -p root/etc; cd root;"
	      "ln -s ../../../../../../../../..%s/victim/dev dev; ln -s %s/victim/resolv.conf etc/resolv.conf;"
	      "ln -s resolv.conf etc/plain; ln -s / up",
	      scratch, scratch);
	test_files = "[{'path':'/etc/resolv.conf','data':'aGVsbG8='},{'path':'/up/../../etc/plain','data':'aGVsbG8='}]";
	inside("{'mounts':[{'destination':'/dev','type':'tmpfs','options':['mode=755']}],"
	       "'linux':{'maskedPaths':['/dev/x'],'readonlyPaths':['/etc']}}",
	       look_hostile);
	EXPECT_TEXT(answer_of("cat victim/resolv.conf; ls victim; ls victim/dev; mount | grep -c %s/victim", scratch),
		    "victim\ndev\nresolv.conf\n0");
	EXPECT_TEXT(answer_of("cd root%s/victim; ls | tr '\\n' ' '", scratch), "dev resolv.conf ");
	shell("rm -rf root; mv root.good root");
}

static void look_bound(int result)
{
	if (!EXPECT(result == 0))
		return;
	EXPECT_TEXT(content("/b/file"), "bound\n");
	EXPECT_TEXT(content("/one/file"), "bound\n");
	EXPECT_TEXT(content("/b/sub/below"), ""); // bind, not rbind
	EXPECT_TEXT(content("/r/sub/below"), "below\n");
	EXPECT((flags_of("/b") & (ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC)) == (ST_RDONLY | ST_NOEXEC));
	EXPECT((flags_of("/r") & ST_RDONLY) != 0 && (flags_of("/r/sub") & ST_RDONLY) == 0);
	EXPECT((flags_of("/rr/sub") & (ST_RDONLY | ST_NOEXEC)) == (ST_RDONLY | ST_NOEXEC));
	EXPECT((flags_of("/rr") & ST_NOATIME) != 0 && (flags_of("/rr/sub") & ST_NOATIME) == 0);
	EXPECT((flags_of("/b") & ST_RELATIME) != 0);
}

static void test_binds_take_every_option(void)
{
	shell("mkdir -p source/sub; echo bound > source/file; mount -t tmpfs t source/sub; echo below > source/sub/below");
	char config[4096];
	(void)snprintf(config, sizeof config,
		       "{'mounts':[{'destination':'/b','type':'bind','source':'%s/source','options':['ro','noexec','rprivate']},"
		       "{'destination':'/one/file','source':'%s/source/file','options':['bind','rslave']},"
		       "{'destination':'/r','type':'none','source':'%s/source','options':['rbind','ro']},"
		       "{'destination':'/rr','type':'bind','source':'%s/source','options':['rbind','rro','rnoexec','noatime']}]}",
		       scratch, scratch, scratch, scratch);
	inside(config, look_bound);
	shell("umount source/sub; rm -rf source");
}

static void look_tmpfs(int result)
{
	if (!EXPECT(result == 0))
		return;
	EXPECT(mode_of("/data") == (S_IFDIR | 0750) && mode_of("/fresh") == (S_IFDIR | 01777) &&
	       mode_of("/given") == (S_IFDIR | 0700));
	EXPECT(access("/data/a", F_OK) != 0);
	EXPECT_TEXT(content("/up/a"), "copied\n");
	EXPECT_TEXT(content("/up/deep/b"), "b\n");
	EXPECT_TEXT(link_of("/up/l"), "/etc/passwd");
	EXPECT(mode_of("/up/deep/b") == (S_IFREG | 04755) && mode_of("/up") == (S_IFDIR | 0750));
	EXPECT(open("/ro/new", O_CREAT | O_WRONLY, 0600) < 0 && errno == EROFS);
	EXPECT(access("/ro/inner", F_OK) == 0 && is_type("/ro/inner", 0x1021994));
	EXPECT(open("/ro/inner/new", O_CREAT | O_WRONLY, 0600) >= 0);
	struct statvfs sv;
	EXPECT(statvfs("/fresh", &sv) == 0 && sv.f_blocks * sv.f_frsize == 1 << 20);
}

static void test_tmpfs_covers_or_copies_what_is_there(void)
{
	shell("cd root; mkdir -p data; echo x > data/a; chmod 750 data; mkdir -p given up/deep; echo copied > up/a; echo b > up/deep/b;"
	      "chmod 4755 up/deep/b; ln -s /etc/passwd up/l; mkfifo up/p; chmod 750 up; mkdir -p ro");
	inside("{'mounts':[{'destination':'/data','type':'tmpfs','options':['nosuid']},"
	       "{'destination':'/fresh','type':'tmpfs','options':['size=1m']},"
	       "{'destination':'/given','type':'tmpfs','options':['mode=700']},"
	       "{'destination':'/up','type':'tmpfs','options':['tmpcopyup']},"
	       "{'destination':'/ro','type':'tmpfs','options':['ro']},{'destination':'/ro/inner','type':'tmpfs'}]}",
	       look_tmpfs);
}

static void look_devices(int result)
{
	if (!EXPECT(result == 0))
		return;
	EXPECT(is_device("/dev/fuse", 10, 229) && mode_of("/dev/fuse") == (S_IFCHR | 0640));
	EXPECT(S_ISBLK(mode_of("/dev/deep/sda")) && S_ISFIFO(mode_of("/pipe")));
	EXPECT(is_device("/dev/null", 1, 3)); // the image had a file there
	struct stat st;
	EXPECT(stat("/dev/fuse", &st) == 0 && st.st_uid == 5 && st.st_gid == 6);
}

static void test_devices_are_made_with_their_modes(void)
{
	shell("mkdir -p root/dev; echo lie > root/dev/null");
	inside("{'linux':{'devices':[{'path':'/dev/fuse','type':'c','major':10,'minor':229,'fileMode':416,'uid':5,'gid':6},"
	       "{'path':'/dev/deep/sda','type':'b','major':8,'minor':0},{'path':'/pipe','type':'p'},"
	       "{'path':'/dev/null','type':'c','major':1,'minor':3}]}}",
	       look_devices);
	shell("rm -rf root/dev root/pipe");
}

static const char *expected_code;

static void look_refused(int result)
{
	EXPECT(result == -1);
	EXPECT_TEXT(why.code, expected_code);
}

static void refuse(const char *config, const char *code)
{
	int before = expect_failures;

	expected_code = code;
	inside(config, look_refused);
	if (expect_failures != before)
		(void)fprintf(stderr, "in: %s\n", config);
}

// hostile-inputs A13: a mount in between would change where /proc leads, and there would be nothing to mask.
static void displaced(const char *link, const char *target, const char *destination, const char *type)
{
	char config[512];

	shell("mv root root.good; mkdir -p root/covered root/elsewhere; cd root; ln -s /elsewhere covered/link; ln -s /covered dev;"
	      "ln -s %s .%s", target, link);
	(void)snprintf(config, sizeof config,
		       "{'mounts':[{'destination':'%s','type':'%s'},{'destination':'/dev','type':'tmpfs'}],"
		       "'linux':{'maskedPaths':['/proc/kcore'],'readonlyPaths':['/proc/sys']}}", destination, type);
	refuse(config, "invalid");
	EXPECT_TEXT(answer_of("find root/elsewhere -mindepth 1"), ""); // nothing was made on the way
	shell("rm -rf root; mv root.good root");
}

static void test_proc_and_sys_are_mounted_on_directories_alone(void)
{
	displaced("/proc", "/covered/link/p", "/proc", "proc");
	displaced("/proc", "/covered", "/./proc/", "proc");
	displaced("/proc", "elsewhere/new", "/proc", "proc");
	displaced("/proc", "/", "/proc", "proc");
	displaced("/sys", "../../proc", "/sys", "sysfs");
	displaced("/sys", "/elsewhere", "/sys", "sysfs");
	displaced("/on", "/elsewhere", "/on/the/way", "proc");
}

static void test_what_cannot_be_mounted_is_refused(void)
{
	refuse("{'mounts':[{'destination':'relative','type':'tmpfs'}]}", "invalid");
	refuse("{'mounts':[{'destination':'/','type':'tmpfs'}]}", "invalid");
	refuse("{'mounts':[{'destination':'/x/..','type':'tmpfs'}]}", "invalid");
	refuse("{'mounts':[{'destination':'/x'}]}", "invalid");
	refuse("{'mounts':[{'destination':'/x','type':'nonsense'}]}", "unsupported");
	refuse("{'mounts':[{'destination':'/x','type':'tmpfs','options':['idmap']}]}", "unsupported");
	refuse("{'mounts':[{'destination':'/x','type':'tmpfs','options':['ridmap']}]}", "unsupported");
	refuse("{'mounts':[{'destination':'/x','type':'tmpfs','uidMappings':[{}]}]}", "unsupported");
	refuse("{'mounts':[{'destination':'/x','type':'tmpfs','options':['size=nonsense']}]}", "invalid");
	refuse("{'mounts':[{'destination':'/x','type':'tmpfs','options':['nonsense']}]}", "invalid");
	refuse("{'mounts':[{'destination':'/x','type':'tmpfs','options':'ro'}]}", "invalid");
	refuse("{'mounts':[{'destination':'/x','type':'tmpfs','options':[1]}]}", "invalid");
	refuse("{'mounts':[{'destination':'/x','type':'bind','source':'/not/there'}]}", "not-found");
	refuse("{'mounts':[{'destination':'/x','type':'bind','source':'/run/hypercell/disks/none/x'}]}", "not-found");
	refuse("{'linux':{'devices':[{'path':'dev/x','type':'c'}]}}", "invalid");
	refuse("{'linux':{'devices':[{'path':'/dev/x','type':'z'}]}}", "invalid");
	refuse("{'linux':{'devices':[{'path':'/dev/x','type':'c','major':-1}]}}", "invalid");
	refuse("{'linux':{'maskedPaths':[5]}}", "invalid");
	refuse("{'linux':{'rootfsPropagation':'nonsense'}}", "invalid");
}

static void look_propagation(int result)
{
	char line[4096];

	EXPECT(result == 0);
	EXPECT(path_read(AT_FDCWD, "/proc/self/mountinfo", line, sizeof line) > 0);
	line[strcspn(line, "\n")] = '\0';
	EXPECT(strstr(line, " shared:") != NULL);
}

static void test_the_roots_propagation_is_set(void)
{
	inside("{'mounts':[{'destination':'/proc','type':'proc'}],'linux':{'rootfsPropagation':'shared'}}", look_propagation);
}

static void test_files_are_written_with_their_modes_or_not_at_all(void)
{
	char directory[128];
	struct failure f = {0};
	struct json *good = expect_json("[{'path':'/a','data':'aGVsbG8=','mode':256,'uid':3,'gid':4},{'path':'/b','data':''}]");
	struct json *bad = expect_json("[{'path':'/a','data':''},{'path':'/b','data':'%%'}]");
	struct json *relative = expect_json("[{'path':'a','data':''}]");

	(void)snprintf(directory, sizeof directory, "%s/files", scratch);
	EXPECT(files_write(directory, good, &f) == 0);
	EXPECT_TEXT(answer_of("stat -c '%%a %%u %%g %%s' files/*; cat files/0"), "400 3 4 5\n644 0 0 0\nhello");
	files_remove(directory);
	EXPECT(files_write(directory, bad, &f) == -1 && strcmp(f.code, "invalid") == 0);
	EXPECT(files_write(directory, relative, &f) == -1 && strcmp(f.code, "invalid") == 0);
	EXPECT(access(directory, F_OK) != 0);
	EXPECT(files_write(directory, NULL, &f) == 0 && access(directory, F_OK) != 0);
	json_free(good);
	json_free(bad);
	json_free(relative);
}

int main(void)
{
	scratch_make();
	shell("mkdir -p root/etc");
	RUN(test_a_docker_container_sees_what_it_should);
	RUN(test_a_read_only_root_leaves_its_mounts_writable);
	RUN(test_hostile_roots_are_mounted_inside_themselves);
	RUN(test_binds_take_every_option);
	RUN(test_tmpfs_covers_or_copies_what_is_there);
	RUN(test_devices_are_made_with_their_modes);
	RUN(test_proc_and_sys_are_mounted_on_directories_alone);
	RUN(test_what_cannot_be_mounted_is_refused);
	RUN(test_the_roots_propagation_is_set);
	RUN(test_files_are_written_with_their_modes_or_not_at_all);
	scratch_remove();
	return expect_failures != 0;
}
