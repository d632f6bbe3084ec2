// SPDX-License-Identifier: Apache-2.0
// Frames of docs/agent-protocol.md: their header, and a parser that finds its feet again after any bytes.
#ifndef HYPERCELL_FRAME_H
#define HYPERCELL_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_type {
	FRAME_HELLO = 1,
	FRAME_WELCOME = 2,
	FRAME_REQUEST = 3,
	FRAME_REPLY = 4,
	FRAME_ERROR = 5,
	FRAME_EVENT = 6,
	FRAME_DATA = 7,
	FRAME_WINDOW = 8,
};

enum {
	FRAME_HEADER_SIZE = 20,
	FRAME_SYNC_SIZE = 16,
	FRAME_PAYLOAD_MAX = 1 << 20,
	FRAME_DATA_MAX = 1 << 16,
	FRAME_FLAG_EOF = 1,
};

struct frame_header {
	uint32_t length;
	uint8_t type;
	uint8_t flags;
	uint32_t id;
	uint64_t offset;
};

extern const unsigned char frame_sync[FRAME_SYNC_SIZE];

void frame_encode(const struct frame_header *header, unsigned char out[FRAME_HEADER_SIZE]);
// 0, or -1 if the header breaks a rule for frames that the host may send.
int frame_decode(const unsigned char in[FRAME_HEADER_SIZE], struct frame_header *header);

uint64_t frame_read_u64(const unsigned char *in);
void frame_write_u64(unsigned char *out, uint64_t value);

// What the parser found. Called in order; may reset the parser.
struct frame_sink {
	void (*on_sync)(void *context);
	void (*on_frame)(void *context, const struct frame_header *header, const unsigned char *payload);
	void *context;
};

enum frame_state { FRAME_SEEKING, FRAME_IN_HEADER, FRAME_IN_PAYLOAD };

// A frame of DATA is held back until what follows shows that it was whole: the bytes of an old host that died in the middle of
// one and the greeting of the next make a frame too, and its bytes would reach a program. Dropping it is safe, because
// a new host asks how much was received.
//
// The payload buffer is part of it (and its pages are untouched until needed), so that a frame never
// fails for lack of memory.
struct frame_parser {
	struct frame_sink sink;
	struct frame_header header;
	enum frame_state state;
	size_t matched; // bytes of SYNC seen while seeking
	size_t filled;  // bytes of the header or of the payload so far
	bool held;      // `header` and `payload` are DATA that was not handed out yet
	unsigned char head[FRAME_HEADER_SIZE];
	unsigned char payload[FRAME_PAYLOAD_MAX];
};

// Drops a frame in progress; everything up to the next SYNC is then discarded.
void frame_parser_reset(struct frame_parser *p);
// Nothing more has come: hands out what is held, unless half a header follows it.
void frame_parser_settle(struct frame_parser *p);
// The host hung up: resets if it is in the middle of a frame or of a header.
void frame_parser_abandon(struct frame_parser *p);
void frame_parser_feed(struct frame_parser *p, const unsigned char *data, size_t n);

#endif
