// SPDX-License-Identifier: Apache-2.0
// Requests: each is answered exactly once, at once or later, unless the host greeted anew meanwhile.
#ifndef HYPERCELL_REQUEST_H
#define HYPERCELL_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#include "failure.h"
#include "json.h"
#include "text.h"

struct request {
	uint32_t id;
	uint32_t generation; // of the greeting it belongs to
	struct json *body;
};

// Answers and frees the request. NULL is taken (nobody asked). The text is freed.
void request_reply(struct request *r, struct text *t);
void request_reply_empty(struct request *r);
void request_reply_pid(struct request *r, int pid);
void request_fail(struct request *r, const struct failure *f);

// A frame of the host.
void request_received(uint32_t id, const char *payload, size_t n);
// A new greeting: no answer is expected any more.
void request_forget_all(void);

// For a handler: the body is its own from now on, and it frees it.
struct json *request_take_body(struct request *r);

// How an operation is carried out. It must answer, or keep the request and answer later; or return -1,
// and then the failure is the answer. The body goes with the request.
typedef int request_handler(struct request *r, const struct json *body, struct failure *f);

struct operation {
	const char *name;
	request_handler *handler;
};

// All of them, by name; the last has no name.
extern const struct operation operations[];

#endif
