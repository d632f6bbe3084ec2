// SPDX-License-Identifier: Apache-2.0
// Work that may take long or hang on what a tenant made (a file system in user space, a slow disk): done in a forked
// child of the agent, never in the loop.
#ifndef HYPERCELL_JOB_H
#define HYPERCELL_JOB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "container.h"
#include "failure.h"
#include "request.h"
#include "text.h"

struct job_call {
	// In the child. Appends the answer, or fails.
	int (*run)(struct job_call *call, struct text *answer, struct failure *f);
	// With it, an early answer: sends what was appended, and goes on. For run to call.
	void (*answer)(struct job_call *call, struct text *answer);
	struct container *container; // or NULL
	bool enter;                  // its mount namespace, with "/" its root
	int descriptor;              // the only one kept in the child; the agent's copy is closed; -1 = none
	uint32_t input;              // the input stream that ends with it; 0 = none
	const struct json *body;     // of the request
	int result;                  // the child's end, for `answer`
};

// Starts it; the request is answered with what it says. -1 has started nothing.
int job_start(struct request *r, struct job_call *call, struct failure *f);
// SIGKILL to those inside a container.
void job_kill_all(const struct container *c);
// A child of the agent ended. Whether it was a job.
bool job_exited(pid_t pid);

#endif
