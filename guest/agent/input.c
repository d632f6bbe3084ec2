// SPDX-License-Identifier: Apache-2.0
#include "input.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "container_of.h"
#include "log.h"

static struct input *of_stream(struct stream *s)
{
	return CONTAINER_OF(s, struct input, stream);
}

void input_end(struct input *i)
{
	if (i->closed)
		return;
	i->closed = true;
	(void)watch_set(&i->sink, 0);
	(void)close(i->sink.fd);
	i->sink.fd = -1;
	ring_drop(&i->ring, ring_end(&i->ring));
	ring_free(&i->ring);
	stream_wake(&i->stream);
}

// Writes what the reader takes now, and asks to be called again for the rest.
static void flush(struct input *i)
{
	struct iovec pieces[2];

	while (!i->closed && i->ring.length > 0) {
		int count = ring_pieces(&i->ring, i->ring.base, i->ring.length, pieces);
		ssize_t n = writev(i->sink.fd, pieces, count);
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			input_end(i);
			return;
		}
		ring_drop(&i->ring, i->ring.base + (uint64_t)n);
	}
	if (!i->closed && i->eof && i->ring.length == 0 && !i->keep_open) {
		input_end(i);
		return;
	}
	// Idle, it is not watched: the hang-up of a closed pipe shows with the next write.
	if (!i->closed && watch_set(&i->sink, i->ring.length > 0 ? EPOLLOUT : 0) < 0)
		input_end(i);
	stream_wake(&i->stream);
}

static void sink_ready(struct watch *w, uint32_t events)
{
	(void)events;
	flush(CONTAINER_OF(w, struct input, sink));
}

// What is safe here; one more than all bytes stands for the end.
static uint64_t safe(const struct input *i)
{
	return ring_end(&i->ring) + (i->eof_here ? 1 : 0);
}

// A WINDOW is due when it opens the host's window by a fair part, or tells that all has been read.
static bool window_due(const struct input *i)
{
	uint64_t limit = i->ring.base + INPUT_WINDOW;

	if (!i->told)
		return true;
	if (limit == i->granted && safe(i) == i->acknowledged)
		return false;
	return limit - i->granted >= INPUT_WINDOW / 4 || i->ring.length == 0;
}

static size_t next_frame(struct stream *s, unsigned char *buffer, size_t size)
{
	struct input *i = of_stream(s);

	if (!window_due(i) || size < FRAME_HEADER_SIZE + 8)
		return 0;
	i->told = true;
	i->granted = i->ring.base + INPUT_WINDOW;
	i->acknowledged = safe(i);
	frame_encode(&(struct frame_header){.type = FRAME_WINDOW, .length = 8, .id = s->id, .offset = i->granted}, buffer);
	frame_write_u64(buffer + FRAME_HEADER_SIZE, i->acknowledged);
	return FRAME_HEADER_SIZE + 8;
}

static void data(struct stream *s, const struct frame_header *header, const unsigned char *payload)
{
	struct input *i = of_stream(s);
	uint64_t received = ring_end(&i->ring);
	size_t n = header->length, known = 0;

	if (header->offset > received) {
		log_event(LOG_WARNING, "invalid: stream %u has a gap at %llu", s->id, (unsigned long long)received);
		return;
	}
	if (received - header->offset < n)
		known = (size_t)(received - header->offset);
	else
		known = n;
	n -= known;
	if (n > i->ring.base + INPUT_WINDOW - received) {
		log_event(LOG_WARNING, "invalid: stream %u has no credit for %zu bytes", s->id, n);
		return;
	}
	bool at_end = header->offset + header->length >= received;
	if (i->closed || i->eof) {
		i->ring.base += i->closed ? n : 0;
	} else if (n > 0 && ring_put(&i->ring, payload + known, n) < 0) {
		log_event(LOG_ERROR, "internal: no memory for stream %u", s->id);
		input_end(i);
		return;
	}
	if (at_end && (header->flags & FRAME_FLAG_EOF) != 0)
		i->eof = i->eof_here = true;
	flush(i);
}

static void window(struct stream *s, uint64_t limit, uint64_t acknowledged)
{
	(void)limit;
	(void)acknowledged;
	log_event(LOG_WARNING, "invalid: WINDOW for the input stream %u", s->id);
}

static void greeted(struct stream *s)
{
	struct input *i = of_stream(s);

	i->told = i->eof_here = false;
	if (i->transient)
		input_end(i);
	stream_wake(s);
}

static void close_by_host(struct stream *s)
{
	struct input *i = of_stream(s);

	i->eof = true;
	flush(i);
}

static const struct stream_kind input_kind = {
	.next_frame = next_frame,
	.data = data,
	.window = window,
	.greeted = greeted,
	.close = close_by_host,
};

struct input *input_new(uint32_t id, int fd, bool keep_open, struct failure *f)
{
	struct input *i = NULL;

	if (stream_check(id, f) == 0 && (i = calloc(1, sizeof *i)) == NULL)
		(void)fail(f, "internal", "out of memory");
	if (i == NULL) {
		(void)close(fd);
		return NULL;
	}
	i->ring.size = INPUT_WINDOW;
	i->keep_open = keep_open;
	i->sink = (struct watch){.ready = sink_ready, .fd = fd};
	stream_add(&i->stream, id, &input_kind);
	stream_wake(&i->stream);
	return i;
}

void input_free(struct input *i)
{
	if (i == NULL)
		return;
	input_end(i);
	stream_remove(&i->stream);
	free(i);
}

void input_state(const struct input *i, struct text *t)
{
	text_printf(t, "{\"stream\":%u,\"received\":%llu,\"closed\":%s}", i->stream.id,
		    (unsigned long long)ring_end(&i->ring), i->closed || i->eof ? "true" : "false");
}
