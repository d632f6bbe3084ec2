// SPDX-License-Identifier: Apache-2.0
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "container.h"
#include "container_of.h"
#include "event.h"
#include "rlimits.h"
#include "schedule.h"
#include "terminal.h"

enum { PROCESSES_MAX = 1024 }; // of one container

struct process *process_new(struct container *c, const char *id, struct failure *f)
{
	struct process **end = &c->init;
	unsigned count = 0;

	for (; *end != NULL; end = &(*end)->next) {
		if (strcmp((*end)->id, id) == 0) {
			(void)fail(f, "exists", "process %s of container %s exists", id, c->id);
			return NULL;
		}
		count++;
	}
	struct process *p = count < PROCESSES_MAX ? calloc(1, sizeof *p) : NULL;
	if (p == NULL) {
		(void)fail(f, "busy", "container %s has too many processes: reap some first", c->id);
		return NULL;
	}
	(void)strncpy(p->id, id, sizeof p->id - 1);
	p->container = c;
	p->pidfd = p->pty = p->control.fd = -1;
	*end = p;
	return p;
}

static int connect_one(struct output **out, uint32_t id, int fd, struct failure *f)
{
	if (fd < 0)
		return 0;
	*out = output_new(id, fd, f);
	return *out == NULL ? -1 : 0;
}

int process_connect(struct process *p, int in, int out, int err, struct failure *f)
{
	int result = 0;

	if (in >= 0) {
		p->in = input_new(p->ids.in, in, p->terminal, f);
		result = p->in == NULL ? -1 : 0;
	}
	// Each takes its descriptor, also when another one has failed.
	if (result < 0) {
		(void)(out >= 0 && close(out));
		(void)(err >= 0 && close(err));
		return -1;
	}
	result = connect_one(&p->out, p->ids.out, out, f);
	if (result < 0) {
		(void)(err >= 0 && close(err));
		return -1;
	}
	return connect_one(&p->err, p->ids.err, err, f);
}

// The master serves as stdin and stdout, under two descriptors, and a third one changes its size.
static int connect_terminal(struct process *p, int master, struct failure *f)
{
	int in = -1, out = -1;

	p->pty = master;
	if (fcntl(master, F_SETFL, O_NONBLOCK | O_RDWR) < 0)
		return fail_errno(f, "connect the terminal");
	if (p->ids.in != 0)
		in = fcntl(master, F_DUPFD_CLOEXEC, 0);
	if (p->ids.out != 0)
		out = fcntl(master, F_DUPFD_CLOEXEC, 0);
	if ((p->ids.in != 0 && in < 0) || (p->ids.out != 0 && out < 0)) {
		(void)fail_errno(f, "connect the terminal");
		(void)(in >= 0 && close(in));
		(void)(out >= 0 && close(out));
		return -1;
	}
	return process_connect(p, in, out, -1, f);
}

static void close_control(struct process *p)
{
	if (p->control.fd < 0)
		return;
	(void)watch_set(&p->control, 0);
	(void)close(p->control.fd);
	p->control.fd = -1;
}

// The child will not exec. Its end is awaited, and with it the answer: then nothing is left.
void process_give_up(struct process *p, const struct failure *f)
{
	p->failed = true;
	p->failure = *f;
	close_control(p);
	(void)process_signal(p, SIGKILL, NULL);
}

static void on_ready(struct process *p, int master)
{
	struct failure f;

	if (master >= 0 && connect_terminal(p, master, &f) < 0) {
		process_give_up(p, &f);
		return;
	}
	if (p->container->mount_namespace < 0) { // it was killed as soon as it was ready
		(void)fail(&f, "internal", "process %s ended before it could run", p->id);
		process_give_up(p, &f);
		return;
	}
	p->status = PROCESS_CREATED;
	p->prepared = true;
	if (p == p->container->init) {
		request_reply_pid(p->waiting, p->pid);
		p->waiting = NULL;
	} else if (process_release(p, &f) < 0) {
		process_give_up(p, &f);
	}
}

static void on_executed(struct process *p)
{
	close_control(p);
	p->status = PROCESS_RUNNING;
	request_reply_pid(p->waiting, p->pid);
	p->waiting = NULL;
}

static void control_ready(struct watch *w, uint32_t events)
{
	struct process *p = CONTAINER_OF(w, struct process, control);
	struct child_message m;
	struct failure f;
	int master;

	(void)events;
	while (p->control.fd >= 0) {
		int got = child_receive(p->control.fd, &m, &master);
		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (got == 1 && m.kind == CHILD_READY && p->status == PROCESS_PREPARING) {
			if (p == p->container->init) {
				p->container->uid = m.uid;
				p->container->gid = m.gid;
			}
			on_ready(p, master);
		} else if (got == 1 && m.kind == CHILD_FAILED) {
			process_give_up(p, &m.failure);
		} else if (got == 0 && p->status == PROCESS_STARTING) {
			on_executed(p);
		} else {
			(void)fail(&f, "internal", "process %s ended before it could run", p->id);
			process_give_up(p, &f);
		}
	}
}

int process_watch(struct process *p, pid_t pid, int pidfd, int control, struct failure *f)
{
	p->control = (struct watch){.ready = control_ready, .fd = control};
	if (watch_set(&p->control, EPOLLIN) < 0) {
		p->control.fd = -1;
		return fail_errno(f, "watch a process");
	}
	p->pid = pid;
	p->pidfd = pidfd;
	return 0;
}

int process_release(struct process *p, struct failure *f)
{
	// Limits come last: they are the program's, not the preparation's.
	if (schedule_apply(p->pid, p->process, f) < 0 || rlimits_apply(p->pid, p->process, f) < 0)
		return -1;
	p->oom_kills_before = container_check_memory(p->container);
	if (child_send(p->control.fd, &(struct child_message){.kind = CHILD_GO}, -1) < 0)
		return fail_errno(f, "speak to process %s", p->id);
	p->status = PROCESS_STARTING;
	json_free(p->spec);
	p->spec = NULL;
	p->process = NULL;
	return 0;
}

int process_signal(struct process *p, int signal, struct failure *f)
{
	if (p->status == PROCESS_EXITED || p->pidfd < 0)
		return fail(f, "busy", "process %s has ended", p->id);
	if (syscall(SYS_pidfd_send_signal, p->pidfd, signal, NULL, 0) < 0) {
		if (errno == ESRCH)
			return fail(f, "busy", "process %s has ended", p->id);
		return errno == EINVAL ? fail(f, "invalid", "no signal %d", signal) : fail_errno(f, "signal %s", p->id);
	}
	return 0;
}

int process_resize(struct process *p, unsigned rows, unsigned columns, struct failure *f)
{
	if (!p->terminal)
		return fail(f, "invalid", "process %s has no terminal", p->id);
	if (p->pty < 0)
		return fail(f, "busy", "process %s has no terminal any more", p->id);
	return terminal_resize(p->pty, rows, columns, f);
}

void process_exited(struct process *p, int code, int signal)
{
	struct timespec now;

	// What it said last counts: whether it failed to exec, or did exec before it ended.
	if (p->control.fd >= 0)
		control_ready(&p->control, EPOLLIN);
	uint64_t oom_kills = container_check_memory(p->container);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	p->exited_ns = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
	p->status = PROCESS_EXITED;
	p->signal = signal;
	p->code = signal != 0 ? 128 + signal : code;
	if (p->failed) { // it may have been killed, but that is not why
		p->signal = 0;
		p->code = strcmp(p->failure.code, "exec-not-found") == 0 ? 127 : 126;
	}
	p->oom = p->code == 128 + SIGKILL && oom_kills > p->oom_kills_before;
	if (p->pidfd >= 0)
		(void)close(p->pidfd);
	p->pidfd = -1;
	if (p->in != NULL)
		input_end(p->in);
	if (p->out != NULL)
		output_process_exited(p->out);
	if (p->err != NULL)
		output_process_exited(p->err);
	if (p->pty >= 0)
		(void)close(p->pty);
	p->pty = -1;
	if (!p->failed)
		event_process_exited(p);
}

void process_free(struct process *p)
{
	struct process **at = &p->container->init;
	struct failure f;

	// Deleted while it was being made: whoever asked for it is still to be answered.
	if (p->waiting != NULL) {
		(void)fail(&f, "internal", "process %s ended before it could run", p->id);
		request_fail(p->waiting, &f);
	}
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	close_control(p);
	if (p->pidfd >= 0)
		(void)close(p->pidfd);
	if (p->pty >= 0)
		(void)close(p->pty);
	input_free(p->in);
	output_free(p->out);
	output_free(p->err);
	json_free(p->spec);
	free(p);
}

static const char *status_name(const struct process *p)
{
	switch (p->status) {
	case PROCESS_EXITED:
		return "exited";
	case PROCESS_RUNNING:
	case PROCESS_STARTING:
		return "running";
	default:
		return "created";
	}
}

void process_state(const struct process *p, struct text *t)
{
	text_printf(t, "{\"process\":\"%s\",\"pid\":%d,\"status\":\"%s\"", p->id, p->pid, status_name(p));
	if (p->status == PROCESS_EXITED)
		text_printf(t, ",\"code\":%d,\"signal\":%d,\"oom\":%s,\"exited_ns\":%llu", p->code, p->signal,
			    p->oom ? "true" : "false", (unsigned long long)p->exited_ns);
	if (p->in != NULL) {
		text_printf(t, ",\"stdin\":");
		input_state(p->in, t);
	}
	if (p->out != NULL) {
		text_printf(t, ",\"stdout\":");
		output_state(p->out, t);
	}
	if (p->err != NULL) {
		text_printf(t, ",\"stderr\":");
		output_state(p->err, t);
	}
	text_printf(t, "}");
}
