// SPDX-License-Identifier: Apache-2.0
// An input stream: bytes from the host to a pipe or a pty. The host may send what fits into the ring;
// room is granted again as the reader takes bytes out.
#ifndef HYPERCELL_INPUT_H
#define HYPERCELL_INPUT_H

#include "loop.h"
#include "ring.h"
#include "stream.h"

enum { INPUT_WINDOW = 64 << 10 };

struct input {
	struct stream stream;
	struct watch sink;
	struct ring ring;      // its end is what was received
	uint64_t granted;      // the limit that the host was told in this connection
	uint64_t acknowledged; // the count that the host was told in this connection; one more with the end
	bool told;             // the host was told anything in this connection
	bool eof;              // the host closed it
	bool eof_here;         // in this connection
	bool closed;           // nothing more goes to the reader
	bool keep_open;        // a pty: the end of input must not hang it up
	bool transient;        // a new greeting ends it
};

// Takes fd (which must not block; it is closed on failure too).
struct input *input_new(uint32_t id, int fd, bool keep_open, struct failure *f);
// The reader is gone: later input is taken and dropped.
void input_end(struct input *i);
void input_free(struct input *i);
// {"stream", "received", "closed"}
void input_state(const struct input *i, struct text *t);

#endif
