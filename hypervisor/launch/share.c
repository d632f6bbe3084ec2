// SPDX-License-Identifier: Apache-2.0
// Becomes the server of the host's directories that one VM may see (virtiofsd), which sees nothing else.
//
//     share ENTRANCES SHARED DIRECTORY SOCKET PROGRAM [ARGUMENT…]
//
// SHARED: descriptors (O_PATH) of files and directories, with commas between them, each followed by `r` when it must not
// be written, and by `s` when what is mounted below it is not meant. In a mount namespace of the server's own they come
// to lie in DIRECTORY as `0`, `1` and so on; what is read-only is so for the kernel, whatever the server is made to do.
// ENTRANCES are those of the VM's control groups, as in launch.c. Descriptors 0 to 2 stay, and SOCKET, on which the
// server listens.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHARED_MAX 256
#define CLOSE_RANGE_CLOEXEC 4U
// linux/mount.h and linux/fcntl.h, which musl does not bring.
#define OPEN_TREE_CLONE 1U
#define MOVE_MOUNT_F_EMPTY_PATH 4U
#define MOUNT_ATTR_RDONLY 1U
#define MOUNT_ATTR_NOSUID 2U
#define MOUNT_ATTR_NODEV 4U
#define RECURSIVE 0x8000U
#define EMPTY_PATH 0x1000U

struct mount_attributes {
	unsigned long long set, clear, propagation, user_namespace;
};

struct shared {
	int tree;
	mode_t type;
};

static _Noreturn void fail(const char *what)
{
	dprintf(STDERR_FILENO, "share: %s: %s\n", what, strerror(errno));
	_exit(127);
}

// A group that refuses is left empty.
static void enter(const char *entrances)
{
	while (*entrances != '\0') {
		char *end = NULL;
		long entrance = strtol(entrances, &end, 10);
		if (write((int)entrance, "0", 1) < 0 && errno == EBADF)
			fail("control group");
		entrances = *end == ',' ? end + 1 : end;
	}
}

// A copy of the mounts at and below what *descriptor* names, that nobody has yet.
static struct shared copy(int descriptor, int read_only, int alone)
{
	struct mount_attributes attributes = {
		.set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (read_only ? MOUNT_ATTR_RDONLY : 0U),
		.propagation = MS_PRIVATE,
	};
	struct shared result;
	struct stat st;

	if (fstat(descriptor, &st) != 0)
		fail("what is to be shared");
	result.type = st.st_mode & S_IFMT;
	result.tree = (int)syscall(SYS_open_tree, descriptor, "", OPEN_TREE_CLONE | O_CLOEXEC | EMPTY_PATH | (alone ? 0U : RECURSIVE));
	if (result.tree < 0 ||
	    syscall(SYS_mount_setattr, result.tree, "", EMPTY_PATH | RECURSIVE, &attributes, sizeof attributes) != 0)
		fail("what is to be shared");
	return result;
}

static size_t copy_all(const char *text, struct shared shared[SHARED_MAX])
{
	size_t count = 0;

	while (*text != '\0') {
		char *end = NULL;
		long descriptor = strtol(text, &end, 10);
		int read_only = *end == 'r';
		end += read_only;
		int alone = *end == 's';
		end += alone;
		if (count == SHARED_MAX) {
			errno = E2BIG;
			fail("what is to be shared");
		}
		shared[count++] = copy((int)descriptor, read_only, alone);
		text = *end == ',' ? end + 1 : end;
	}
	return count;
}

static void make_place(const char *name, mode_t type)
{
	int file;

	if (type == S_IFDIR) {
		if (mkdir(name, 0755) != 0)
			fail(name);
		return;
	}
	file = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	if (file < 0)
		fail(name);
	close(file);
}

static void lay_out(const char *directory, const struct shared *shared, size_t count)
{
	char name[24];

	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		fail("mount namespace");
	if (mount("hypercell.share", directory, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=1m") != 0 ||
	    chdir(directory) != 0)
		fail(directory);
	for (size_t i = 0; i < count; i++) {
		(void)snprintf(name, sizeof name, "%zu", i);
		make_place(name, shared[i].type);
		if (syscall(SYS_move_mount, shared[i].tree, "", AT_FDCWD, name, MOVE_MOUNT_F_EMPTY_PATH) != 0)
			fail(name);
	}
	if (mount(NULL, directory, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0 ||
	    chdir("/") != 0)
		fail(directory);
}

int main(int argc, char **argv)
{
	const struct rlimit none = {0, 0};
	struct shared shared[SHARED_MAX];

	if (argc < 6) {
		errno = EINVAL;
		fail("usage");
	}
	umask(0);
	if (setrlimit(RLIMIT_CORE, &none) != 0)
		fail("core");
	enter(argv[1]);
	size_t count = copy_all(argv[2], shared);
	lay_out(argv[3], shared, count);
	if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) != 0 || fcntl((int)strtol(argv[4], NULL, 10), F_SETFD, 0) != 0)
		fail("socket");
	execv(argv[5], argv + 5);
	fail(argv[5]);
}
