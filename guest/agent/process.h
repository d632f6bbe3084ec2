// SPDX-License-Identifier: Apache-2.0
// One process that the host asked for: a container's init, or one exec'd beside it.
#ifndef HYPERCELL_PROCESS_H
#define HYPERCELL_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "failure.h"
#include "input.h"
#include "loop.h"
#include "output.h"
#include "request.h"
#include "text.h"

enum { NAME_SIZE = 65 };

enum process_status {
	PROCESS_PREPARING, // the child builds its world
	PROCESS_CREATED,   // it is ready, and held
	PROCESS_STARTING,  // it was let go, and has not exec'd yet
	PROCESS_RUNNING,
	PROCESS_EXITED,
};

struct container;

// Streams by the ids of the host; 0 = none.
struct process_streams {
	uint32_t in, out, err;
};

struct process {
	struct process *next; // of its container; the first is init
	struct container *container;
	char id[NAME_SIZE];
	enum process_status status;
	pid_t pid;
	int pidfd;
	int code, signal;
	bool oom;
	bool prepared; // its child was ready
	bool failed;   // it never ran, because of `failure`
	struct failure failure;
	uint64_t exited_ns;
	uint64_t oom_kills_before;
	bool terminal;
	int pty; // the master, for its size; -1 = none
	struct process_streams ids;
	struct input *in;
	struct output *out, *err;
	struct watch control; // the held child
	struct json *spec;    // the request that made it, until it is let go
	const struct json *process; // in it: the OCI process
	struct request *waiting; // for the next step: prepared, or exec'd; answered at the latest when it ends
};

// Makes a process of a container, without a child.
struct process *process_new(struct container *c, const char *id, struct failure *f);
// Streams from the child's pipes, which are taken. -1 means the pipes are all closed.
int process_connect(struct process *p, int in, int out, int err, struct failure *f);
// Its child runs; control is the socket to it.
int process_watch(struct process *p, pid_t pid, int pidfd, int control, struct failure *f);
// Lets a created process exec.
int process_release(struct process *p, struct failure *f);
// The child will not exec. Its end is awaited, and the request answered with the failure then.
void process_give_up(struct process *p, const struct failure *f);
int process_signal(struct process *p, int signal, struct failure *f);
int process_resize(struct process *p, unsigned rows, unsigned columns, struct failure *f);
// It ended, as waitid tells. It stays, as exited, until it is reaped by the host.
void process_exited(struct process *p, int code, int signal);
// Closes and frees; takes it out of its container.
void process_free(struct process *p);
void process_state(const struct process *p, struct text *t);

#endif
