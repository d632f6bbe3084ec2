// SPDX-License-Identifier: Apache-2.0
#include "request.h"

#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "frame.h"
#include "member.h"

enum { OPEN_MAX = 256 };

static unsigned open_count;

void request_forget_all(void)
{
	open_count = 0;
}

static void finish(struct request *r, uint8_t type, struct text *t)
{
	if (r != NULL && r->generation == channel_generation()) {
		open_count--;
		channel_send(type, r->id, t);
	}
	text_free(t);
	if (r != NULL)
		json_free(r->body);
	free(r);
}

struct json *request_take_body(struct request *r)
{
	struct json *body = r->body;

	r->body = NULL;
	return body;
}

static void send_failure(struct request *r, const struct failure *f)
{
	struct text t = {0};

	text_append(&t, "{\"code\":", 8);
	text_json_string(&t, f->code);
	text_append(&t, ",\"message\":", 11);
	text_json_string(&t, f->message);
	text_append(&t, "}", 1);
	finish(r, FRAME_ERROR, &t);
}

void request_fail(struct request *r, const struct failure *f)
{
	send_failure(r, f);
}

void request_reply(struct request *r, struct text *t)
{
	struct failure f;

	if (t->failed || t->length > FRAME_PAYLOAD_MAX) {
		text_free(t);
		(void)fail(&f, "internal", "the answer is too large");
		send_failure(r, &f);
		return;
	}
	finish(r, FRAME_REPLY, t);
}

void request_reply_empty(struct request *r)
{
	struct text t = {0};

	text_append(&t, "{}", 2);
	request_reply(r, &t);
}

void request_reply_pid(struct request *r, int pid)
{
	struct text t = {0};

	text_printf(&t, "{\"pid\":%d}", pid);
	request_reply(r, &t);
}

static const struct operation *find_operation(const struct json *body, struct failure *f)
{
	const char *name = "";

	if (member_string(body, "op", MEMBER_REQUIRED, &name, f) < 0)
		return NULL;
	for (const struct operation *o = operations; o->name != NULL; o++) {
		if (strcmp(o->name, name) == 0)
			return o;
	}
	(void)fail(f, "unsupported", "this agent has no operation %.64s", name);
	return NULL;
}

void request_received(uint32_t id, const char *payload, size_t n)
{
	struct failure f;
	char error[128];
	struct request *r = calloc(1, sizeof *r);

	if (r == NULL)
		return;
	*r = (struct request){.id = id, .generation = channel_generation()};
	if (open_count++ >= OPEN_MAX) {
		(void)fail(&f, "busy", "more than %d requests are open", OPEN_MAX);
		request_fail(r, &f);
		return;
	}
	r->body = json_parse(payload, n, error);
	const struct operation *o = NULL;
	if (!json_is_object(r->body))
		(void)fail(&f, "invalid", "the request is no JSON object: %s", r->body == NULL ? error : "another type");
	else
		o = find_operation(r->body, &f);
	if (o == NULL || o->handler(r, r->body, &f) < 0)
		request_fail(r, &f);
}
