// SPDX-License-Identifier: Apache-2.0
#include "channel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "event.h"
#include "frame.h"
#include "greeting.h"
#include "log.h"
#include "loop.h"
#include "request.h"
#include "stream.h"

enum {
	// The kernel's virtio console takes at most this much in one write, as one buffer.
	WRITE_SIZE = 32 << 10,
	// With more than this waiting to be sent, requests are not read any more.
	QUEUE_HIGH = 1 << 20,
	// With more than this, events are not told any more (the host may be gone, and asks for the state when it is back).
	EVENTS_HIGH = 256 << 10,
	// Reads (of a page each) and writes in one pass, before others get their turn.
	READS_A_PASS = 64,
	WRITES_A_PASS = 16,
};

struct queued_frame {
	struct queued_frame *next;
	size_t size;
	unsigned char bytes[];
};

static void port_ready(struct watch *w, uint32_t events);
static void pump(struct later *l);
static void read_more(struct later *l);
static void on_sync(void *context);
static void on_frame(void *context, const struct frame_header *header, const unsigned char *payload);

static struct watch port = {.ready = port_ready, .fd = -1};
static struct later pump_later = {.run = pump}, read_later = {.run = read_more};
static struct frame_parser parser;

static bool greeted;
static bool hello_due; // a SYNC came; only HELLO may follow
static uint32_t generation;

static struct queued_frame *control, **control_end = &control;
static size_t control_size;
static bool reading_stalled; // until the host takes what it asked for

// What is being written now: a frame of the queue, or one of a stream that was put together in staging.
static unsigned char staging[WRITE_SIZE];
static struct {
	const unsigned char *bytes;
	size_t size, done;
	struct queued_frame *owned;
} out;

bool channel_greeted(void)
{
	return greeted;
}

uint32_t channel_generation(void)
{
	return generation;
}

void channel_wake(void)
{
	if (greeted)
		later_do(&pump_later);
}

static void enqueue(uint8_t type, uint32_t id, const void *payload, size_t n, bool sync_first)
{
	size_t sync = sync_first ? FRAME_SYNC_SIZE : 0;
	struct queued_frame *q = n > FRAME_PAYLOAD_MAX ? NULL : malloc(sizeof *q + sync + FRAME_HEADER_SIZE + n);

	if (q == NULL)
		return;
	q->next = NULL;
	q->size = sync + FRAME_HEADER_SIZE + n;
	memcpy(q->bytes, frame_sync, sync);
	frame_encode(&(struct frame_header){.length = (uint32_t)n, .type = type, .id = id}, q->bytes + sync);
	if (n > 0)
		memcpy(q->bytes + sync + FRAME_HEADER_SIZE, payload, n);
	*control_end = q;
	control_end = &q->next;
	control_size += q->size;
	later_do(&pump_later);
}

void channel_send(uint8_t type, uint32_t id, struct text *t)
{
	bool room = type != FRAME_EVENT || control_size < EVENTS_HIGH;

	if (greeted && room && !t->failed)
		enqueue(type, id, t->data, t->length, false);
	text_free(t);
}

static void drop_output(void)
{
	while (control != NULL) {
		struct queued_frame *q = control;
		control = q->next;
		free(q);
	}
	control_end = &control;
	control_size = 0;
	free(out.owned);
	out.owned = NULL;
	out.size = out.done = 0;
}

static void on_sync(void *context)
{
	(void)context;
	greeted = false;
	hello_due = true;
	drop_output();
}

static void on_hello(const unsigned char *payload, size_t n)
{
	struct text reply = {0};

	hello_due = false;
	bool agreed = greeting_answer((const char *)payload, n, &reply);
	if (reply.failed) {
		text_free(&reply);
		return;
	}
	generation++;
	drop_output();
	enqueue(agreed ? FRAME_WELCOME : FRAME_ERROR, 0, reply.data, reply.length, true);
	text_free(&reply);
	if (!agreed)
		return;
	greeted = true;
	request_forget_all();
	stream_greeted();
	event_repeat_exits();
}

static void on_stream_frame(const struct frame_header *header, const unsigned char *payload)
{
	struct stream *s = stream_find(header->id);

	if (s == NULL)
		return; // closed a moment ago, most likely
	if (header->type == FRAME_DATA)
		s->kind->data(s, header, payload);
	else
		s->kind->window(s, header->offset, frame_read_u64(payload));
}

static void on_frame(void *context, const struct frame_header *header, const unsigned char *payload)
{
	(void)context;
	if (header->type == FRAME_HELLO) {
		if (hello_due)
			on_hello(payload, header->length);
	} else if (greeted && header->type == FRAME_REQUEST) {
		request_received(header->id, (const char *)payload, header->length);
	} else if (greeted) {
		on_stream_frame(header, payload);
	}
}

// Chooses what is written next: what answers the host goes before the bytes of streams.
static bool stage(void)
{
	free(out.owned);
	out.owned = control;
	out.done = 0;
	if (control != NULL) {
		control = control->next;
		if (control == NULL)
			control_end = &control;
		control_size -= out.owned->size;
		out.bytes = out.owned->bytes;
		out.size = out.owned->size;
	} else {
		out.bytes = staging;
		out.size = greeted ? stream_next_frame(staging, sizeof staging) : 0;
	}
	return out.size > 0;
}

static void pump(struct later *l)
{
	for (int i = 0; i < WRITES_A_PASS; i++) {
		if (out.done == out.size && !stage())
			return;
		size_t left = out.size - out.done;
		ssize_t n = write(port.fd, out.bytes + out.done, left < WRITE_SIZE ? left : WRITE_SIZE);
		if (n <= 0)
			return; // full, or the host is gone: the port becomes ready again
		out.done += (size_t)n;
		if (reading_stalled && control_size <= QUEUE_HIGH / 2) {
			reading_stalled = false;
			later_do(&read_later);
		}
	}
	later_do(l);
}

// Takes what the host has sent, and comes back for the rest.
static void read_more(struct later *l)
{
	static unsigned char buffer[16 << 10];

	for (int i = 0; i < READS_A_PASS; i++) {
		if (control_size > QUEUE_HIGH) {
			reading_stalled = true;
			return;
		}
		ssize_t n = read(port.fd, buffer, sizeof buffer);
		if (n == 0) {
			// Nobody at the other end; but that may be old news, and the next host's greeting answered
			// already. So only half a frame is given up: all else is settled by the next SYNC.
			frame_parser_abandon(&parser);
		}
		if (n <= 0) {
			frame_parser_settle(&parser);
			return;
		}
		frame_parser_feed(&parser, buffer, (size_t)n);
	}
	later_do(l);
}

// Edge-triggered, because without a host the port hangs up for as long as that lasts.
static void port_ready(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	read_more(&read_later);
	pump(&pump_later);
}

int channel_init(int fd)
{
	parser.sink = (struct frame_sink){.on_sync = on_sync, .on_frame = on_frame};
	frame_parser_reset(&parser);
	port.fd = fd;
	return watch_set(&port, EPOLLIN | EPOLLOUT | EPOLLET);
}
