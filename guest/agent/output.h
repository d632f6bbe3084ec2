// SPDX-License-Identifier: Apache-2.0
// An output stream: bytes from a pipe or a pty to the host. Every byte is kept until it is acknowledged;
// when the ring is full nothing is read any more, and the writer blocks as on a full pipe.
#ifndef HYPERCELL_OUTPUT_H
#define HYPERCELL_OUTPUT_H

#include "loop.h"
#include "ring.h"
#include "stream.h"

struct output {
	struct stream stream;
	struct watch source;
	struct ring ring;
	uint64_t sent;       // the next offset to send in this connection
	uint64_t limit;      // the host's credit
	size_t drain_left;   // with `draining`: bytes that may still be read
	struct timer linger; // runs from the exit of the process
	bool granted;        // the host sent a WINDOW since its greeting
	bool eof, eof_sent, eof_acknowledged;
	bool draining;
	bool discarding; // the host does not want the bytes
	bool transient;  // nobody holds it: it frees itself when it is acknowledged or closed, and with a new greeting
};

// The size of a ring in this VM.
void output_set_ring_size(size_t size);

// Takes fd (which must not block; it is closed on failure too).
struct output *output_new(uint32_t id, int fd, struct failure *f);
// The process ended: what others still hold open counts for one second more.
void output_process_exited(struct output *o);
// The end of the stream is now, whoever still holds it.
void output_end(struct output *o);
void output_free(struct output *o);
// {"stream", "base", "end", "eof"}
void output_state(const struct output *o, struct text *t);

#endif
