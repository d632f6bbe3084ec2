// SPDX-License-Identifier: Apache-2.0
#include "schedule.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "member.h"

struct name {
	const char *name;
	unsigned value;
};

static const struct name io_classes[] = {
	{"IOPRIO_CLASS_RT", IOPRIO_CLASS_RT}, {"IOPRIO_CLASS_BE", IOPRIO_CLASS_BE}, {"IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE}};

static const struct name policies[] = {
	{"SCHED_OTHER", SCHED_NORMAL}, {"SCHED_BATCH", SCHED_BATCH}, {"SCHED_IDLE", SCHED_IDLE},
	{"SCHED_FIFO", SCHED_FIFO},    {"SCHED_RR", SCHED_RR},       {"SCHED_DEADLINE", SCHED_DEADLINE}};

static const struct name flags[] = {
	{"SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK}, {"SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM},
	{"SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN},       {"SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY},
	{"SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS},     {"SCHED_FLAG_UTIL_CLAMP_MIN", SCHED_FLAG_UTIL_CLAMP_MIN},
	{"SCHED_FLAG_UTIL_CLAMP_MAX", SCHED_FLAG_UTIL_CLAMP_MAX}};

static int find(const struct name *names, size_t n, const char *name, unsigned *value)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(names[i].name, name) == 0) {
			*value = names[i].value;
			return 0;
		}
	}
	return -1;
}

#define FIND(table, name, value) find(table, sizeof(table) / sizeof(table)[0], name, value)

static int set_io_priority(pid_t pid, const struct json *o, struct failure *f)
{
	const char *name = NULL;
	uint64_t priority = 0;
	unsigned class;

	if (member_string(o, "class", MEMBER_REQUIRED, &name, f) < 0 ||
	    member_uint(o, "priority", MEMBER_OPTIONAL, 7, &priority, f) < 0)
		return -1;
	if (FIND(io_classes, name, &class) < 0)
		return fail(f, "invalid", "process.ioPriority: unknown class %.32s", name);
	unsigned value = class << IOPRIO_CLASS_SHIFT | (unsigned)priority;
	if (syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid, value) == 0)
		return 0;
	if (errno == ENOSYS)
		return fail(f, "unsupported", "process.ioPriority: this kernel has no I/O priorities");
	return fail_errno(f, "process.ioPriority");
}

static int set_scheduler(pid_t pid, const struct json *o, struct failure *f)
{
	const char *name = NULL;
	const struct json *list = NULL;
	struct sched_attr attributes = {.size = sizeof attributes};
	uint32_t priority = 0;

	if (member_string(o, "policy", MEMBER_REQUIRED, &name, f) < 0 || member_strings(o, "flags", &list, f) < 0 ||
	    member_u32(o, "priority", MEMBER_OPTIONAL, &priority, f) < 0 ||
	    member_uint(o, "runtime", MEMBER_OPTIONAL, UINT64_MAX, (uint64_t *)&attributes.sched_runtime, f) < 0 ||
	    member_uint(o, "deadline", MEMBER_OPTIONAL, UINT64_MAX, (uint64_t *)&attributes.sched_deadline, f) < 0 ||
	    member_uint(o, "period", MEMBER_OPTIONAL, UINT64_MAX, (uint64_t *)&attributes.sched_period, f) < 0)
		return -1;
	if (FIND(policies, name, &attributes.sched_policy) < 0)
		return fail(f, "invalid", "process.scheduler: unknown policy %.32s", name);
	for (size_t i = 0; i < json_length(list); i++) {
		unsigned flag;
		if (FIND(flags, json_string(json_at(list, i), ""), &flag) < 0)
			return fail(f, "invalid", "process.scheduler: unknown flag %.32s", json_string(json_at(list, i), ""));
		attributes.sched_flags |= flag;
	}
	attributes.sched_nice = (int32_t)json_int(json_get(o, "nice"), 0);
	attributes.sched_priority = priority;
	if (syscall(SYS_sched_setattr, pid, &attributes, 0) < 0)
		return fail_errno(f, "process.scheduler");
	return 0;
}

int schedule_apply(pid_t pid, const struct json *process, struct failure *f)
{
	const struct json *io = NULL, *scheduler = NULL;

	if (member_object(process, "ioPriority", MEMBER_OPTIONAL, &io, f) < 0 ||
	    member_object(process, "scheduler", MEMBER_OPTIONAL, &scheduler, f) < 0)
		return -1;
	if (io != NULL && set_io_priority(pid, io, f) < 0)
		return -1;
	return scheduler != NULL ? set_scheduler(pid, scheduler, f) : 0;
}
