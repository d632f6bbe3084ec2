// SPDX-License-Identifier: Apache-2.0
#include "frame.h"

#include <string.h>

const unsigned char frame_sync[FRAME_SYNC_SIZE] = {
	0x9b, 0x48, 0x59, 0x50, 0x45, 0x52, 0x43, 0x45, 0x4c, 0x4c, 0x1a, 0x0a, 0x00, 0xff, 0x01, 0xd6,
};

// More than SYNC and any HELLO that a host sends.
enum { GREETING_MAX = 1024 };

static void write_little(unsigned char *out, uint64_t value, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		out[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t read_little(const unsigned char *in, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = bytes; i > 0; i--)
		value = value << 8 | in[i - 1];
	return value;
}

uint64_t frame_read_u64(const unsigned char *in)
{
	return read_little(in, 8);
}

void frame_write_u64(unsigned char *out, uint64_t value)
{
	write_little(out, value, 8);
}

void frame_encode(const struct frame_header *header, unsigned char out[FRAME_HEADER_SIZE])
{
	write_little(out, header->length, 4);
	out[4] = header->type;
	out[5] = header->flags;
	write_little(out + 6, 0, 2);
	write_little(out + 8, header->id, 4);
	write_little(out + 12, header->offset, 8);
}

int frame_decode(const unsigned char in[FRAME_HEADER_SIZE], struct frame_header *header)
{
	*header = (struct frame_header){
		.length = (uint32_t)read_little(in, 4),
		.type = in[4],
		.flags = in[5],
		.id = (uint32_t)read_little(in + 8, 4),
		.offset = read_little(in + 12, 8),
	};
	if (in[6] != 0 || in[7] != 0 || header->length > FRAME_PAYLOAD_MAX)
		return -1;
	switch (header->type) {
	case FRAME_HELLO:
		return header->flags == 0 && header->id == 0 && header->offset == 0 ? 0 : -1;
	case FRAME_REQUEST:
		return header->flags == 0 && header->id != 0 && header->offset == 0 ? 0 : -1;
	case FRAME_DATA:
		return header->flags <= FRAME_FLAG_EOF && header->id != 0 && header->length <= FRAME_DATA_MAX ? 0 : -1;
	case FRAME_WINDOW:
		return header->flags == 0 && header->id != 0 && header->length == 8 ? 0 : -1;
	default:
		return -1;
	}
}

void frame_parser_reset(struct frame_parser *p)
{
	p->state = FRAME_SEEKING;
	p->matched = 0;
	p->filled = 0;
	p->held = false;
}

static void hand_out(struct frame_parser *p)
{
	p->held = false;
	p->sink.on_frame(p->sink.context, &p->header, p->payload);
}

// Where a whole greeting begins that ends with the payload; its length if there is none.
static size_t find_greeting(const unsigned char *payload, size_t length)
{
	size_t at = length > GREETING_MAX ? length - GREETING_MAX : 0;
	struct frame_header header;

	for (; at + FRAME_SYNC_SIZE + FRAME_HEADER_SIZE <= length; at++) {
		if (memcmp(payload + at, frame_sync, FRAME_SYNC_SIZE) == 0 &&
		    frame_decode(payload + at + FRAME_SYNC_SIZE, &header) == 0 && header.type == FRAME_HELLO &&
		    header.length == length - at - FRAME_SYNC_SIZE - FRAME_HEADER_SIZE)
			return at;
	}
	return length;
}

void frame_parser_settle(struct frame_parser *p)
{
	if (!p->held || p->filled > 0)
		return;
	size_t greeting = find_greeting(p->payload, p->header.length);
	if (greeting == p->header.length) {
		hand_out(p);
		return;
	}
	unsigned char copy[GREETING_MAX];
	size_t n = p->header.length - greeting;
	memcpy(copy, p->payload + greeting, n);
	frame_parser_reset(p);
	frame_parser_feed(p, copy, n);
}

void frame_parser_abandon(struct frame_parser *p)
{
	if (p->state == FRAME_IN_PAYLOAD || p->filled > 0)
		frame_parser_reset(p);
	else
		frame_parser_settle(p);
}

// The first byte of SYNC occurs nowhere else in it, so that a mismatch restarts at most one byte in.
static size_t seek(struct frame_parser *p, const unsigned char *data, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (data[i] == frame_sync[p->matched])
			p->matched++;
		else
			p->matched = data[i] == frame_sync[0] ? 1 : 0;
		if (p->matched == FRAME_SYNC_SIZE) {
			p->state = FRAME_IN_HEADER;
			p->matched = 0;
			p->filled = 0;
			p->sink.on_sync(p->sink.context);
			return i + 1;
		}
	}
	return n;
}

static void finish_frame(struct frame_parser *p)
{
	p->state = FRAME_IN_HEADER;
	p->filled = 0;
	if (p->header.type == FRAME_DATA)
		p->held = true;
	else
		hand_out(p);
}

// A HELLO follows, which only ever follows a SYNC: that was taken for the end of the payload.
static void drop_held(struct frame_parser *p)
{
	p->held = false;
	if (p->header.length >= FRAME_SYNC_SIZE &&
	    memcmp(p->payload + p->header.length - FRAME_SYNC_SIZE, frame_sync, FRAME_SYNC_SIZE) == 0)
		p->sink.on_sync(p->sink.context);
}

// A whole header: what is held was whole too, if this one is good.
static void finish_header(struct frame_parser *p)
{
	struct frame_header header;

	p->filled = 0;
	if (frame_decode(p->head, &header) < 0) {
		// A SYNC may begin within these very bytes.
		unsigned char again[FRAME_HEADER_SIZE];
		memcpy(again, p->head, sizeof again);
		frame_parser_reset(p);
		frame_parser_feed(p, again, sizeof again);
		return;
	}
	if (p->held && header.type == FRAME_HELLO)
		drop_held(p);
	else if (p->held)
		hand_out(p);
	p->header = header;
	if (header.length == 0)
		finish_frame(p);
	else
		p->state = FRAME_IN_PAYLOAD;
}

static size_t take_header(struct frame_parser *p, const unsigned char *data, size_t n)
{
	// Stop at the size of SYNC first: the next bytes belong to what follows a greeting.
	size_t wanted = p->filled < FRAME_SYNC_SIZE ? FRAME_SYNC_SIZE : FRAME_HEADER_SIZE;
	size_t take = wanted - p->filled < n ? wanted - p->filled : n;

	memcpy(p->head + p->filled, data, take);
	p->filled += take;
	if (p->filled == FRAME_SYNC_SIZE && memcmp(p->head, frame_sync, FRAME_SYNC_SIZE) == 0) {
		p->filled = 0;
		p->held = false;
		p->sink.on_sync(p->sink.context);
	} else if (p->filled == FRAME_HEADER_SIZE) {
		finish_header(p);
	}
	return take;
}

static size_t take_payload(struct frame_parser *p, const unsigned char *data, size_t n)
{
	size_t missing = p->header.length - p->filled;
	size_t take = missing < n ? missing : n;

	memcpy(p->payload + p->filled, data, take);
	p->filled += take;
	if (p->filled == p->header.length)
		finish_frame(p);
	return take;
}

void frame_parser_feed(struct frame_parser *p, const unsigned char *data, size_t n)
{
	while (n > 0) {
		size_t taken = 0;
		switch (p->state) {
		case FRAME_SEEKING:
			taken = seek(p, data, n);
			break;
		case FRAME_IN_HEADER:
			taken = take_header(p, data, n);
			break;
		case FRAME_IN_PAYLOAD:
			taken = take_payload(p, data, n);
			break;
		}
		data += taken;
		n -= taken;
	}
}
