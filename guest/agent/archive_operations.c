// SPDX-License-Identifier: Apache-2.0
#include "archive_operations.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive.h"
#include "changes.h"
#include "container.h"
#include "input.h"
#include "job.h"
#include "layer.h"
#include "member.h"
#include "output.h"

static const char *path_of(const struct job_call *call)
{
	return json_string(json_get(call->body, "path"), "");
}

static int append_stat(int root, const char *path, struct text *answer, struct failure *f)
{
	text_printf(answer, "{\"stat\":");
	if (archive_stat(root, path, answer, f) < 0)
		return -1;
	text_printf(answer, "}");
	return 0;
}

static int open_root(struct failure *f)
{
	int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	return root < 0 ? fail_errno(f, "open the root") : root;
}

static int run_stat(struct job_call *call, struct text *answer, struct failure *f)
{
	int root = open_root(f);

	return root < 0 ? -1 : append_stat(root, path_of(call), answer, f);
}

// A tar is made of blocks: one that was broken off gets a single byte more, by which it can be told from a complete one.
static int end_archive(const struct job_call *call, int result)
{
	ssize_t n = result < 0 ? write(call->descriptor, "!", 1) : 0;

	(void)n; // if nobody reads it any more, nobody wants to know
	return result;
}

static int run_get(struct job_call *call, struct text *answer, struct failure *f)
{
	int root = open_root(f);

	if (root < 0 || append_stat(root, path_of(call), answer, f) < 0)
		return -1;
	call->answer(call, answer);
	return end_archive(call, archive_get(root, path_of(call), call->descriptor, f));
}

static int run_put(struct job_call *call, struct text *answer, struct failure *f)
{
	struct archive_put how = {
		.no_overwrite_dir_non_dir = json_bool(json_get(call->body, "no_overwrite_dir_non_dir"), false),
		.chown = json_bool(json_get(call->body, "copy_uid_gid"), false),
		.uid = call->container->uid,
		.gid = call->container->gid,
	};
	int root = open_root(f);

	(void)umask(0);
	text_append(answer, "{}", 2);
	return root < 0 ? -1 : archive_put(root, path_of(call), call->descriptor, &how, f);
}

// A tree may be deep, and every level holds descriptors.
static void raise_limit_of_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static void answer_at_once(struct job_call *call, struct text *answer)
{
	text_append(answer, "{}", 2);
	call->answer(call, answer);
}

// The last record tells whether these were all: "." or "!" and why not.
static int run_changes(struct job_call *call, struct text *answer, struct failure *f)
{
	const struct rootfs *root = &call->container->root;
	char end[sizeof f->message + 2] = ".";
	int upper, lower;

	raise_limit_of_descriptors();
	if (rootfs_open_upper(root, &upper, f) < 0 || rootfs_open_lower(root, &lower, f) < 0)
		return -1;
	answer_at_once(call, answer);
	int result = changes_write(upper, lower, call->descriptor, f);
	if (result < 0)
		(void)snprintf(end, sizeof end, "!%s", f->message);
	// If nobody reads it any more, nobody wants to know.
	ssize_t n = write(call->descriptor, end, strlen(end) + 1);
	(void)n;
	return result;
}

static int run_layer(struct job_call *call, struct text *answer, struct failure *f)
{
	const struct rootfs *root = &call->container->root;
	int upper, lower;

	raise_limit_of_descriptors();
	if (rootfs_open_upper(root, &upper, f) < 0 || rootfs_open_lower(root, &lower, f) < 0)
		return -1;
	answer_at_once(call, answer);
	return end_archive(call, layer_write(upper, lower, call->descriptor, f));
}

static int run_export(struct job_call *call, struct text *answer, struct failure *f)
{
	// What the container mounts, it mounts in its own namespace.
	int root = open(call->container->root.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	raise_limit_of_descriptors();
	if (root < 0)
		return fail_errno(f, "open the root");
	answer_at_once(call, answer);
	return end_archive(call, archive_export(root, call->descriptor, f));
}

static int read_container(const struct json *body, struct job_call *call, struct failure *f)
{
	call->container = container_named(body, f);
	call->body = body;
	call->descriptor = -1;
	if (call->container == NULL)
		return -1;
	if (call->container->init->status == PROCESS_PREPARING || call->container->deleting)
		return fail(f, "busy", "container %s is being made or deleted", call->container->id);
	return 0;
}

// What get, put and stat have in common.
static int read_call(const struct json *body, struct job_call *call, struct failure *f)
{
	const char *path = NULL;
	bool flag;

	call->enter = true;
	if (read_container(body, call, f) < 0 || member_string(body, "path", MEMBER_REQUIRED, &path, f) < 0 ||
	    member_bool(body, "no_overwrite_dir_non_dir", &flag, f) < 0 || member_bool(body, "copy_uid_gid", &flag, f) < 0)
		return -1;
	if (*path != '/')
		return fail(f, "invalid", "path must be absolute");
	return 0;
}

int archive_operation_stat(struct request *r, const struct json *body, struct failure *f)
{
	struct job_call call = {.run = run_stat};

	return read_call(body, &call, f) < 0 ? -1 : job_start(r, &call, f);
}

// The agent's end of the pipe does not block; the job's does.
static int make_pipe(const struct json *body, int mine, int fds[2], uint32_t *stream, struct failure *f)
{
	if (member_u32(body, "stream", MEMBER_REQUIRED, stream, f) < 0 || stream_check(*stream, f) < 0)
		return -1;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return fail_errno(f, "make a pipe");
	(void)fcntl(fds[mine], F_SETFL, O_NONBLOCK);
	return 0;
}

// Starts a job that writes to the request's output stream.
static int start_output(struct request *r, struct job_call *call, struct failure *f)
{
	uint32_t stream = 0;
	int fds[2];

	if (make_pipe(call->body, 0, fds, &stream, f) < 0)
		return -1;
	call->descriptor = fds[1];
	struct output *o = output_new(stream, fds[0], f);
	if (o == NULL) {
		(void)close(fds[1]);
		return -1;
	}
	o->transient = true;
	if (job_start(r, call, f) < 0) {
		output_free(o);
		return -1;
	}
	return 0;
}

int archive_operation_get(struct request *r, const struct json *body, struct failure *f)
{
	struct job_call call = {.run = run_get};

	return read_call(body, &call, f) < 0 ? -1 : start_output(r, &call, f);
}

int archive_operation_changes(struct request *r, const struct json *body, struct failure *f)
{
	struct job_call call = {.run = run_changes};

	return read_container(body, &call, f) < 0 ? -1 : start_output(r, &call, f);
}

int archive_operation_export(struct request *r, const struct json *body, struct failure *f)
{
	struct job_call call = {.run = run_export};

	return read_container(body, &call, f) < 0 ? -1 : start_output(r, &call, f);
}

int archive_operation_layer(struct request *r, const struct json *body, struct failure *f)
{
	struct job_call call = {.run = run_layer};

	return read_container(body, &call, f) < 0 ? -1 : start_output(r, &call, f);
}

int archive_operation_put(struct request *r, const struct json *body, struct failure *f)
{
	struct job_call call = {.run = run_put};
	int fds[2];

	if (read_call(body, &call, f) < 0 || make_pipe(body, 1, fds, &call.input, f) < 0)
		return -1;
	call.descriptor = fds[0];
	struct input *i = input_new(call.input, fds[1], false, f);
	if (i == NULL) {
		(void)close(fds[0]);
		return -1;
	}
	i->transient = true;
	if (job_start(r, &call, f) < 0) {
		input_free(i);
		return -1;
	}
	return 0;
}
