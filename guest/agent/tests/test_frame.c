// SPDX-License-Identifier: Apache-2.0
#include "../frame.h"

#include "../ring.h"
#include "expect.h"

static struct frame_parser *parser;
static char seen[4096]; // "S" for a SYNC, "<type>:<length>" for a frame

static void on_sync(void *context)
{
	(void)context;
	(void)strcat(seen, "S ");
}

static void on_frame(void *context, const struct frame_header *header, const unsigned char *payload)
{
	char line[64];

	(void)context;
	(void)snprintf(line, sizeof line, "%u:%u:%u ", header->type, header->length, header->length > 0 ? payload[0] : 0);
	if (strlen(seen) < sizeof seen - sizeof line)
		(void)strcat(seen, line);
}

static void begin(void)
{
	parser->sink = (struct frame_sink){.on_sync = on_sync, .on_frame = on_frame};
	frame_parser_reset(parser);
	*seen = '\0';
}

static size_t put_frame(unsigned char *out, uint8_t type, uint32_t id, uint32_t length, unsigned char fill)
{
	frame_encode(&(struct frame_header){.length = length, .type = type, .id = id}, out);
	memset(out + FRAME_HEADER_SIZE, fill, length);
	return FRAME_HEADER_SIZE + length;
}

static size_t put_greeting(unsigned char *out)
{
	memcpy(out, frame_sync, FRAME_SYNC_SIZE);
	return FRAME_SYNC_SIZE + put_frame(out + FRAME_SYNC_SIZE, FRAME_HELLO, 0, 5, 'h');
}

static void test_frames_come_out_however_they_are_cut(void)
{
	unsigned char bytes[512];
	size_t n = put_greeting(bytes);
	n += put_frame(bytes + n, FRAME_REQUEST, 1, 7, 'r');
	n += put_frame(bytes + n, FRAME_DATA, 2, 0, 0);
	n += put_frame(bytes + n, FRAME_WINDOW, 2, 8, 'w');

	for (size_t step = 1; step <= n; step++) {
		begin();
		for (size_t at = 0; at < n; at += step)
			frame_parser_feed(parser, bytes + at, step < n - at ? step : n - at);
		EXPECT_TEXT(seen, "S 1:5:104 3:7:114 7:0:0 8:8:119 ");
	}
}

static void test_data_is_handed_out_when_nothing_follows(void)
{
	unsigned char bytes[512];
	size_t n = put_greeting(bytes);
	n += put_frame(bytes + n, FRAME_DATA, 2, 3, 'd');

	begin();
	frame_parser_feed(parser, bytes, n);
	EXPECT_TEXT(seen, "S 1:5:104 ");
	frame_parser_settle(parser);
	EXPECT_TEXT(seen, "S 1:5:104 7:3:100 ");
	frame_parser_settle(parser);
	EXPECT_TEXT(seen, "S 1:5:104 7:3:100 ");
}

// The old host dies anywhere in a frame of DATA, the agent does not notice, and the new one greets: now once, now twice.
static void test_half_a_frame_of_data_is_never_completed_by_a_greeting(void)
{
	unsigned char bytes[512];
	size_t hello = put_greeting(bytes), request = put_frame(bytes + hello, FRAME_DATA, 2, 300, 'd');

	for (size_t part = 1; part < request; part++) {
		begin();
		frame_parser_feed(parser, bytes, hello + part);
		frame_parser_settle(parser);
		for (int greeting = 0; greeting < 10; greeting++) {
			frame_parser_feed(parser, bytes, hello);
			frame_parser_settle(parser);
		}
		EXPECT(strstr(seen, "7:") == NULL);
		EXPECT(strstr(seen, "S 1:5:104 S 1:5:104 ") == seen);
	}
}

static void test_nothing_is_believed_before_a_sync(void)
{
	unsigned char bytes[512];
	size_t n = put_frame(bytes, FRAME_REQUEST, 1, 7, 'r');

	begin();
	frame_parser_feed(parser, bytes, n);
	EXPECT_TEXT(seen, "");
	n = put_greeting(bytes);
	frame_parser_feed(parser, bytes, n);
	EXPECT_TEXT(seen, "S 1:5:104 ");
}

static void test_a_sync_is_found_behind_any_broken_header(void)
{
	unsigned char bytes[512];

	// A header's worth of zeros in every alignment to the SYNC that follows.
	for (size_t zeros = 1; zeros <= 2 * FRAME_HEADER_SIZE; zeros++) {
		begin();
		size_t n = put_greeting(bytes);
		memset(bytes + n, 0, zeros);
		n += zeros;
		n += put_greeting(bytes + n);
		frame_parser_feed(parser, bytes, n);
		EXPECT_TEXT(seen, "S 1:5:104 S 1:5:104 ");
	}
}

static void test_a_partial_sync_before_a_sync_does_not_hide_it(void)
{
	unsigned char bytes[512];

	for (size_t part = 1; part < FRAME_SYNC_SIZE; part++) {
		begin();
		memcpy(bytes, frame_sync, part);
		size_t n = part + put_greeting(bytes + part);
		frame_parser_feed(parser, bytes, n);
		EXPECT_TEXT(seen, "S 1:5:104 ");
	}
}

static void test_a_frame_left_in_the_middle_is_flushed_by_zeros(void)
{
	static const size_t flush = FRAME_PAYLOAD_MAX + FRAME_HEADER_SIZE;
	unsigned char bytes[512], *zeros = calloc(1, flush);

	begin();
	size_t n = put_greeting(bytes);
	frame_encode(&(struct frame_header){.length = FRAME_PAYLOAD_MAX, .type = FRAME_REQUEST, .id = 1}, bytes + n);
	frame_parser_feed(parser, bytes, n + FRAME_HEADER_SIZE);
	size_t again = put_greeting(bytes); // this one is taken for payload
	frame_parser_feed(parser, bytes, again);
	frame_parser_feed(parser, zeros, flush);
	frame_parser_feed(parser, bytes, again);
	EXPECT_TEXT(seen, "S 1:5:104 3:1048576:155 S 1:5:104 ");
	free(zeros);
}

static void test_only_half_a_frame_is_abandoned(void)
{
	unsigned char bytes[512];

	begin();
	size_t n = put_greeting(bytes), request = put_frame(bytes + n, FRAME_REQUEST, 1, 7, 'r');
	frame_parser_feed(parser, bytes, n);
	frame_parser_abandon(parser);
	frame_parser_feed(parser, bytes + n, request);
	EXPECT_TEXT(seen, "S 1:5:104 3:7:114 ");
	for (size_t part = 1; part < request; part++) {
		begin();
		frame_parser_feed(parser, bytes, n);
		frame_parser_feed(parser, bytes + n, part);
		frame_parser_abandon(parser);
		frame_parser_feed(parser, bytes, n);
		EXPECT_TEXT(seen, "S 1:5:104 S 1:5:104 ");
	}
}

static void test_headers_that_break_a_rule_are_refused(void)
{
	static const struct {
		struct frame_header header;
		unsigned char zero;
	} wrong[] = {
		{{.type = 0}, 0},
		{{.type = FRAME_WELCOME}, 0},
		{{.type = FRAME_REPLY, .id = 1}, 0},
		{{.type = 9, .id = 1}, 0},
		{{.type = FRAME_REQUEST}, 0},
		{{.type = FRAME_REQUEST, .id = 1, .flags = 1}, 0},
		{{.type = FRAME_REQUEST, .id = 1, .offset = 1}, 0},
		{{.type = FRAME_REQUEST, .id = 1, .length = FRAME_PAYLOAD_MAX + 1}, 0},
		{{.type = FRAME_DATA}, 0},
		{{.type = FRAME_DATA, .id = 1, .flags = 2}, 0},
		{{.type = FRAME_DATA, .id = 1, .length = FRAME_DATA_MAX + 1}, 0},
		{{.type = FRAME_WINDOW, .id = 1, .length = 7}, 0},
		{{.type = FRAME_DATA, .id = 1}, 1},
	};
	unsigned char bytes[FRAME_HEADER_SIZE];
	struct frame_header out;

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		frame_encode(&wrong[i].header, bytes);
		bytes[7] = wrong[i].zero;
		if (!EXPECT(frame_decode(bytes, &out) < 0))
			(void)fprintf(stderr, "header %zu was accepted\n", i);
	}
}

static void test_a_header_survives_its_encoding(void)
{
	const struct frame_header header = {
		.length = 0xfffe, .type = FRAME_DATA, .flags = 1, .id = 0x89abcdef, .offset = 0x0123456789abcdef};
	unsigned char bytes[FRAME_HEADER_SIZE];
	struct frame_header out;

	frame_encode(&header, bytes);
	EXPECT(bytes[0] == 0xfe && bytes[12] == 0xef && bytes[19] == 0x01);
	EXPECT(frame_decode(bytes, &out) == 0);
	EXPECT(out.length == header.length && out.id == header.id && out.offset == header.offset && out.flags == 1);
}

// A ring of 7 bytes carries 10000, written and dropped in uneven pieces.
static void test_a_ring_keeps_bytes_in_order(void)
{
	struct ring r = {.size = 7};
	struct iovec pieces[2];
	unsigned next = 0;

	for (unsigned round = 0; round < 4000; round++) {
		unsigned char chunk[5];
		for (unsigned i = 0; i < sizeof chunk; i++)
			chunk[i] = (unsigned char)(next + i);
		next += (unsigned)ring_put(&r, chunk, round % 6);
		EXPECT(ring_end(&r) == next && ring_space(&r) == 7 - r.length);
		uint64_t from = r.base + (r.length > 1 ? 1 : 0), at = from;
		int count = ring_pieces(&r, from, 100, pieces);
		for (int i = 0; i < count; i++) {
			for (size_t k = 0; k < pieces[i].iov_len; k++, at++)
				EXPECT(((unsigned char *)pieces[i].iov_base)[k] == (unsigned char)at);
		}
		EXPECT(at == ring_end(&r));
		ring_drop(&r, r.base + (r.length + 1) / 2);
	}
	ring_free(&r);
	EXPECT(r.base == next && ring_space(&r) == 7);
}

int main(void)
{
	parser = calloc(1, sizeof *parser);
	RUN(test_frames_come_out_however_they_are_cut);
	RUN(test_data_is_handed_out_when_nothing_follows);
	RUN(test_half_a_frame_of_data_is_never_completed_by_a_greeting);
	RUN(test_nothing_is_believed_before_a_sync);
	RUN(test_a_sync_is_found_behind_any_broken_header);
	RUN(test_a_partial_sync_before_a_sync_does_not_hide_it);
	RUN(test_a_frame_left_in_the_middle_is_flushed_by_zeros);
	RUN(test_only_half_a_frame_is_abandoned);
	RUN(test_headers_that_break_a_rule_are_refused);
	RUN(test_a_header_survives_its_encoding);
	RUN(test_a_ring_keeps_bytes_in_order);
	free(parser);
	return expect_failures;
}
