// SPDX-License-Identifier: Apache-2.0
// Every operation of docs/agent-protocol.md, and the ones that are short.
#include <signal.h>

#include "archive_operations.h"
#include "cgroup.h"
#include "container.h"
#include "container_operations.h"
#include "create.h"
#include "disk.h"
#include "job.h"
#include "machine.h"
#include "member.h"
#include "request.h"
#include "shutdown.h"
#include "state.h"
#include "stream.h"

enum { SIGNAL_MAX = 64 };

static int ping(struct request *r, const struct json *body, struct failure *f)
{
	(void)body;
	(void)f;
	request_reply_empty(r);
	return 0;
}

static int signal_process(struct request *r, const struct json *body, struct failure *f)
{
	struct process *p = container_process_named(body, f);
	uint64_t signal = 0;
	bool all = false;

	if (p == NULL || member_uint(body, "signal", MEMBER_REQUIRED, SIGNAL_MAX, &signal, f) < 0 ||
	    member_bool(body, "all", &all, f) < 0)
		return -1;
	if (signal == 0)
		return fail(f, "invalid", "signal must be from 1 to %d", SIGNAL_MAX);
	if (all && signal == SIGKILL) {
		if (cgroup_kill(p->container->cgroup, f) < 0)
			return -1;
	} else if (all) {
		if (cgroup_signal(p->container->cgroup, (int)signal, f) < 0)
			return -1;
	} else if (process_signal(p, (int)signal, f) < 0) {
		return -1;
	}
	request_reply_empty(r);
	return 0;
}

static int resize_process(struct request *r, const struct json *body, struct failure *f)
{
	struct process *p = container_process_named(body, f);
	uint64_t rows = 0, columns = 0;

	if (p == NULL || member_uint(body, "rows", MEMBER_REQUIRED, 65535, &rows, f) < 0 ||
	    member_uint(body, "columns", MEMBER_REQUIRED, 65535, &columns, f) < 0)
		return -1;
	if (process_resize(p, (unsigned)rows, (unsigned)columns, f) < 0)
		return -1;
	request_reply_empty(r);
	return 0;
}

static int reap_process(struct request *r, const struct json *body, struct failure *f)
{
	struct process *p = container_process_named(body, f);

	if (p == NULL)
		return -1;
	if (p == p->container->init)
		return fail(f, "invalid", "init is forgotten by container.delete");
	if (p->status != PROCESS_EXITED)
		return fail(f, "busy", "process %s has not ended", p->id);
	process_free(p);
	request_reply_empty(r);
	return 0;
}

static int close_stream(struct request *r, const struct json *body, struct failure *f)
{
	uint32_t id = 0;

	if (member_u32(body, "stream", MEMBER_REQUIRED, &id, f) < 0)
		return -1;
	struct stream *s = stream_find(id);
	if (s == NULL)
		return fail(f, "not-found", "no stream %u", id);
	s->kind->close(s);
	request_reply_empty(r);
	return 0;
}

static int run_sync(struct job_call *call, struct text *answer, struct failure *f)
{
	(void)call;
	text_append(answer, "{}", 2);
	return disk_sync(f);
}

static int sync_disks(struct request *r, const struct json *body, struct failure *f)
{
	struct job_call call = {.run = run_sync, .descriptor = -1, .body = body};

	return job_start(r, &call, f);
}

const struct operation operations[] = {
	{"ping", ping},
	{"configure", machine_configure},
	{"state", state_report},
	{"container.create", create_container},
	{"container.start", container_operation_start},
	{"container.delete", container_operation_delete},
	{"container.pause", container_operation_pause},
	{"container.resume", container_operation_resume},
	{"container.update", container_operation_update},
	{"container.stats", container_operation_stats},
	{"container.processes", container_operation_processes},
	{"process.exec", create_process},
	{"process.signal", signal_process},
	{"process.resize", resize_process},
	{"process.reap", reap_process},
	{"stream.close", close_stream},
	{"archive.get", archive_operation_get},
	{"archive.put", archive_operation_put},
	{"archive.stat", archive_operation_stat},
	{"container.changes", archive_operation_changes},
	{"container.export", archive_operation_export},
	{"container.layer", archive_operation_layer},
	{"network.update", machine_update_network},
	{"sync", sync_disks},
	{"shutdown", shutdown_machine},
	{NULL, NULL},
};
