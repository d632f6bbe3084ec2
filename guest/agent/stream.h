// SPDX-License-Identifier: Apache-2.0
// What input and output streams share: an id, and a turn at the channel.
#ifndef HYPERCELL_STREAM_H
#define HYPERCELL_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"
#include "frame.h"
#include "text.h"

struct stream;

// What a kind of stream does with what the host sends, and how it takes its turn.
struct stream_kind {
	// Writes one frame of at most `size` bytes to buffer and returns its length; 0 if it has nothing to
	// send. It is asked again until it returns 0.
	size_t (*next_frame)(struct stream *s, unsigned char *buffer, size_t size);
	void (*data)(struct stream *s, const struct frame_header *header, const unsigned char *payload);
	void (*window)(struct stream *s, uint64_t limit, uint64_t acknowledged);
	void (*greeted)(struct stream *s);
	void (*close)(struct stream *s); // the host's stream.close
};

struct stream {
	const struct stream_kind *kind;
	struct stream *next;        // in its bucket
	struct stream *next_queued; // in line for the channel
	uint32_t id;
	bool queued;
};

enum { STREAM_COUNT_MAX = 4096 };

// Fails ("exists", "invalid" for id 0, "busy" when there are too many) without a change.
int stream_check(uint32_t id, struct failure *f);
void stream_add(struct stream *s, uint32_t id, const struct stream_kind *kind);
void stream_remove(struct stream *s);
struct stream *stream_find(uint32_t id);

// It has something to send: gives it a turn, and wakes the channel.
void stream_wake(struct stream *s);
// The next frame of any stream, in turns. 0 if there is none.
size_t stream_next_frame(unsigned char *buffer, size_t size);
// A new greeting: all promises of the old connection are void.
void stream_greeted(void);

#endif
