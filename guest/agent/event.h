// SPDX-License-Identifier: Apache-2.0
// EVENT frames. Some may be lost while there is no host: it asks for `state` when it is back.
#ifndef HYPERCELL_EVENT_H
#define HYPERCELL_EVENT_H

struct process;

void event_log(const char *level, const char *message);
void event_container_oom(const char *container);
void event_process_exited(const struct process *p);

// After a greeting: the exits that no host has reaped, once a connection.
void event_repeat_exits(void);

#endif
