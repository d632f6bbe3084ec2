// SPDX-License-Identifier: Apache-2.0
#include "loop.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 32 };

static int epoll_fd = -1;
static bool stopping;
static struct timer *timers; // sorted by due_ns
static struct later *queue, **queue_end = &queue;

// The events being handed out: a watch that is removed meanwhile must not be called any more.
static struct epoll_event batch[BATCH];
static int batch_count;

int loop_init(void)
{
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return epoll_fd < 0 ? -1 : 0;
}

void loop_stop(void)
{
	stopping = true;
}

uint64_t loop_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

int watch_set(struct watch *w, uint32_t events)
{
	if (events == w->events)
		return 0;
	if (events == 0) {
		(void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
		for (int i = 0; i < batch_count; i++) {
			if (batch[i].data.ptr == w)
				batch[i].data.ptr = NULL;
		}
	} else {
		struct epoll_event event = {.events = events, .data.ptr = w};
		if (epoll_ctl(epoll_fd, w->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, w->fd, &event) < 0)
			return -1;
	}
	w->events = events;
	return 0;
}

void timer_set(struct timer *t, uint64_t delay_ns)
{
	struct timer **at = &timers;

	timer_clear(t);
	t->due_ns = loop_now_ns() + delay_ns;
	while (*at != NULL && (*at)->due_ns <= t->due_ns)
		at = &(*at)->next;
	t->next = *at;
	*at = t;
}

void timer_clear(struct timer *t)
{
	if (t->due_ns == 0)
		return;
	for (struct timer **at = &timers; *at != NULL; at = &(*at)->next) {
		if (*at == t) {
			*at = t->next;
			break;
		}
	}
	t->due_ns = 0;
}

void later_do(struct later *l)
{
	if (l->queued)
		return;
	l->queued = true;
	l->next = NULL;
	*queue_end = l;
	queue_end = &l->next;
}

void later_cancel(struct later *l)
{
	if (!l->queued)
		return;
	for (struct later **at = &queue; *at != NULL; at = &(*at)->next) {
		if (*at == l) {
			*at = l->next;
			if (queue_end == &l->next)
				queue_end = at;
			break;
		}
	}
	l->queued = false;
}

static void run_timers(void)
{
	uint64_t now = timers == NULL ? 0 : loop_now_ns();

	while (timers != NULL && timers->due_ns <= now) {
		struct timer *t = timers;
		timers = t->next;
		t->due_ns = 0;
		t->fired(t);
	}
}

// Runs what is queued now; what that queues again waits for the next pass, behind new events.
static void run_queue(void)
{
	static struct later mark = {.queued = true};

	if (queue == NULL)
		return;
	mark.next = NULL;
	*queue_end = &mark;
	queue_end = &mark.next;
	while (queue != &mark) {
		struct later *l = queue;
		queue = l->next;
		l->queued = false;
		l->run(l);
	}
	queue = mark.next;
	if (queue == NULL)
		queue_end = &queue;
}

static int timeout_ms(void)
{
	if (queue != NULL)
		return 0;
	if (timers == NULL)
		return -1;
	uint64_t now = loop_now_ns();
	if (timers->due_ns <= now)
		return 0;
	uint64_t ms = (timers->due_ns - now + 999999) / 1000000;
	return ms > 3600000 ? 3600000 : (int)ms;
}

int loop_run(void)
{
	stopping = false;
	while (!stopping) {
		int n = epoll_wait(epoll_fd, batch, BATCH, timeout_ms());
		if (n < 0 && errno != EINTR)
			return -1;
		batch_count = n < 0 ? 0 : n;
		for (int i = 0; i < batch_count; i++) {
			struct watch *w = batch[i].data.ptr;
			if (w != NULL)
				w->ready(w, batch[i].events);
		}
		batch_count = 0;
		run_timers();
		run_queue();
	}
	return 0;
}
