// SPDX-License-Identifier: Apache-2.0
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cgroup.h"
#include "child.h"
#include "id_map.h"
#include "member.h"
#include "path.h"

// The agent's ends of the pipes; -1 = none.
struct ends {
	int in, out, err;
};

static void close_if_open(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static void close_ends(struct ends *e)
{
	close_if_open(&e->in);
	close_if_open(&e->out);
	close_if_open(&e->err);
}

// One of stdin, stdout, stderr: the child's end goes to *child and the agent's, which does not block, to *mine.
static int make_pipe(uint32_t stream, bool input, int *child, int *mine, struct failure *f)
{
	int fds[2];

	if (stream == 0) {
		*child = open("/dev/null", O_RDWR | O_CLOEXEC);
		return *child < 0 ? fail_errno(f, "open /dev/null") : 0;
	}
	if (pipe2(fds, O_CLOEXEC) < 0)
		return fail_errno(f, "make a pipe");
	*child = fds[input ? 0 : 1];
	*mine = fds[input ? 1 : 0];
	return fcntl(*mine, F_SETFL, O_NONBLOCK) < 0 ? fail_errno(f, "make a pipe") : 0;
}

static int make_stdio(const struct process *p, struct launch *l, struct ends *e, struct failure *f)
{
	struct process_streams none = {0};
	const struct process_streams *ids = p->terminal ? &none : &p->ids; // a pty is the child's to open

	if (make_pipe(ids->in, true, &l->stdio[0], &e->in, f) < 0 ||
	    make_pipe(ids->out, false, &l->stdio[1], &e->out, f) < 0 ||
	    make_pipe(ids->err, false, &l->stdio[2], &e->err, f) < 0)
		return -1;
	return 0;
}

static int enter_namespaces(const struct launch *l, struct failure *f)
{
	const struct container *c = l->container;

	if (l->config != NULL)
		return namespaces_enter(&l->namespaces, l->config, f);
	return (c->namespaces & CLONE_NEWPID) != 0 ? namespaces_enter_pid(c->init->pidfd, f) : 0;
}

static int open_cgroup(const struct launch *l, struct failure *f)
{
	const struct container *c = l->container;

	if (l->config == NULL)
		return cgroup_open_for_exec(c->cgroup, c->init->pid, f);
	int cgroup = fcntl(c->cgroup, F_DUPFD_CLOEXEC, 0);
	return cgroup < 0 ? fail_errno(f, "open the cgroup") : cgroup;
}

// clone3 as fork. In the child it does not return.
static pid_t clone_child(struct launch *l, int *pidfd, struct failure *f)
{
	int cgroup = open_cgroup(l, f);

	if (cgroup < 0)
		return -1;
	// The cgroup namespace would be that of the agent's cgroup, and a time namespace is made beforehand.
	struct clone_args arguments = {
		.flags = CLONE_PIDFD | CLONE_INTO_CGROUP | (l->namespaces.create & ~(uint64_t)(CLONE_NEWCGROUP | CLONE_NEWTIME)),
		.pidfd = (uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (unsigned)cgroup,
	};
	pid_t pid = -1;
	if (enter_namespaces(l, f) == 0) {
		pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
		if (pid == 0)
			child_run(l);
		if (pid < 0)
			(void)fail_errno(f, "start a process");
	}
	namespaces_return();
	(void)close(cgroup);
	return pid;
}

// What only the agent may do to a new child.
static int raise_child(const struct launch *l, pid_t pid, int control, struct failure *f)
{
	char path[64], value[16];
	int64_t adjustment = json_int(json_get(l->process, "oomScoreAdj"), 0);

	if (adjustment < -1000 || adjustment > 1000)
		return fail(f, "invalid", "process.oomScoreAdj must be from -1000 to 1000");
	(void)snprintf(path, sizeof path, "/proc/%d/oom_score_adj", pid);
	(void)snprintf(value, sizeof value, "%d", (int)adjustment);
	if (path_write(AT_FDCWD, path, value) < 0)
		return fail_errno(f, "set process.oomScoreAdj");
	if ((l->namespaces.create & CLONE_NEWUSER) == 0)
		return 0;
	if (id_map_write(pid, l->config, f) < 0)
		return -1;
	if (child_send(control, &(struct child_message){.kind = CHILD_MAPPED}, -1) < 0)
		return fail_errno(f, "speak to a new process");
	return 0;
}

static int run_child(struct process *p, struct launch *l, int sockets[2], struct failure *f)
{
	int pidfd = -1;

	l->control = sockets[1];
	pid_t pid = clone_child(l, &pidfd, f);
	if (pid < 0)
		return -1;
	if (fcntl(sockets[0], F_SETFL, O_NONBLOCK) == 0 && raise_child(l, pid, sockets[0], f) == 0 &&
	    process_watch(p, pid, pidfd, sockets[0], f) == 0) {
		sockets[0] = -1;
		return 0;
	}
	(void)kill(pid, SIGKILL); // reaped as a stranger
	(void)close(pidfd);
	return -1;
}

int launch(struct process *p, struct launch *l, struct failure *f)
{
	struct ends ends = {-1, -1, -1};
	int sockets[2] = {-1, -1};
	int result = -1;

	l->stdio[0] = l->stdio[1] = l->stdio[2] = -1;
	if (make_stdio(p, l, &ends, f) == 0) {
		result = process_connect(p, ends.in, ends.out, ends.err, f);
		ends = (struct ends){-1, -1, -1};
		if (result == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
			result = fail_errno(f, "make a socket");
		if (result == 0)
			result = run_child(p, l, sockets, f);
	}
	close_ends(&ends);
	for (int i = 0; i < 3; i++)
		close_if_open(&l->stdio[i]);
	close_if_open(&sockets[0]);
	close_if_open(&sockets[1]);
	return result;
}
