// SPDX-License-Identifier: Apache-2.0
// Becomes a hypervisor: another user, without groups, with the listed descriptors and nothing else of the daemon's.
//
//     launch [--may-change-user] UID GROUPS ENTRANCES DESCRIPTORS PROGRAM [ARGUMENT…]
//
// GROUPS, ENTRANCES and DESCRIPTORS are numbers with commas between them; none is an empty string. The user's own group
// has the number UID. ENTRANCES are descriptors of control groups' lists of processes, which it joins: who does so by
// itself, and alone, need not wait for the whole machine to be quiet (kernel/cgroup/cgroup.c). Descriptors 0 to 2 stay. What goes wrong is said on standard error, and ends it with status 127.
// A hypervisor that is forked (hypervisor/fork.c) may become other users, and have no other right of root's.
//
// The daemon could do all this between fork and exec, but a fork copies its page tables, which takes milliseconds; to
// spawn a small program without one takes a tenth of one.
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NUMBERS_MAX 32
#define CLOSE_RANGE_CLOEXEC 4U
// linux/capability.h, which musl does not bring.
#define CAPABILITY_VERSION_3 0x20080522U
#define CAP_SETGID 6
#define CAP_SETUID 7
#define KEYCTL_JOIN_SESSION_KEYRING 1

static _Noreturn void fail(const char *what)
{
	dprintf(STDERR_FILENO, "launch: %s: %s\n", what, strerror(errno));
	_exit(127);
}

// How many numbers *text* holds; they are put into *numbers*.
static size_t parse(const char *text, unsigned numbers[NUMBERS_MAX])
{
	size_t count = 0;

	while (*text != '\0') {
		char *end = NULL;
		errno = 0;
		unsigned long value = strtoul(text, &end, 10);
		if (*text < '0' || *text > '9' || errno != 0 || value >= INT_MAX || count == NUMBERS_MAX ||
		    (*end != ',' && *end != '\0')) {
			errno = EINVAL;
			fail(text);
		}
		numbers[count++] = (unsigned)value;
		text = *end == ',' ? end + 1 : end;
	}
	return count;
}

// A group that refuses is left empty.
static void enter(const char *entrances)
{
	unsigned entrance[NUMBERS_MAX];
	size_t count = parse(entrances, entrance);

	for (size_t i = 0; i < count; i++)
		if (write((int)entrance[i], "0", 1) < 0 && errno == EBADF)
			fail("control group");
}

static void keep_only(const char *descriptors)
{
	unsigned kept[NUMBERS_MAX];
	size_t count = parse(descriptors, kept);

	if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) != 0)
		fail("close_range");
	for (size_t i = 0; i < count; i++)
		if (fcntl((int)kept[i], F_SETFD, 0) != 0)
			fail("descriptor");
}

// Past the change of the user, and past the exec.
static void keep_changing_user(void)
{
	const unsigned rights = 1U << CAP_SETUID | 1U << CAP_SETGID;
	struct {
		unsigned version;
		int pid;
	} self = {CAPABILITY_VERSION_3, 0};
	struct {
		unsigned effective, permitted, inheritable;
	} sets[2] = {{rights, rights, rights}, {0, 0, 0}};

	if (syscall(SYS_capset, &self, sets) != 0 ||
	    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETUID, 0, 0) != 0 ||
	    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SETGID, 0, 0) != 0)
		fail("capabilities");
}

static void become(const char *user, const char *groups, bool may_change)
{
	unsigned id[NUMBERS_MAX], group[NUMBERS_MAX];
	gid_t list[NUMBERS_MAX];
	size_t count = parse(groups, group);

	if (parse(user, id) != 1 || id[0] == 0) {
		errno = EINVAL;
		fail("user");
	}
	for (size_t i = 0; i < count; i++)
		list[i] = group[i];
	if (may_change && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0)
		fail("capabilities");
	if (setgroups(count, list) != 0 || setresgid(id[0], id[0], id[0]) != 0 || setresuid(id[0], id[0], id[0]) != 0)
		fail("user");
	if (may_change)
		keep_changing_user();
}

int main(int argc, char **argv)
{
	// A core would hold the memory of a guest.
	const struct rlimit none = {0, 0};
	bool may_change = argc > 1 && strcmp(argv[1], "--may-change-user") == 0;

	argc -= may_change;
	argv += may_change;
	if (argc < 6) {
		errno = EINVAL;
		fail("usage");
	}
	umask(077);
	// Where there are no keys, none are shared.
	(void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
	if (chdir("/") != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
		fail("/");
	enter(argv[3]);
	keep_only(argv[4]);
	become(argv[1], argv[2], may_change);
	execv(argv[5], argv + 5);
	fail(argv[5]);
}
