// SPDX-License-Identifier: Apache-2.0
#include "container_operations.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>

#include "cgroup.h"
#include "container.h"
#include "job.h"
#include "member.h"
#include "network.h"
#include "process_list.h"

int container_operation_start(struct request *r, const struct json *body, struct failure *f)
{
	struct container *c = container_named(body, f);

	if (c == NULL)
		return -1;
	if (c->init->status != PROCESS_CREATED || c->init->waiting != NULL || c->deleting)
		return fail(f, "busy", "container %s is %s", c->id, container_status(c));
	if (process_release(c->init, f) < 0)
		return -1;
	c->init->waiting = r;
	return 0;
}

int container_operation_delete(struct request *r, const struct json *body, struct failure *f)
{
	struct container *c = container_named(body, f);
	bool force = false;

	if (c == NULL || member_bool(body, "force", &force, f) < 0)
		return -1;
	if (c->deleting && c->deleter != NULL)
		return fail(f, "busy", "container %s is being deleted", c->id);
	if (container_is_alive(c) && !force)
		return fail(f, "busy", "container %s is %s: stop it first, or use force", c->id, container_status(c));
	container_delete(c, r);
	return 0;
}

// Freezing waits for every process to be caught.
static int run_freeze(struct job_call *call, struct text *answer, struct failure *f)
{
	text_append(answer, "{}", 2);
	return cgroup_freeze(call->descriptor, true, f);
}

static int run_thaw(struct job_call *call, struct text *answer, struct failure *f)
{
	text_append(answer, "{}", 2);
	return cgroup_freeze(call->descriptor, false, f);
}

// A job on the cgroup of a container, if that has the status.
static int start_on_cgroup(struct request *r, struct job_call *call, const char *status, struct failure *f)
{
	if (call->container == NULL)
		return -1;
	const char *now = container_status(call->container);
	if (call->container->deleting || (status != NULL && strcmp(now, status) != 0))
		return fail(f, "busy", "container %s is %s", call->container->id, now);
	call->descriptor = fcntl(call->container->cgroup, F_DUPFD_CLOEXEC, 0);
	return call->descriptor < 0 ? fail_errno(f, "open the cgroup") : job_start(r, call, f);
}

int container_operation_pause(struct request *r, const struct json *body, struct failure *f)
{
	struct job_call call = {.run = run_freeze, .container = container_named(body, f)};

	return start_on_cgroup(r, &call, "running", f);
}

int container_operation_resume(struct request *r, const struct json *body, struct failure *f)
{
	struct job_call call = {.run = run_thaw, .container = container_named(body, f)};

	return start_on_cgroup(r, &call, "paused", f);
}

int container_operation_update(struct request *r, const struct json *body, struct failure *f)
{
	struct container *c = container_named(body, f);
	const struct json *resources = NULL;

	if (c == NULL || member_object(body, "resources", MEMBER_REQUIRED, &resources, f) < 0 ||
	    cgroup_update(c->cgroup, resources, f) < 0)
		return -1;
	request_reply_empty(r);
	return 0;
}

int container_operation_stats(struct request *r, const struct json *body, struct failure *f)
{
	struct container *c = container_named(body, f);
	struct text t = {0};

	if (c == NULL)
		return -1;
	text_append(&t, "{", 1);
	cgroup_stats(c->cgroup, &t);
	text_printf(&t, ",\"interfaces\":");
	if (network_statistics(c->network_namespace, &t, f) < 0) {
		text_free(&t);
		return -1;
	}
	text_printf(&t, ",");
	cgroup_machine_stats(&t);
	text_append(&t, "}", 1);
	request_reply(r, &t);
	return 0;
}

static int run_list(struct job_call *call, struct text *answer, struct failure *f)
{
	return process_list(call->descriptor, (call->container->namespaces & CLONE_NEWPID) != 0, answer, f);
}

int container_operation_processes(struct request *r, const struct json *body, struct failure *f)
{
	struct job_call call = {.run = run_list, .container = container_named(body, f)};

	return start_on_cgroup(r, &call, NULL, f);
}
