// SPDX-License-Identifier: Apache-2.0
#include "state.h"

#include "container.h"
#include "machine.h"

static void append_container(const struct container *c, struct text *t)
{
	text_printf(t, "{\"container\":\"%s\",\"status\":\"%s\",\"processes\":[", c->id, container_status(c));
	for (const struct process *p = c->init; p != NULL; p = p->next) {
		if (p != c->init)
			text_printf(t, ",");
		process_state(p, t);
	}
	text_printf(t, "]}");
}

int state_report(struct request *r, const struct json *body, struct failure *f)
{
	struct text t = {0};

	(void)body;
	(void)f;
	text_printf(&t, "{\"configured\":%s,\"containers\":[", machine_is_configured() ? "true" : "false");
	for (const struct container *c = containers; c != NULL; c = c->next) {
		append_container(c, &t);
		if (c->next != NULL)
			text_printf(&t, ",");
	}
	text_printf(&t, "]}");
	request_reply(r, &t);
	return 0;
}
