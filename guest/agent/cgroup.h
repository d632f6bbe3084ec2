// SPDX-License-Identifier: Apache-2.0
// cgroup v2 in the guest (Documentation/admin-guide/cgroup-v2.rst).
//   /sys/fs/cgroup/agent             PID 1, with a high cpu weight
//   /sys/fs/cgroup/containers/<id>   one of each container
// Everything here runs in the agent, unless a comment says "child". A container is known by the descriptor of its
// cgroup directory (O_RDONLY | O_DIRECTORY | O_CLOEXEC).
#ifndef HYPERCELL_CGROUP_H
#define HYPERCELL_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "failure.h"
#include "json.h"
#include "text.h"

#define CGROUP_MOUNT "/sys/fs/cgroup"

// Once, at the agent's start, after /sys is mounted: mounts cgroup2 at CGROUP_MOUNT if nothing is there, moves the
// agent (getpid()) to its leaf and enables every controller of cpu, cpuset, io, memory, pids, hugetlb that the kernel
// has.
int cgroup_setup(struct failure *f);

// Makes containers/<id> and applies an OCI linux.resources object (NULL: none). Returns its directory's
// descriptor, for clone3's CLONE_INTO_CGROUP and the functions below; -1 with nothing left behind. An existing one is
// `exists`. Note for cgroup namespaces: clone3 computes the namespace's root from the *parent's* cgroup, so the child
// must call unshare(CLONE_NEWCGROUP) itself once it runs in its cgroup; do not pass CLONE_NEWCGROUP to clone3.
int cgroup_create(const char *id, const struct json *resources, struct failure *f);

// Applies an OCI linux.resources object to an existing cgroup; members that are missing keep their value.
// A controller that the kernel does not have is `unsupported` when the member asks for a limit.
int cgroup_update(int cgroup, const struct json *resources, struct failure *f);

// The directory into which a new process of the container must be cloned: usually `cgroup` itself (duplicated); if the
// container has made sub-cgroups with controllers (systemd in a container), which leaves no room for processes
// at the top, the cgroup of `init`. -1 with f filled.
int cgroup_open_for_exec(int cgroup, pid_t init, struct failure *f);

// SIGKILL to every process, nested cgroups included. Does not wait for their ends.
int cgroup_kill(int cgroup, struct failure *f);

// Sends `signal` to every process, nested cgroups included, pids as the agent sees them.
int cgroup_signal(int cgroup, int signal, struct failure *f);

// Freezes or thaws, and waits until the kernel says so, at most 2 s (else `busy`, and a freeze is taken back).
int cgroup_freeze(int cgroup, bool frozen, struct failure *f);
bool cgroup_is_frozen(int cgroup);

// Is any process (not zombies) left in it or below?
bool cgroup_is_populated(int cgroup);

// memory.events, open for poll(2) with POLLPRI: it fires when a counter changed; then compare cgroup_oom_kills().
// -1 without the memory controller.
int cgroup_open_memory_events(int cgroup);
// How many processes the kernel has killed for memory, nested ones included.
uint64_t cgroup_oom_kills(int cgroup);

// Pids (the agent's view) of all processes, nested included; at most `max`. Their number.
size_t cgroup_pids(int cgroup, pid_t *pids, size_t max);

// Appends the members "cpu", "memory", "pids" and "io" of container.stats, without the enclosing braces:
//   "cpu":{…},"memory":{…},"pids":{…},"io":[…]
void cgroup_stats(int cgroup, struct text *json);
// Appends the machine's members of container.stats: "cpus":n,"system_cpu_ns":n,"memory_total":n
void cgroup_machine_stats(struct text *json);

// Removes containers/<id> and all below it. Its processes must have been killed and reaped; waits for late ones at
// most 1 s. A missing cgroup is success. The caller closes its descriptor.
int cgroup_remove(const char *id, struct failure *f);

#endif
