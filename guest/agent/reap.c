// SPDX-License-Identifier: Apache-2.0
#include "reap.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container.h"
#include "job.h"
#include "loop.h"

enum { REAPED_A_PASS = 64 };

static void reap_some(struct later *l);

static struct later more = {.run = reap_some};
static struct watch child_signal;

static struct process *find(pid_t pid)
{
	for (struct container *c = containers; c != NULL; c = c->next) {
		for (struct process *p = c->init; p != NULL; p = p->next) {
			if (p->pid == pid && p->status != PROCESS_EXITED)
				return p;
		}
	}
	return NULL;
}

static void ended(const siginfo_t *info)
{
	struct process *p = find(info->si_pid);
	bool exited = info->si_code == CLD_EXITED;

	if (p != NULL) {
		process_exited(p, exited ? info->si_status : 0, exited ? 0 : info->si_status);
		container_process_ended(p);
	} else {
		(void)job_exited(info->si_pid);
	}
}

// A container that makes and orphans processes without end must not keep the loop here.
static void reap_some(struct later *l)
{
	for (int i = 0; i < REAPED_A_PASS; i++) {
		siginfo_t info = {0};
		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
			return;
		ended(&info);
	}
	later_do(l);
}

static void signal_ready(struct watch *w, uint32_t events)
{
	struct signalfd_siginfo ignored[8];

	(void)events;
	while (read(w->fd, ignored, sizeof ignored) > 0)
		;
	reap_some(&more);
}

int reap_init(struct failure *f)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t all, child;

	sigfillset(&all);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	if (sigprocmask(SIG_SETMASK, &all, NULL) < 0 || sigaction(SIGPIPE, &ignore, NULL) < 0)
		return fail_errno(f, "block signals");
	child_signal = (struct watch){.ready = signal_ready, .fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK)};
	if (child_signal.fd < 0 || watch_set(&child_signal, EPOLLIN) < 0)
		return fail_errno(f, "watch for ended processes");
	return 0;
}
