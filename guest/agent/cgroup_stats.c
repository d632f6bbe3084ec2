// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cgroup.h"
#include "cgroup_tree.h"
#include "path.h"

enum { FILE_MAX = 16384 };

// The number in a file of one number; 0 for "max", and for a file that is not there.
static uint64_t read_number(int cgroup, const char *file)
{
	char content[64];

	return path_read(cgroup, file, content, sizeof content) > 0 ? strtoull(content, NULL, 10) : 0;
}

static void cpu_stats(int cgroup, struct text *json)
{
	text_printf(json,
		    "\"cpu\":{\"usage_ns\":%" PRIu64 ",\"user_ns\":%" PRIu64 ",\"system_ns\":%" PRIu64
		    ",\"periods\":%" PRIu64 ",\"throttled\":%" PRIu64 ",\"throttled_ns\":%" PRIu64 "}",
		    cgroup_tree_number(cgroup, "cpu.stat", "usage_usec") * 1000,
		    cgroup_tree_number(cgroup, "cpu.stat", "user_usec") * 1000,
		    cgroup_tree_number(cgroup, "cpu.stat", "system_usec") * 1000,
		    cgroup_tree_number(cgroup, "cpu.stat", "nr_periods"),
		    cgroup_tree_number(cgroup, "cpu.stat", "nr_throttled"),
		    cgroup_tree_number(cgroup, "cpu.stat", "throttled_usec") * 1000);
}

static void memory_fields(int cgroup, struct text *json)
{
	char content[FILE_MAX], *position;
	const char *separator = "";

	if (path_read(cgroup, "memory.stat", content, sizeof content) < 0)
		return;
	for (char *line = strtok_r(content, "\n", &position); line != NULL; line = strtok_r(NULL, "\n", &position)) {
		char *value = strchr(line, ' ');
		if (value == NULL)
			continue;
		*value++ = '\0';
		text_printf(json, "%s", separator);
		text_json_string(json, line);
		text_printf(json, ":%" PRIu64, (uint64_t)strtoull(value, NULL, 10));
		separator = ",";
	}
}

static void memory_stats(int cgroup, struct text *json)
{
	text_printf(json,
		    ",\"memory\":{\"usage\":%" PRIu64 ",\"limit\":%" PRIu64 ",\"max_usage\":%" PRIu64
		    ",\"file\":%" PRIu64 ",\"anon\":%" PRIu64 ",\"inactive_file\":%" PRIu64 ",\"oom_kills\":%" PRIu64
		    ",\"fields\":{",
		    read_number(cgroup, "memory.current"), read_number(cgroup, "memory.max"),
		    read_number(cgroup, "memory.peak"), cgroup_tree_number(cgroup, "memory.stat", "file"),
		    cgroup_tree_number(cgroup, "memory.stat", "anon"),
		    cgroup_tree_number(cgroup, "memory.stat", "inactive_file"), cgroup_oom_kills(cgroup));
	memory_fields(cgroup, json);
	text_printf(json, "}}");
}

// The number behind "<key>=" in a line of io.stat.
static uint64_t io_number(const char *line, const char *key)
{
	char pattern[16];

	(void)snprintf(pattern, sizeof pattern, " %s=", key);
	const char *found = strstr(line, pattern);
	return found == NULL ? 0 : strtoull(found + strlen(pattern), NULL, 10);
}

static void io_stats(int cgroup, struct text *json)
{
	char content[FILE_MAX], *position;
	const char *separator = "";
	unsigned major, minor;

	text_printf(json, ",\"io\":[");
	(void)path_read(cgroup, "io.stat", content, sizeof content);
	for (char *line = strtok_r(content, "\n", &position); line != NULL; line = strtok_r(NULL, "\n", &position)) {
		if (sscanf(line, "%u:%u ", &major, &minor) != 2)
			continue;
		text_printf(json,
			    "%s{\"major\":%u,\"minor\":%u,\"rbytes\":%" PRIu64 ",\"wbytes\":%" PRIu64 ",\"rios\":%" PRIu64
			    ",\"wios\":%" PRIu64 "}",
			    separator, major, minor, io_number(line, "rbytes"), io_number(line, "wbytes"),
			    io_number(line, "rios"), io_number(line, "wios"));
		separator = ",";
	}
	text_printf(json, "]");
}

void cgroup_stats(int cgroup, struct text *json)
{
	cpu_stats(cgroup, json);
	memory_stats(cgroup, json);
	text_printf(json, ",\"pids\":{\"current\":%" PRIu64 ",\"limit\":%" PRIu64 "}",
		    read_number(cgroup, "pids.current"), read_number(cgroup, "pids.max"));
	io_stats(cgroup, json);
}

// First line of /proc/stat: user nice system idle iowait irq softirq steal, in ticks (guest time is part of user).
static uint64_t system_cpu_ns(void)
{
	char content[256];
	uint64_t ticks = 0;
	long per_second = sysconf(_SC_CLK_TCK);

	if (path_read(AT_FDCWD, "/proc/stat", content, sizeof content) < 0 || strncmp(content, "cpu ", 4) != 0 ||
	    per_second <= 0)
		return 0;
	char *at = content + 4;
	for (int column = 0; column < 8; column++)
		ticks += strtoull(at, &at, 10);
	return ticks * (UINT64_C(1000000000) / (uint64_t)per_second);
}

static uint64_t memory_total(void)
{
	char content[256];

	if (path_read(AT_FDCWD, "/proc/meminfo", content, sizeof content) < 0 || strncmp(content, "MemTotal:", 9) != 0)
		return 0;
	return strtoull(content + 9, NULL, 10) * 1024;
}

void cgroup_machine_stats(struct text *json)
{
	text_printf(json, "\"cpus\":%ld,\"system_cpu_ns\":%" PRIu64 ",\"memory_total\":%" PRIu64,
		    sysconf(_SC_NPROCESSORS_ONLN), system_cpu_ns(), memory_total());
}
