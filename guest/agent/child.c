// SPDX-License-Identifier: Apache-2.0
// In order: out of the agent's descriptors, into namespaces and root, then held; let go, the process gives up its
// rights (credentials.h) and executes. It carries a copy of the agent's memory until then: nobody may look into it.
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "credentials.h"
#include "mount.h"
#include "network.h"
#include "path.h"
#include "program.h"
#include "sysctl.h"
#include "terminal.h"
#include "user.h"

// After 0, 1 and 2: the socket to the agent, and the init of the container to join.
enum { CONTROL = 3, INIT_PIDFD = 4, FIRST_UNUSED = 5, ABOVE_ALL = 16 };

static struct user user; // large, and the stack is not

static int keep_descriptors(const struct launch *l)
{
	int init = l->config == NULL ? l->container->init->pidfd : l->control;
	int wanted[FIRST_UNUSED] = {l->stdio[0], l->stdio[1], l->stdio[2], l->control, init};

	for (int i = 0; i < FIRST_UNUSED; i++) {
		wanted[i] = fcntl(wanted[i], F_DUPFD_CLOEXEC, ABOVE_ALL);
		if (wanted[i] < 0)
			return -1;
	}
	for (int i = 0; i < FIRST_UNUSED; i++) {
		if (dup3(wanted[i], i, i < CONTROL ? 0 : O_CLOEXEC) < 0)
			return -1;
	}
	return (int)syscall(SYS_close_range, FIRST_UNUSED, ~0U, 0);
}

static void default_signals(void)
{
	struct sigaction action = {.sa_handler = SIG_DFL};

	for (int signal = 1; signal <= 64; signal++)
		(void)sigaction(signal, &action, NULL);
}

static int wait_for(int kind, struct failure *f)
{
	struct child_message m;
	int descriptor;

	// The agent gone means that the machine goes down.
	if (child_receive(CONTROL, &m, &descriptor) != 1 || (int)m.kind != kind)
		return fail(f, "internal", "the agent let go of the process");
	return 0;
}

// Root of the user namespace that this process is in.
static int become_root(struct failure *f)
{
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return fail_errno(f, "become root of the user namespace");
	return 0;
}

static int set_names(const struct json *config, uint64_t namespaces, struct failure *f)
{
	const char *host = json_string(json_get(config, "hostname"), "");
	const char *domain = json_string(json_get(config, "domainname"), "");

	if ((*host != '\0' || *domain != '\0') && (namespaces & CLONE_NEWUTS) == 0)
		return fail(f, "invalid", "hostname and domainname need a uts namespace");
	if (*host != '\0' && sethostname(host, strlen(host)) < 0)
		return fail_errno(f, "set the host name");
	if (*domain != '\0' && setdomainname(domain, strlen(domain)) < 0)
		return fail_errno(f, "set the domain name");
	return 0;
}

static int make_terminal(const struct launch *l, int root, int *master, struct failure *f)
{
	struct terminal t;

	if (!json_bool(json_get(l->process, "terminal"), false))
		return 0;
	if (terminal_open(root, &t, f) < 0 || terminal_resize(t.master, l->rows, l->columns, f) < 0 ||
	    terminal_take(&t, f) < 0)
		return -1;
	*master = t.master;
	if (l->config != NULL && mount_console(root, t.slave, f) < 0)
		return -1;
	return close(t.slave);
}

// A world of its own, for the init of a container.
static int build_container(const struct launch *l, int *master, struct failure *f)
{
	const struct container *c = l->container;
	uint64_t namespaces = l->namespaces.create | l->namespaces.join;
	struct sysctl_scope scope = {
		.network = (namespaces & CLONE_NEWNET) != 0,
		.ipc = (namespaces & CLONE_NEWIPC) != 0,
		.uts = (namespaces & CLONE_NEWUTS) != 0,
	};

	if ((l->namespaces.create & CLONE_NEWUSER) != 0 && (wait_for(CHILD_MAPPED, f) < 0 || become_root(f) < 0))
		return -1;
	if ((l->namespaces.create & CLONE_NEWCGROUP) != 0 && unshare(CLONE_NEWCGROUP) < 0)
		return fail_errno(f, "make a cgroup namespace");
	if (set_names(l->config, namespaces, f) < 0)
		return -1;
	if ((l->namespaces.create & CLONE_NEWNET) != 0 && network_loopback_up(f) < 0)
		return -1;
	int root = mount_prepare(c->root.path, l->config, *c->files == '\0' ? NULL : c->files, l->files, f);
	if (root < 0)
		return -1;
	if (make_terminal(l, root, master, f) < 0 ||
	    sysctl_apply(json_get(json_get(l->config, "linux"), "sysctl"), &scope, f) < 0)
		return -1;
	int result = mount_finish(root, l->config, f);
	(void)close(root);
	return result;
}

// The world of a running container. Its pid namespace was entered by the clone.
static int join_container(const struct launch *l, int *master, struct failure *f)
{
	const struct container *c = l->container;

	if (setns(INIT_PIDFD, (int)(c->namespaces & ~(uint64_t)CLONE_NEWPID)) < 0)
		return errno == ESRCH ? fail(f, "busy", "container %s is not running", c->id)
				      : fail_errno(f, "join container %s", c->id);
	if ((c->namespaces & CLONE_NEWUSER) != 0 && become_root(f) < 0)
		return -1;
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return fail_errno(f, "open the root");
	int result = make_terminal(l, root, master, f);
	(void)close(root);
	return result;
}

// Whoever the process will be may open its stdin, stdout and stderr again by their names.
static void give_stdio(void)
{
	struct stat status;

	for (int fd = 0; fd <= 2; fd++) {
		if (fstat(fd, &status) == 0 && (S_ISFIFO(status.st_mode) || isatty(fd)))
			(void)fchown(fd, user.uid, (gid_t)-1);
	}
}

static int prepare(const struct launch *l, int *master, struct failure *f)
{
	const char *directory = json_string(json_get(l->process, "cwd"), "/");

	(void)setsid();
	(void)umask(0);
	if ((l->config != NULL ? build_container(l, master, f) : join_container(l, master, f)) < 0)
		return -1;
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return fail_errno(f, "open the root");
	if (user_resolve(root, json_get(l->process, "user"), &user, f) < 0)
		return -1;
	if (l->config != NULL) { // as runc: the working directory of an image need not exist
		int made = path_create(root, directory, true);
		if (made >= 0)
			(void)close(made);
	}
	(void)close(root);
	give_stdio();
	return 0;
}

static int hold(const struct launch *l, int *master, struct failure *f)
{
	struct child_message ready = {.kind = CHILD_READY, .uid = user.uid, .gid = user.gid};

	if (child_send(CONTROL, &ready, *master) < 0)
		return fail_errno(f, "speak to the agent");
	if (*master >= 0)
		(void)close(*master);
	*master = -1;
	// While the host makes up its mind.
	if (l->config != NULL)
		program_read_ahead(l->process);
	return wait_for(CHILD_GO, f);
}

static int finish(const struct launch *l, struct failure *f)
{
	static struct program program;
	sigset_t none;

	if (program_build(l->process, user.home, &program, f) < 0 || credentials_drop(l, &user, f) < 0 ||
	    program_find(l->process, &program, f) < 0)
		return -1;
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (credentials_seal(l, f) < 0)
		return -1;
	return program_execute(&program, f);
}

noreturn void child_run(struct launch *l)
{
	struct child_message m = {.kind = CHILD_FAILED};
	int master = -1;

	(void)prctl(PR_SET_DUMPABLE, 0);
	default_signals();
	if (keep_descriptors(l) < 0)
		_exit(1);
	if (prepare(l, &master, &m.failure) == 0 && hold(l, &master, &m.failure) == 0)
		(void)finish(l, &m.failure);
	(void)child_send(CONTROL, &m, -1);
	_exit(strcmp(m.failure.code, "exec-not-found") == 0 ? 127 : 126);
}
