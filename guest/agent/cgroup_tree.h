// SPDX-License-Identifier: Apache-2.0
// Reading and walking cgroup directories. A container may nest cgroups as it likes: walks are bounded in depth.
#ifndef HYPERCELL_CGROUP_TREE_H
#define HYPERCELL_CGROUP_TREE_H

#include <stdint.h>
#include <sys/types.h>

// The number behind "<key> " at the beginning of a line of a flat-keyed file; 0 if there is none.
uint64_t cgroup_tree_number(int cgroup, const char *file, const char *key);

// Calls visit for each process of the cgroup and of those below it. Pids that the caller cannot see are left out.
void cgroup_tree_processes(int cgroup, void (*visit)(int cgroup, pid_t pid, void *argument), void *argument);

// Removes every cgroup below this one that can be removed.
void cgroup_tree_remove_children(int cgroup);

#endif
