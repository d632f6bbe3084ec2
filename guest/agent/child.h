// SPDX-License-Identifier: Apache-2.0
// What a child does between clone and exec, and how it and the agent talk meanwhile.
#ifndef HYPERCELL_CHILD_H
#define HYPERCELL_CHILD_H

#include <stdnoreturn.h>

#include "failure.h"
#include "launch.h"

// One message over the SOCK_SEQPACKET socket.
struct child_message {
	enum {
		CHILD_MAPPED = 1, // to the child: its user namespace has its maps
		CHILD_READY,      // to the agent: prepared; with a terminal the pty's master comes along
		CHILD_GO,         // to the child: exec
		CHILD_FAILED,     // to the agent: and its end
	} kind;
	uint32_t uid, gid; // with CHILD_READY: who the process will be
	struct failure failure;
};

noreturn void child_run(struct launch *l);

// Sends a message, with a descriptor unless that is -1. Returns 0 or -1 with errno.
int child_send(int socket, const struct child_message *m, int descriptor);
// Receives one; *descriptor is -1 or the receiver's. Returns 1, 0 at the end, or -1 with errno.
int child_receive(int socket, struct child_message *m, int *descriptor);

#endif
