// SPDX-License-Identifier: Apache-2.0
// The one event loop: epoll, timers and work put off to the end of a pass. It blocks when there is
// nothing to do and never polls.
#ifndef HYPERCELL_LOOP_H
#define HYPERCELL_LOOP_H

#include <stdbool.h>
#include <stdint.h>

// A descriptor in the loop. Embedded in its owner; must not move while it is watched.
struct watch {
	void (*ready)(struct watch *w, uint32_t events);
	int fd;
	uint32_t events; // as registered; 0 = not registered
};

// A one-shot timer. Embedded in its owner; a zeroed one with `fired` set is idle.
struct timer {
	void (*fired)(struct timer *t);
	struct timer *next;
	uint64_t due_ns; // CLOCK_MONOTONIC; 0 = idle
};

// Work that must be done once, soon, but not now: run at the end of the pass, before blocking again.
struct later {
	void (*run)(struct later *l);
	struct later *next;
	bool queued;
};

int loop_init(void);
// Runs until loop_stop. Returns -1 only if epoll itself fails.
int loop_run(void);
void loop_stop(void);

// events 0 removes it. The descriptor must be removed before it is closed. -1 without memory.
int watch_set(struct watch *w, uint32_t events);
void timer_set(struct timer *t, uint64_t delay_ns);
void timer_clear(struct timer *t);
void later_do(struct later *l);
void later_cancel(struct later *l);

uint64_t loop_now_ns(void);

#endif
