// SPDX-License-Identifier: Apache-2.0
// The containers of this VM.
#ifndef HYPERCELL_CONTAINER_H
#define HYPERCELL_CONTAINER_H

#include <stdbool.h>
#include <stdint.h>

#include "failure.h"
#include "loop.h"
#include "process.h"
#include "request.h"
#include "rootfs.h"
#include "seccomp.h"

#define CONTAINER_DIRECTORY "/run/hypercell/containers"

struct container {
	struct container *next;
	char id[NAME_SIZE];
	struct process *init; // first of the processes; never NULL once it is in the table
	struct seccomp_filter filter;
	struct rootfs root;
	char files[160]; // what files_write() wrote, or empty
	int cgroup;      // its directory
	int mount_namespace, network_namespace;
	uint64_t namespaces; // CLONE_NEW*: those that are not the agent's
	uint32_t uid, gid;   // of init
	struct watch memory_events;
	uint64_t oom_kills;       // reported so far
	bool deleting;           // as soon as nothing of it lives
	struct request *deleter; // who waits for that
	unsigned jobs;            // of the agent inside it
};

extern struct container *containers;

struct container *container_find(const char *id);
// The container that the member of a request names; NULL with a failure.
struct container *container_named(const struct json *body, struct failure *f);
// The process that the members of a request name; NULL with a failure.
struct process *container_process_named(const struct json *body, struct failure *f);
// Its init has not ended.
bool container_is_alive(const struct container *c);
const char *container_status(const struct container *c);

// Watches for kills by the kernel for want of memory.
void container_watch_memory(struct container *c);
// How many kills there were, reporting new ones.
uint64_t container_check_memory(struct container *c);
// A process of it ended, or a job inside it: answers who waits for that, ends the others with init, and goes on with a
// deletion. May free the process and the container.
void container_process_ended(struct process *p);
void container_job_ended(struct container *c);
// Deletes it when nothing of it lives any more, and answers then. r may be NULL.
void container_delete(struct container *c, struct request *r);
// Gives back all that it has, complete or not; its processes must be gone.
int container_destroy(struct container *c, struct failure *f);

#endif
