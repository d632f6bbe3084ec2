// SPDX-License-Identifier: Apache-2.0
#include "credentials.h"

#include <errno.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "capability.h"
#include "program.h"

// A session keyring of its own, so that the keys of one process are not all containers'.
static int join_keyring(const struct launch *l, struct failure *f)
{
	char name[NAME_SIZE + 8];

	(void)snprintf(name, sizeof name, "_ses.%s", l->container->id);
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name) < 0 && errno != ENOSYS)
		return fail_errno(f, "make a session keyring");
	return 0;
}

static int change_user(const struct user *user, struct failure *f)
{
	if (setgroups(user->groups_length, user->groups) < 0)
		return fail_errno(f, "set the supplementary groups");
	if (setresgid(user->gid, user->gid, user->gid) < 0)
		return fail_errno(f, "become group %u", user->gid);
	if (setresuid(user->uid, user->uid, user->uid) < 0)
		return fail_errno(f, "become user %u", user->uid);
	return 0;
}

static int enter_directory(const struct launch *l, struct failure *f)
{
	const char *directory = json_string(json_get(l->process, "cwd"), "/");

	if (chdir(directory) < 0)
		return fail(f, program_error_code(errno), "chdir to cwd (\"%.200s\") failed: %s", directory, strerror(errno));
	return 0;
}

static bool no_new_privileges(const struct launch *l)
{
	return json_bool(json_get(l->process, "noNewPrivileges"), false);
}

int credentials_drop(const struct launch *l, const struct user *user, struct failure *f)
{
	struct capabilities capabilities;
	struct failure ignored;
	int64_t mask = json_int(json_get(json_get(l->process, "user"), "umask"), 022);

	if (capability_parse(json_get(l->process, "capabilities"), &capabilities, f) < 0 || join_keyring(l, f) < 0)
		return -1;
	if (no_new_privileges(l)) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
			return fail_errno(f, "set noNewPrivileges");
	} else if (seccomp_install(&l->container->filter, f) < 0) {
		return -1;
	}
	// The directory may be root's alone, or, on other file systems, the user's alone.
	bool entered = enter_directory(l, &ignored) == 0;
	if (capability_prepare(&capabilities, f) < 0 || change_user(user, f) < 0 ||
	    capability_apply(&capabilities, f) < 0)
		return -1;
	(void)umask((mode_t)mask & 0777);
	return entered ? 0 : enter_directory(l, f);
}

int credentials_seal(const struct launch *l, struct failure *f)
{
	return no_new_privileges(l) ? seccomp_install(&l->container->filter, f) : 0;
}
