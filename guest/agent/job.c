// SPDX-License-Identifier: Apache-2.0
#include "job.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "container_of.h"
#include "frame.h"
#include "input.h"
#include "log.h"
#include "path.h"
#include "write_all.h"

// What the child writes: a head, and then the answer or a struct failure.
struct head {
	uint32_t failed;
	uint32_t length;
};

struct job {
	struct job *next;
	pid_t pid;
	struct container *container;
	struct request *request;
	struct watch result;
	struct text received;
	uint32_t input;
	bool exited;
};

enum { RESULT = 3, DESCRIPTOR = 4, ABOVE_ALL = 16 };

static struct job *jobs;

static void free_job(struct job *j)
{
	struct container *c = j->container;
	struct failure f;

	for (struct job **at = &jobs; *at != NULL; at = &(*at)->next) {
		if (*at == j) {
			*at = j->next;
			break;
		}
	}
	if (j->request != NULL) {
		(void)fail(&f, "internal", "the work ended before it was done");
		request_fail(j->request, &f);
	}
	if (j->input != 0)
		input_free(CONTAINER_OF(stream_find(j->input), struct input, stream));
	text_free(&j->received);
	free(j);
	if (c != NULL)
		container_job_ended(c);
}

static void answer_request(struct job *j, bool failed, const char *data, size_t n)
{
	struct text t = {0};
	struct failure f = {.code = "internal"};

	if (failed) {
		if (n == sizeof f)
			memcpy(&f, data, n);
		f.code[sizeof f.code - 1] = f.message[sizeof f.message - 1] = '\0';
		if (j->request != NULL)
			request_fail(j->request, &f);
		else
			log_event(LOG_WARNING, "%s: %s", f.code, f.message);
	} else if (j->request != NULL) {
		text_append(&t, data, n);
		request_reply(j->request, &t);
	}
	j->request = NULL;
}

// Acts on every complete message that was received.
static void take_messages(struct job *j)
{
	struct head head;

	while (j->received.length >= sizeof head) {
		memcpy(&head, j->received.data, sizeof head);
		if (j->received.length - sizeof head < head.length)
			return;
		answer_request(j, head.failed != 0, j->received.data + sizeof head, head.length);
		j->received.length -= sizeof head + head.length;
		memmove(j->received.data, j->received.data + sizeof head + head.length, j->received.length);
	}
}

static void result_ready(struct watch *w, uint32_t events)
{
	struct job *j = CONTAINER_OF(w, struct job, result);
	char buffer[16 << 10];

	(void)events;
	ssize_t n = read(w->fd, buffer, sizeof buffer);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		text_append(&j->received, buffer, (size_t)n);
		take_messages(j);
		if (j->received.length <= 2 * FRAME_PAYLOAD_MAX)
			return;
	}
	(void)watch_set(w, 0);
	(void)close(w->fd);
	w->fd = -1;
	if (j->exited)
		free_job(j);
}

bool job_exited(pid_t pid)
{
	for (struct job *j = jobs; j != NULL; j = j->next) {
		if (j->pid != pid)
			continue;
		j->exited = true;
		if (j->result.fd < 0)
			free_job(j);
		return true;
	}
	return false;
}

void job_kill_all(const struct container *c)
{
	for (struct job *j = jobs; j != NULL; j = j->next) {
		if (j->container == c && !j->exited)
			(void)kill(j->pid, SIGKILL);
	}
}

static void send_result(int fd, bool failed, const void *data, size_t n)
{
	struct head head = {failed, (uint32_t)n};

	if (write_all(fd, &head, sizeof head) != 0 || write_all(fd, data, n) != 0)
		_exit(1);
}

static void early_answer(struct job_call *call, struct text *answer)
{
	send_result(call->result, false, answer->data, answer->length);
	text_free(answer);
}

// Of the agent's descriptors only those of the job stay.
static int keep_descriptors(struct job_call *call, int result)
{
	int wanted[2] = {result, call->descriptor < 0 ? result : call->descriptor};

	for (int i = 0; i < 2; i++) {
		wanted[i] = fcntl(wanted[i], F_DUPFD_CLOEXEC, ABOVE_ALL);
		if (wanted[i] < 0)
			return -1;
	}
	if (dup2(wanted[0], RESULT) < 0 || dup2(wanted[1], DESCRIPTOR) < 0)
		return -1;
	call->result = RESULT;
	call->descriptor = DESCRIPTOR;
	return (int)syscall(SYS_close_range, DESCRIPTOR + 1, ~0U, 0);
}

static _Noreturn void run_child(struct job_call *call, int result)
{
	struct failure f = {.code = "internal"};
	struct text answer = {0};

	// It may be chosen when memory runs out, and nobody in the container may look into it.
	(void)path_write(AT_FDCWD, "/proc/self/oom_score_adj", "0");
	(void)prctl(PR_SET_DUMPABLE, 0);
	int entered = call->enter ? setns(call->container->mount_namespace, CLONE_NEWNS) : 0;
	int failed = keep_descriptors(call, result);
	if (entered < 0 || failed < 0)
		failed = fail_errno(&f, "prepare a job");
	else
		failed = call->run(call, &answer, &f);
	if (failed == 0 && answer.failed)
		failed = fail(&f, "internal", "the answer is too large");
	if (failed < 0)
		send_result(RESULT, true, &f, sizeof f);
	else if (answer.length > 0)
		send_result(RESULT, false, answer.data, answer.length);
	_exit(0);
}

static int start_child(struct job *j, struct job_call *call, struct failure *f)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return fail_errno(f, "make a pipe");
	j->result = (struct watch){.ready = result_ready, .fd = fds[0]};
	j->pid = -1;
	if (watch_set(&j->result, EPOLLIN) == 0) {
		j->pid = fork();
		if (j->pid == 0)
			run_child(call, fds[1]);
	}
	if (j->pid < 0) {
		(void)fail_errno(f, "start a job");
		(void)watch_set(&j->result, 0);
		(void)close(fds[0]);
	}
	(void)close(fds[1]);
	return j->pid < 0 ? -1 : 0;
}

int job_start(struct request *r, struct job_call *call, struct failure *f)
{
	struct job *j = calloc(1, sizeof *j);

	if (j == NULL) {
		(void)(call->descriptor >= 0 && close(call->descriptor));
		return fail(f, "internal", "out of memory");
	}
	call->answer = early_answer;
	int result = start_child(j, call, f);
	if (call->descriptor >= 0)
		(void)close(call->descriptor);
	if (result < 0) {
		free(j);
		return -1;
	}
	j->input = call->input;
	j->request = r;
	j->container = call->container;
	if (j->container != NULL)
		j->container->jobs++;
	j->next = jobs;
	jobs = j;
	return 0;
}
