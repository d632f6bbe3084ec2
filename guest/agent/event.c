// SPDX-License-Identifier: Apache-2.0
#include "event.h"

#include "channel.h"
#include "container.h"
#include "frame.h"
#include "text.h"

void event_log(const char *level, const char *message)
{
	struct text t = {0};

	if (!channel_greeted())
		return;
	text_printf(&t, "{\"event\":\"log\",\"level\":\"%s\",\"message\":", level);
	text_json_string(&t, message);
	text_printf(&t, "}");
	channel_send(FRAME_EVENT, 0, &t);
}

void event_container_oom(const char *container)
{
	struct text t = {0};

	if (!channel_greeted())
		return;
	text_printf(&t, "{\"event\":\"container.oom\",\"container\":\"%s\"}", container);
	channel_send(FRAME_EVENT, 0, &t);
}

void event_process_exited(const struct process *p)
{
	struct text t = {0};

	if (!channel_greeted())
		return;
	text_printf(&t,
		    "{\"event\":\"process.exited\",\"container\":\"%s\",\"process\":\"%s\",\"code\":%d,\"signal\":%d,"
		    "\"oom\":%s,\"exited_ns\":%llu}",
		    p->container->id, p->id, p->code, p->signal, p->oom ? "true" : "false",
		    (unsigned long long)p->exited_ns);
	channel_send(FRAME_EVENT, 0, &t);
}

void event_repeat_exits(void)
{
	for (const struct container *c = containers; c != NULL; c = c->next) {
		for (const struct process *p = c->init; p != NULL; p = p->next) {
			if (p->status == PROCESS_EXITED && !p->failed)
				event_process_exited(p);
		}
	}
}
