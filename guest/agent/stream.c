// SPDX-License-Identifier: Apache-2.0
#include "stream.h"

#include "channel.h"

enum { BUCKETS = 128 };

static struct stream *table[BUCKETS];
static unsigned count;

// Those who wait for a turn, first come first served.
static struct stream *queue, **queue_end = &queue;

static struct stream **bucket(uint32_t id)
{
	return &table[id % BUCKETS];
}

struct stream *stream_find(uint32_t id)
{
	struct stream *s = *bucket(id);

	while (s != NULL && s->id != id)
		s = s->next;
	return s;
}

int stream_check(uint32_t id, struct failure *f)
{
	if (id == 0)
		return fail(f, "invalid", "a stream id must not be 0");
	if (stream_find(id) != NULL)
		return fail(f, "exists", "stream %u exists", id);
	if (count >= STREAM_COUNT_MAX)
		return fail(f, "busy", "too many streams: close or reap some first");
	return 0;
}

void stream_add(struct stream *s, uint32_t id, const struct stream_kind *kind)
{
	s->id = id;
	s->kind = kind;
	s->next = *bucket(id);
	*bucket(id) = s;
	count++;
}

static void unqueue(struct stream *s)
{
	if (!s->queued)
		return;
	for (struct stream **at = &queue; *at != NULL; at = &(*at)->next_queued) {
		if (*at == s) {
			*at = s->next_queued;
			if (queue_end == &s->next_queued)
				queue_end = at;
			break;
		}
	}
	s->queued = false;
}

void stream_remove(struct stream *s)
{
	for (struct stream **at = bucket(s->id); *at != NULL; at = &(*at)->next) {
		if (*at == s) {
			*at = s->next;
			count--;
			break;
		}
	}
	unqueue(s);
}

static void enqueue(struct stream *s)
{
	if (s->queued)
		return;
	s->queued = true;
	s->next_queued = NULL;
	*queue_end = s;
	queue_end = &s->next_queued;
}

void stream_wake(struct stream *s)
{
	enqueue(s);
	channel_wake();
}

size_t stream_next_frame(unsigned char *buffer, size_t size)
{
	while (queue != NULL) {
		struct stream *s = queue;
		unqueue(s);
		size_t n = s->kind->next_frame(s, buffer, size);
		if (n > 0) {
			enqueue(s);
			return n;
		}
	}
	return 0;
}

void stream_greeted(void)
{
	for (unsigned i = 0; i < BUCKETS; i++) {
		for (struct stream *s = table[i], *next; s != NULL; s = next) {
			next = s->next; // it may free itself
			s->kind->greeted(s);
		}
	}
}
