// SPDX-License-Identifier: Apache-2.0
#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cgroup_tree.h"
#include "path.h"
#include "resources.h"

#define CONTAINERS CGROUP_MOUNT "/containers"
#define AGENT CGROUP_MOUNT "/agent"

enum { KILL_ATTEMPTS = 100, WAIT_STEP_MS = 5, FREEZE_TIMEOUT_MS = 2000, REMOVE_TIMEOUT_MS = 1000 };

static void sleep_ms(long ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	(void)nanosleep(&t, NULL);
}

static int open_directory(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

// One write for all, which walks the tree once: under emulation each walk costs milliseconds of the boot. It may name
// only what the kernel has, or it fails as a whole.
static void enable_controllers(int directory)
{
	static const char *const wanted[] = {"cpu", "cpuset", "io", "memory", "pids", "hugetlb"};
	char present[256];
	char request[256] = "";
	char *rest = NULL;

	if (path_read(directory, "cgroup.controllers", present, sizeof present) < 0)
		return;
	for (char *name = strtok_r(present, " \n", &rest); name != NULL; name = strtok_r(NULL, " \n", &rest)) {
		for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
			size_t used = strlen(request);
			if (strcmp(name, wanted[i]) == 0)
				(void)snprintf(request + used, sizeof request - used, "+%s ", name);
		}
	}
	if (*request != '\0')
		(void)path_write(directory, "cgroup.subtree_control", request);
}

static int mount_cgroup2(struct failure *f)
{
	if (access(CGROUP_MOUNT "/cgroup.controllers", F_OK) == 0)
		return 0;
	if (mount("cgroup2", CGROUP_MOUNT, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME,
		  "nsdelegate,memory_recursiveprot") != 0 &&
	    mount("cgroup2", CGROUP_MOUNT, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME, NULL) != 0)
		return fail_errno(f, "mounting cgroup2");
	return 0;
}

// Only leaves may hold processes once controllers are enabled above them.
static int enter_agent(struct failure *f)
{
	char pid[16];

	(void)snprintf(pid, sizeof pid, "%d", (int)getpid());
	int agent = open_directory(AGENT);
	if (agent < 0 || path_write(agent, "cgroup.procs", pid) != 0) {
		fail_errno(f, "moving the agent to its cgroup");
		if (agent >= 0)
			close(agent);
		return -1;
	}
	return agent;
}

int cgroup_setup(struct failure *f)
{
	if (mount_cgroup2(f) != 0)
		return -1;
	if ((mkdir(AGENT, 0755) != 0 && errno != EEXIST) || (mkdir(CONTAINERS, 0755) != 0 && errno != EEXIST))
		return fail_errno(f, "making the agent's cgroups");
	int agent = enter_agent(f);
	if (agent < 0)
		return -1;
	int root = open_directory(CGROUP_MOUNT), containers = open_directory(CONTAINERS);
	if (root >= 0)
		enable_controllers(root);
	if (containers >= 0)
		enable_controllers(containers);
	// The agent must answer while containers use all that there is. Absent controllers are no error.
	(void)path_write(agent, "cpu.weight", "10000");
	(void)path_write(agent, "memory.min", "16777216");
	close(agent);
	if (root >= 0)
		close(root);
	if (containers < 0)
		return fail_errno(f, CONTAINERS);
	close(containers);
	return 0;
}

static int container_path(const char *id, char path[PATH_MAX], struct failure *f)
{
	if (*id == '\0' || strcmp(id, ".") == 0 || strcmp(id, "..") == 0 || strchr(id, '/') != NULL)
		return fail(f, "invalid", "bad cgroup name");
	(void)snprintf(path, PATH_MAX, CONTAINERS "/%s", id);
	return 0;
}

int cgroup_create(const char *id, const struct json *resources, struct failure *f)
{
	char path[PATH_MAX];

	if (container_path(id, path, f) != 0)
		return -1;
	if (mkdir(path, 0755) != 0)
		return errno == EEXIST ? fail(f, "exists", "cgroup %s is there already", id)
				       : fail_errno(f, "making the cgroup of %s", id);
	int fd = open_directory(path);
	if (fd < 0)
		fail_errno(f, "opening the cgroup of %s", id);
	else if (resources_apply(fd, resources, true, f) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	(void)rmdir(path);
	return -1;
}

int cgroup_update(int cgroup, const struct json *resources, struct failure *f)
{
	return resources_apply(cgroup, resources, false, f);
}

int cgroup_open_for_exec(int cgroup, pid_t init, struct failure *f)
{
	char name[64], line[PATH_MAX], path[PATH_MAX + 64];

	if (path_read(cgroup, "cgroup.subtree_control", line, sizeof line) <= 1) {
		int fd = fcntl(cgroup, F_DUPFD_CLOEXEC, 3);
		return fd >= 0 ? fd : fail_errno(f, "cgroup");
	}
	// The container enabled controllers for sub-cgroups. /proc/<pid>/cgroup says "0::/containers/<id>/init.scope".
	(void)snprintf(name, sizeof name, "/proc/%d/cgroup", (int)init);
	if (path_read(AT_FDCWD, name, line, sizeof line) < 0 || strncmp(line, "0::/containers/", 15) != 0 ||
	    strstr(line, "/../") != NULL)
		return fail(f, "busy", "the cgroup of process %d cannot be told", (int)init);
	line[strcspn(line, "\n")] = '\0';
	(void)snprintf(path, sizeof path, CGROUP_MOUNT "%s", line + 3);
	int fd = open_directory(path);
	return fd >= 0 ? fd : fail_errno(f, "opening the cgroup of process %d", (int)init);
}

static void kill_process(int directory, pid_t pid, void *argument)
{
	(void)directory;
	(void)kill(pid, *(int *)argument);
}

int cgroup_kill(int cgroup, struct failure *f)
{
	int signal = SIGKILL;

	if (path_write(cgroup, "cgroup.kill", "1") == 0)
		return 0;
	if (errno != ENOENT)
		return fail_errno(f, "cgroup.kill");
	// Before Linux 5.14: until a pass finds nobody, as they may fork meanwhile.
	for (int attempt = 0; attempt < KILL_ATTEMPTS; attempt++) {
		(void)cgroup_tree_processes(cgroup, kill_process, &signal);
		if (!cgroup_is_populated(cgroup))
			return 0;
		sleep_ms(1);
	}
	return fail(f, "busy", "processes of the container do not die");
}

int cgroup_signal(int cgroup, int signal, struct failure *f)
{
	if (signal == SIGKILL)
		return cgroup_kill(cgroup, f);
	(void)cgroup_tree_processes(cgroup, kill_process, &signal);
	return 0;
}

bool cgroup_is_populated(int cgroup)
{
	return cgroup_tree_number(cgroup, "cgroup.events", "populated") != 0;
}

bool cgroup_is_frozen(int cgroup)
{
	return cgroup_tree_number(cgroup, "cgroup.events", "frozen") != 0;
}

int cgroup_freeze(int cgroup, bool frozen, struct failure *f)
{
	if (path_write(cgroup, "cgroup.freeze", frozen ? "1" : "0") != 0)
		return fail_errno(f, "cgroup.freeze");
	for (int waited = 0; cgroup_is_frozen(cgroup) != frozen; waited += WAIT_STEP_MS) {
		if (waited >= FREEZE_TIMEOUT_MS) {
			if (frozen)
				(void)path_write(cgroup, "cgroup.freeze", "0");
			return fail(f, "busy", "the container's processes do not %s", frozen ? "stop" : "go on");
		}
		sleep_ms(waited == 0 ? 1 : WAIT_STEP_MS);
	}
	return 0;
}

int cgroup_open_memory_events(int cgroup)
{
	return openat(cgroup, "memory.events", O_RDONLY | O_CLOEXEC);
}

uint64_t cgroup_oom_kills(int cgroup)
{
	return cgroup_tree_number(cgroup, "memory.events", "oom_kill");
}

struct pid_list {
	pid_t *pids;
	size_t length, max;
};

static void add_pid(int directory, pid_t pid, void *argument)
{
	struct pid_list *list = argument;

	(void)directory;
	if (list->length < list->max)
		list->pids[list->length++] = pid;
}

size_t cgroup_pids(int cgroup, pid_t *pids, size_t max)
{
	struct pid_list list = {.pids = pids, .max = max};

	(void)cgroup_tree_processes(cgroup, add_pid, &list);
	return list.length;
}

int cgroup_remove(const char *id, struct failure *f)
{
	char path[PATH_MAX];

	if (container_path(id, path, f) != 0)
		return -1;
	for (int waited = 0;; waited += WAIT_STEP_MS) {
		int fd = open_directory(path);
		if (fd >= 0) {
			cgroup_tree_remove_children(fd);
			close(fd);
		}
		if (rmdir(path) == 0 || errno == ENOENT)
			return 0;
		if (errno != EBUSY || waited >= REMOVE_TIMEOUT_MS)
			return errno == EBUSY ? fail(f, "busy", "the cgroup of %s still holds processes", id)
					      : fail_errno(f, "removing the cgroup of %s", id);
		sleep_ms(WAIT_STEP_MS);
	}
}
