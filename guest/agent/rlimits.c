// SPDX-License-Identifier: Apache-2.0
#include "rlimits.h"

#include <string.h>
#include <sys/resource.h>

#include "member.h"

static const struct {
	const char *name;
	int resource;
} limits[] = {
	{"RLIMIT_AS", RLIMIT_AS},           {"RLIMIT_CORE", RLIMIT_CORE},         {"RLIMIT_CPU", RLIMIT_CPU},
	{"RLIMIT_DATA", RLIMIT_DATA},       {"RLIMIT_FSIZE", RLIMIT_FSIZE},       {"RLIMIT_LOCKS", RLIMIT_LOCKS},
	{"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK}, {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE}, {"RLIMIT_NICE", RLIMIT_NICE},
	{"RLIMIT_NOFILE", RLIMIT_NOFILE},   {"RLIMIT_NPROC", RLIMIT_NPROC},       {"RLIMIT_RSS", RLIMIT_RSS},
	{"RLIMIT_RTPRIO", RLIMIT_RTPRIO},   {"RLIMIT_RTTIME", RLIMIT_RTTIME},     {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
	{"RLIMIT_STACK", RLIMIT_STACK},
};

static int find_resource(const char *name)
{
	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		if (strcmp(limits[i].name, name) == 0)
			return limits[i].resource;
	}
	return -1;
}

// -1 is "unlimited" in what Go programs write.
static int parse_value(const struct json *entry, const char *key, rlim_t *out, struct failure *f)
{
	uint64_t value = 0;

	if (json_is_number(json_get(entry, key)) && json_int(json_get(entry, key), 0) == -1) {
		*out = RLIM_INFINITY;
		return 0;
	}
	if (member_uint(entry, key, MEMBER_REQUIRED, UINT64_MAX, &value, f) < 0)
		return -1;
	*out = value;
	return 0;
}

static int apply_one(pid_t pid, const struct json *entry, struct failure *f)
{
	const char *name = NULL;
	struct rlimit limit;

	if (member_string(entry, "type", MEMBER_REQUIRED, &name, f) < 0 || parse_value(entry, "soft", &limit.rlim_cur, f) < 0 ||
	    parse_value(entry, "hard", &limit.rlim_max, f) < 0)
		return -1;
	int resource = find_resource(name);
	if (resource < 0)
		return fail(f, "invalid", "process.rlimits: unknown type %.32s", name);
	if (limit.rlim_cur > limit.rlim_max)
		return fail(f, "invalid", "process.rlimits: %s: soft is above hard", name);
	if (pid != 0 && prlimit(pid, resource, &limit, NULL) < 0)
		return fail_errno(f, "process.rlimits: %s", name);
	return 0;
}

int rlimits_apply(pid_t pid, const struct json *process, struct failure *f)
{
	const struct json *list = NULL;

	if (member_array(process, "rlimits", &list, f) < 0)
		return -1;
	for (size_t i = 0; i < json_length(list); i++) {
		for (size_t k = 0; pid == 0 && k < i; k++) {
			const char *a = json_string(json_get(json_at(list, k), "type"), "");
			if (strcmp(a, json_string(json_get(json_at(list, i), "type"), "")) == 0)
				return fail(f, "invalid", "process.rlimits: %.32s is there twice", a);
		}
		if (apply_one(pid, json_at(list, i), f) < 0)
			return -1;
	}
	return 0;
}
