// SPDX-License-Identifier: Apache-2.0
#include "archive_operations.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive.h"
#include "container.h"
#include "input.h"
#include "job.h"
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

static int run_get(struct job_call *call, struct text *answer, struct failure *f)
{
	int root = open_root(f);

	if (root < 0 || append_stat(root, path_of(call), answer, f) < 0)
		return -1;
	call->answer(call, answer);
	return archive_get(root, path_of(call), call->descriptor, f);
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

// What all three have in common.
static int read_call(const struct json *body, struct job_call *call, struct failure *f)
{
	const char *path = NULL;
	bool flag;

	call->container = container_named(body, f);
	call->body = body;
	call->enter = true;
	call->descriptor = -1;
	if (call->container == NULL || member_string(body, "path", MEMBER_REQUIRED, &path, f) < 0 ||
	    member_bool(body, "no_overwrite_dir_non_dir", &flag, f) < 0 || member_bool(body, "copy_uid_gid", &flag, f) < 0)
		return -1;
	if (*path != '/')
		return fail(f, "invalid", "path must be absolute");
	if (call->container->init->status == PROCESS_PREPARING || call->container->deleting)
		return fail(f, "busy", "container %s is being made or deleted", call->container->id);
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

int archive_operation_get(struct request *r, const struct json *body, struct failure *f)
{
	struct job_call call = {.run = run_get};
	uint32_t stream = 0;
	int fds[2];

	if (read_call(body, &call, f) < 0 || make_pipe(body, 0, fds, &stream, f) < 0)
		return -1;
	call.descriptor = fds[1];
	struct output *o = output_new(stream, fds[0], f);
	if (o == NULL) {
		(void)close(fds[1]);
		return -1;
	}
	o->transient = true;
	if (job_start(r, &call, f) < 0) {
		output_free(o);
		return -1;
	}
	return 0;
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
