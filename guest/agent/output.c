// SPDX-License-Identifier: Apache-2.0
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "container_of.h"
#include "log.h"

// The largest pipe that a container can make of ours (fs.pipe-max-size).
enum { PIPE_SIZE_MAX = 1 << 20 };

static const uint64_t LINGER_NS = 1000000000;

static size_t ring_size = 256 << 10;

void output_set_ring_size(size_t size)
{
	ring_size = size;
}

static struct output *of_stream(struct stream *s)
{
	return CONTAINER_OF(s, struct output, stream);
}

void output_end(struct output *o)
{
	if (o->eof)
		return;
	o->eof = true;
	timer_clear(&o->linger);
	(void)watch_set(&o->source, 0);
	(void)close(o->source.fd);
	o->source.fd = -1;
	stream_wake(&o->stream);
}

// Watches the source while there is room. A full ring leaves the loop altogether, because a hang-up is
// reported whether it is asked for or not.
static void update_watch(struct output *o)
{
	bool room = o->discarding || ring_space(&o->ring) > 0;

	if (!o->eof && watch_set(&o->source, room ? EPOLLIN : 0) < 0)
		output_end(o);
}

static void count_drained(struct output *o, size_t n)
{
	if (!o->draining)
		return;
	o->drain_left -= n < o->drain_left ? n : o->drain_left;
	if (o->drain_left == 0)
		output_end(o);
}

static void source_ready(struct watch *w, uint32_t events)
{
	struct output *o = CONTAINER_OF(w, struct output, source);
	struct iovec pieces[2];
	char scratch[4096];
	int count = 1;

	(void)events;
	pieces[0] = (struct iovec){scratch, sizeof scratch};
	if (!o->discarding)
		count = ring_free_pieces(&o->ring, pieces);
	if (count <= 0) {
		if (count < 0)
			output_end(o);
		return;
	}
	ssize_t n = readv(w->fd, pieces, count);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		if (o->draining)
			output_end(o);
		return;
	}
	if (n <= 0) { // a pty master reports EIO when the last slave is closed
		output_end(o);
		return;
	}
	if (!o->discarding) {
		ring_added(&o->ring, (size_t)n);
		if (o->granted)
			stream_wake(&o->stream);
	}
	count_drained(o, (size_t)n);
	update_watch(o);
}

// Somebody else still holds the stream: take what is in it now, and no more than a pipe can hold.
static void linger_over(struct timer *t)
{
	struct output *o = CONTAINER_OF(t, struct output, linger);

	if (o->eof)
		return;
	o->draining = true;
	o->drain_left = PIPE_SIZE_MAX;
	if (o->discarding || ring_space(&o->ring) > 0)
		source_ready(&o->source, EPOLLIN);
}

void output_process_exited(struct output *o)
{
	if (!o->eof)
		timer_set(&o->linger, LINGER_NS);
}

static size_t next_frame(struct stream *s, unsigned char *buffer, size_t size)
{
	struct output *o = of_stream(s);
	struct iovec pieces[2];
	struct frame_header header = {.type = FRAME_DATA, .id = s->id, .offset = o->sent};
	uint64_t end = ring_end(&o->ring);

	if (!o->granted || o->eof_acknowledged)
		return 0;
	uint64_t upto = end < o->limit ? end : o->limit;
	size_t n = upto > o->sent ? (size_t)(upto - o->sent) : 0;
	if (n > size - FRAME_HEADER_SIZE)
		n = size - FRAME_HEADER_SIZE;
	if (o->eof && !o->eof_sent && o->sent + n == end) {
		header.flags = FRAME_FLAG_EOF;
		o->eof_sent = true;
	} else if (n == 0) {
		return 0;
	}
	header.length = (uint32_t)n;
	frame_encode(&header, buffer);
	unsigned char *out = buffer + FRAME_HEADER_SIZE;
	int count = ring_pieces(&o->ring, o->sent, n, pieces);
	for (int i = 0; i < count; i++) {
		memcpy(out, pieces[i].iov_base, pieces[i].iov_len);
		out += pieces[i].iov_len;
	}
	o->sent += n;
	return FRAME_HEADER_SIZE + n;
}

static void acknowledge(struct output *o, uint64_t acknowledged)
{
	uint64_t end = ring_end(&o->ring);

	if (o->eof && acknowledged == end + 1) {
		o->eof_acknowledged = true;
		acknowledged = end;
	}
	// Only what was sent, now or in an earlier connection, can be safe; but after a greeting `sent` is
	// not known any more, and then whatever lies within the ring is believed.
	if (o->discarding)
		return;
	if (acknowledged < o->ring.base || acknowledged > end || (o->granted && acknowledged > o->sent)) {
		log_event(LOG_WARNING, "invalid: stream %u acknowledged at %llu, kept %llu to %llu", o->stream.id,
			  (unsigned long long)acknowledged, (unsigned long long)o->ring.base, (unsigned long long)end);
		return;
	}
	ring_drop(&o->ring, acknowledged);
	if (o->eof && o->ring.length == 0)
		ring_free(&o->ring);
}

static void window(struct stream *s, uint64_t limit, uint64_t acknowledged)
{
	struct output *o = of_stream(s);

	acknowledge(o, acknowledged);
	if (o->transient && o->eof_acknowledged) {
		output_free(o);
		return;
	}
	if (!o->granted) {
		o->granted = true;
		o->sent = o->ring.base;
		o->limit = limit;
	} else if (limit > o->limit) {
		o->limit = limit;
	}
	update_watch(o);
	stream_wake(s);
}

static void data(struct stream *s, const struct frame_header *header, const unsigned char *payload)
{
	(void)header;
	(void)payload;
	log_event(LOG_WARNING, "invalid: DATA for the output stream %u", s->id);
}

static void greeted(struct stream *s)
{
	struct output *o = of_stream(s);

	o->granted = false;
	o->limit = 0;
	o->eof_sent = false;
	if (o->transient)
		output_free(o);
}

static void close_by_host(struct stream *s)
{
	struct output *o = of_stream(s);

	if (o->transient) {
		output_free(o);
		return;
	}
	o->discarding = true;
	if (o->ring.length > 0)
		ring_drop(&o->ring, ring_end(&o->ring));
	o->sent = o->ring.base;
	update_watch(o);
	stream_wake(s);
}

static const struct stream_kind output_kind = {
	.next_frame = next_frame,
	.data = data,
	.window = window,
	.greeted = greeted,
	.close = close_by_host,
};

struct output *output_new(uint32_t id, int fd, struct failure *f)
{
	struct output *o = NULL;

	if (stream_check(id, f) == 0 && (o = calloc(1, sizeof *o)) == NULL)
		(void)fail(f, "internal", "out of memory");
	if (o == NULL) {
		(void)close(fd);
		return NULL;
	}
	o->ring.size = ring_size;
	o->source = (struct watch){.ready = source_ready, .fd = fd};
	o->linger.fired = linger_over;
	if (watch_set(&o->source, EPOLLIN) < 0) {
		(void)fail_errno(f, "watch stream %u", id);
		(void)close(fd);
		free(o);
		return NULL;
	}
	stream_add(&o->stream, id, &output_kind);
	return o;
}

void output_free(struct output *o)
{
	if (o == NULL)
		return;
	output_end(o);
	ring_free(&o->ring);
	stream_remove(&o->stream);
	free(o);
}

void output_state(const struct output *o, struct text *t)
{
	text_printf(t, "{\"stream\":%u,\"base\":%llu,\"end\":%llu,\"eof\":%s}", o->stream.id,
		    (unsigned long long)o->ring.base, (unsigned long long)ring_end(&o->ring), o->eof ? "true" : "false");
}
