// SPDX-License-Identifier: Apache-2.0
// A ring of bytes with absolute offsets: bytes [base, end) of an endless stream are kept.
#ifndef HYPERCELL_RING_H
#define HYPERCELL_RING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

// A zeroed struct with a size is an empty ring; memory is taken with the first byte and given back with
// ring_free. An empty ring starts again at the front, so that small streams touch few pages.
struct ring {
	unsigned char *bytes;
	size_t size;
	size_t front;  // index of the byte at offset base
	size_t length; // bytes kept
	uint64_t base; // offset of the first byte kept
};

uint64_t ring_end(const struct ring *r);
size_t ring_space(const struct ring *r);
// The free part as one or two pieces. Returns their number; 0 if full, -1 without memory.
int ring_free_pieces(struct ring *r, struct iovec pieces[2]);
// n bytes were put into the free pieces.
void ring_added(struct ring *r, size_t n);
// Copies up to n bytes in. Returns how many fitted; -1 without memory.
ssize_t ring_put(struct ring *r, const void *data, size_t n);
// Up to n bytes from offset (in [base, end]) as one or two pieces. Returns their number.
int ring_pieces(const struct ring *r, uint64_t offset, size_t n, struct iovec pieces[2]);
// Forgets all bytes below offset (in [base, end]).
void ring_drop(struct ring *r, uint64_t offset);
void ring_free(struct ring *r);

#endif
