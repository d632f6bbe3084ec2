// SPDX-License-Identifier: Apache-2.0
#include "process_list.h"

#include <fcntl.h>
#include <linux/major.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "cgroup.h"
#include "path.h"

enum {
	PROCESSES_MAX = 1024,
	// Arguments are left out where the answer would outgrow a frame.
	ANSWER_WITH_ARGUMENTS = 700 << 10,
};

struct seen {
	pid_t pid;   // as the agent sees it
	int inside;  // as the container sees it
};

static ssize_t read_file(pid_t pid, const char *name, char *out, size_t size)
{
	char path[64];

	(void)snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	return path_read(AT_FDCWD, path, out, size);
}

// The number at `index` of a line of /proc/<pid>/status, -1 if there is none.
static long status_number(const char *status, const char *key, unsigned index)
{
	const char *at = strstr(status, key);
	char *end;
	long value = -1;

	if (at == NULL)
		return -1;
	at += strlen(key);
	for (unsigned i = 0; i <= index; i++) {
		value = strtol(at, &end, 10);
		if (end == at || memchr(at, '\n', (size_t)(end - at)) != NULL)
			return -1;
		at = end;
	}
	return value;
}

static int inside_of(const struct seen *all, size_t n, pid_t pid)
{
	for (size_t i = 0; i < n; i++) {
		if (all[i].pid == pid)
			return all[i].inside;
	}
	return 0;
}

static void append_arguments(pid_t pid, struct text *answer)
{
	char line[4096];
	ssize_t n = answer->length < ANSWER_WITH_ARGUMENTS ? read_file(pid, "cmdline", line, sizeof line) : 0;

	text_printf(answer, ",\"args\":[");
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(line + at) + 1) {
		if (at > 0)
			text_printf(answer, ",");
		text_json_string(answer, line + at);
	}
	text_printf(answer, "]");
}

static void append_tty(unsigned number, struct text *answer)
{
	if (major(number) >= UNIX98_PTY_SLAVE_MAJOR && major(number) < UNIX98_PTY_SLAVE_MAJOR + UNIX98_PTY_MAJOR_COUNT)
		text_printf(answer, ",\"tty\":\"pts/%u\"",
			    (major(number) - UNIX98_PTY_SLAVE_MAJOR) * 256 + minor(number));
	else
		text_printf(answer, ",\"tty\":\"?\"");
}

// What stands behind the name in /proc/<pid>/stat, as proc(5) tells it.
struct figures {
	char state;
	int parent, group, session, tty, foreground;
	unsigned flags;
	unsigned long long user, system, start, size;
	long priority, nice, threads, resident; // the last in pages
	int processor;
};

static bool scan_figures(const char *text, struct figures *f)
{
	return sscanf(text,
		      " %c %d %d %d %d %d %u %*u %*u %*u %*u %llu %llu %*d %*d %ld %ld %ld %*d %llu %llu %ld"
		      " %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*u %*d %d",
		      &f->state, &f->parent, &f->group, &f->session, &f->tty, &f->foreground, &f->flags, &f->user,
		      &f->system, &f->priority, &f->nice, &f->threads, &f->start, &f->size, &f->resident,
		      &f->processor) == 16;
}

static void append_figures(const struct seen *all, size_t n, const struct figures *f, struct text *answer)
{
	text_printf(answer, ",\"pgid\":%d,\"sid\":%d,\"tpgid\":%d", inside_of(all, n, f->group),
		    inside_of(all, n, f->session), f->foreground > 0 ? inside_of(all, n, f->foreground) : -1);
	text_printf(answer, ",\"cpu_ticks\":%llu,\"start_ticks\":%llu,\"flags\":%u,\"priority\":%ld,\"nice\":%ld",
		    f->user + f->system, f->start, f->flags, f->priority, f->nice);
	text_printf(answer, ",\"threads\":%ld,\"processor\":%d,\"vsz\":%llu,\"rss\":%lld", f->threads, f->processor,
		    f->size, (long long)f->resident * sysconf(_SC_PAGESIZE));
}

static void append_process(const struct seen *all, size_t n, const struct seen *p, bool first, struct text *answer)
{
	char stat[1024], status[4096];
	struct figures figures = {0};

	if (read_file(p->pid, "stat", stat, sizeof stat) <= 0 || read_file(p->pid, "status", status, sizeof status) <= 0)
		return; // it has just ended
	// The name is between the first "(" and the last ")" and may hold either; the fields are those of proc(5).
	char *name = strchr(stat, '('), *rest = strrchr(stat, ')');
	if (name == NULL || rest == NULL || rest < name)
		return;
	*rest = '\0';
	if (!scan_figures(rest + 1, &figures))
		return;
	text_printf(answer, "%s{\"pid\":%d,\"ppid\":%d,\"uid\":%ld,\"gid\":%ld,\"ruid\":%ld,\"rgid\":%ld", first ? "" : ",",
		    p->inside, inside_of(all, n, figures.parent), status_number(status, "\nUid:", 1),
		    status_number(status, "\nGid:", 1), status_number(status, "\nUid:", 0),
		    status_number(status, "\nGid:", 0));
	append_figures(all, n, &figures, answer);
	append_tty((unsigned)figures.tty, answer);
	text_printf(answer, ",\"state\":\"%c\",\"comm\":", figures.state);
	text_json_string(answer, name + 1);
	append_arguments(p->pid, answer);
	text_printf(answer, "}");
}

int process_list(int cgroup, bool namespaced, struct text *answer, struct failure *f)
{
	static pid_t pids[PROCESSES_MAX];
	static struct seen all[PROCESSES_MAX];
	char status[4096];
	struct timespec up;
	size_t count = 0, n = cgroup_pids(cgroup, pids, PROCESSES_MAX);

	for (size_t i = 0; i < n; i++) {
		if (read_file(pids[i], "status", status, sizeof status) <= 0)
			continue;
		long inside = status_number(status, "\nNSpid:", namespaced ? 1 : 0);
		if (inside > 0)
			all[count++] = (struct seen){pids[i], (int)inside};
	}
	text_printf(answer, "{\"processes\":[");
	for (size_t i = 0, start = answer->length; i < count; i++)
		append_process(all, count, &all[i], answer->length == start, answer);
	if (clock_gettime(CLOCK_BOOTTIME, &up) < 0)
		return fail_errno(f, "read the clock");
	text_printf(answer, "],\"uptime_ns\":%lld,\"ticks_per_second\":%ld,\"memory_total\":%lld}",
		    (long long)up.tv_sec * 1000000000 + up.tv_nsec, sysconf(_SC_CLK_TCK),
		    (long long)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
	return 0;
}
