// SPDX-License-Identifier: Apache-2.0
// The agent itself enters a joined namespace for the moment of a clone: a child in a new user namespace could
// not enter one that belongs to another any more. It is single-threaded and comes back at once.
#include "namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "container.h"
#include "log.h"
#include "member.h"
#include "path.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

static const struct {
	const char *name; // of the specification
	const char *file; // in /proc/self/ns; for pid and time the one that children get
	uint64_t flag;
} types[NAMESPACE_TYPES] = {
	{"pid", "pid", CLONE_NEWPID},          {"network", "net", CLONE_NEWNET}, {"mount", "mnt", CLONE_NEWNS},
	{"ipc", "ipc", CLONE_NEWIPC},          {"uts", "uts", CLONE_NEWUTS},     {"user", "user", CLONE_NEWUSER},
	{"cgroup", "cgroup", CLONE_NEWCGROUP}, {"time", "time", CLONE_NEWTIME},
};

static int own[NAMESPACE_TYPES];
static uint64_t away; // what the agent is not at home in

int namespaces_init(struct failure *f)
{
	char path[64];

	for (unsigned i = 0; i < NAMESPACE_TYPES; i++) {
		(void)snprintf(path, sizeof path, "/proc/self/ns/%s", types[i].file);
		own[i] = open(path, O_RDONLY | O_CLOEXEC);
		if (own[i] < 0 && errno != ENOENT) // a kernel may lack a type
			return fail_errno(f, "open %s", path);
	}
	return 0;
}

static int parse_join(unsigned type, const char *path, struct namespaces *out, struct failure *f)
{
	static const char prefix[] = "container:";

	if (strncmp(path, prefix, sizeof prefix - 1) != 0)
		return fail(f, "invalid", "linux.namespaces: path %s is not container:<id>", path);
	if (types[type].flag == CLONE_NEWNS || types[type].flag == CLONE_NEWUSER)
		return fail(f, "unsupported", "linux.namespaces: a container cannot join another's %s namespace",
			    types[type].name);
	const struct container *target = container_find(path + sizeof prefix - 1);
	if (target == NULL)
		return fail(f, "not-found", "linux.namespaces: no container %.64s", path + sizeof prefix - 1);
	if (!container_is_alive(target))
		return fail(f, "busy", "linux.namespaces: container %s is not running", target->id);
	out->join |= types[type].flag;
	out->joined[out->joined_length].flag = types[type].flag;
	out->joined[out->joined_length].pidfd = target->init->pidfd;
	out->joined_length++;
	return 0;
}

static int parse_one(const struct json *entry, struct namespaces *out, struct failure *f)
{
	const char *name = NULL, *path = NULL;
	unsigned type = 0;

	if (member_string(entry, "type", MEMBER_REQUIRED, &name, f) < 0 ||
	    member_string(entry, "path", MEMBER_OPTIONAL, &path, f) < 0)
		return -1;
	while (type < NAMESPACE_TYPES && strcmp(types[type].name, name) != 0)
		type++;
	if (type == NAMESPACE_TYPES)
		return fail(f, "invalid", "linux.namespaces: unknown type %.32s", name);
	if (own[type] < 0)
		return fail(f, "unsupported", "this kernel has no %s namespaces", name);
	if (((out->create | out->join) & types[type].flag) != 0)
		return fail(f, "invalid", "linux.namespaces: %s is there twice", name);
	if (path != NULL && *path != '\0')
		return parse_join(type, path, out, f);
	out->create |= types[type].flag;
	return 0;
}

int namespaces_parse(const struct json *config, struct namespaces *out, struct failure *f)
{
	const struct json *linux_part = NULL, *list = NULL;

	*out = (struct namespaces){0};
	if (member_object(config, "linux", MEMBER_OPTIONAL, &linux_part, f) < 0 ||
	    member_array(linux_part, "namespaces", &list, f) < 0)
		return -1;
	for (size_t i = 0; i < json_length(list); i++) {
		if (parse_one(json_at(list, i), out, f) < 0)
			return -1;
	}
	if ((out->create & CLONE_NEWNS) == 0)
		return fail(f, "unsupported", "linux.namespaces: a container needs a mount namespace of its own");
	return 0;
}

// A time namespace has its offsets set before the first process enters it (time_namespaces(7)).
static int make_time_namespace(const struct json *config, struct failure *f)
{
	const struct json *offsets = json_get(json_get(config, "linux"), "timeOffsets");
	char line[96];

	if (unshare(CLONE_NEWTIME) < 0)
		return fail_errno(f, "make a time namespace");
	away |= CLONE_NEWTIME;
	for (size_t i = 0; i < json_length(offsets); i++) {
		const char *clock = json_key(offsets, i);
		const struct json *offset = json_at(offsets, i);
		if (clock == NULL || (strcmp(clock, "monotonic") != 0 && strcmp(clock, "boottime") != 0))
			return fail(f, "invalid", "linux.timeOffsets: unknown clock %.32s", clock == NULL ? "" : clock);
		(void)snprintf(line, sizeof line, "%s %lld %lld", clock, (long long)json_int(json_get(offset, "secs"), 0),
			       (long long)json_int(json_get(offset, "nanosecs"), 0));
		if (path_write(AT_FDCWD, "/proc/self/timens_offsets", line) < 0)
			return fail_errno(f, "linux.timeOffsets: %s", clock);
	}
	return 0;
}

int namespaces_enter(const struct namespaces *n, const struct json *config, struct failure *f)
{
	for (unsigned i = 0; i < n->joined_length; i++) {
		away |= n->joined[i].flag;
		if (setns(n->joined[i].pidfd, (int)n->joined[i].flag) < 0)
			return fail_errno(f, "join the namespace of another container");
	}
	if ((n->create & CLONE_NEWTIME) != 0)
		return make_time_namespace(config, f);
	return 0;
}

int namespaces_enter_pid(int pidfd, struct failure *f)
{
	away |= CLONE_NEWPID;
	if (setns(pidfd, CLONE_NEWPID) < 0)
		return fail_errno(f, "enter the pid namespace of the container");
	return 0;
}

void namespaces_return(void)
{
	for (unsigned i = 0; i < NAMESPACE_TYPES; i++) {
		if ((away & types[i].flag) == 0)
			continue;
		// It can only fail for want of a little memory. An agent in a tenant's namespace must not go on.
		for (int attempt = 0; setns(own[i], (int)types[i].flag) < 0; attempt++) {
			if (attempt == 100) {
				log_event(LOG_ERROR, "cannot leave a %s namespace: %s", types[i].name, strerror(errno));
				(void)reboot(RB_AUTOBOOT);
			}
			(void)usleep(10000);
		}
	}
	away = 0;
}
