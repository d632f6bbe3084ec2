// SPDX-License-Identifier: Apache-2.0
#include "protect.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "cgroup.h"
#include "output.h"
#include "path.h"

// The kernel allows one thread for each 128 KiB of memory. A quarter of that for one container, and all but a
// reserve for all of them together.
static const unsigned long long BYTES_A_THREAD = 128 << 10;
static const unsigned long long AGENT_THREADS = 64;
static const char AGENT_MEMORY[] = "8388608";
static const unsigned long long SMALL_MACHINE = 128ULL << 20;

static unsigned long long memory_total(void)
{
	struct sysinfo info;

	return sysinfo(&info) < 0 ? 0 : (unsigned long long)info.totalram * info.mem_unit;
}

static unsigned long long threads_max(void)
{
	char text[32];
	unsigned long long threads = memory_total() / BYTES_A_THREAD;

	if (path_read(AT_FDCWD, "/proc/sys/kernel/threads-max", text, sizeof text) > 0)
		threads = strtoull(text, NULL, 10);
	return threads < 256 ? 256 : threads;
}

static void set_pids(int directory, const char *file, unsigned long long limit)
{
	char text[32];

	(void)snprintf(text, sizeof text, "%llu", limit);
	(void)path_write(directory, file, text);
}

int protect_agent(struct failure *f)
{
	if (path_write(AT_FDCWD, "/proc/self/oom_score_adj", "-1000") < 0)
		return fail_errno(f, "protect the agent from being killed for memory");
	// A kernel may lack these controllers; then there is nothing to set.
	(void)path_write(AT_FDCWD, CGROUP_MOUNT "/agent/memory.min", AGENT_MEMORY);
	set_pids(AT_FDCWD, CGROUP_MOUNT "/containers/pids.max", threads_max() - AGENT_THREADS);
	if (memory_total() < SMALL_MACHINE)
		output_set_ring_size(64 << 10);
	return 0;
}

void protect_from_fork_bombs(int cgroup, const struct json *resources)
{
	if (!json_is_number(json_get(json_get(resources, "pids"), "limit")))
		set_pids(cgroup, "pids.max", threads_max() / 4);
}
