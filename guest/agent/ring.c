// SPDX-License-Identifier: Apache-2.0
#include "ring.h"

#include <string.h>
#include <sys/mman.h>

uint64_t ring_end(const struct ring *r)
{
	return r->base + r->length;
}

size_t ring_space(const struct ring *r)
{
	return r->size - r->length;
}

// Cuts the n bytes at index into pieces where the ring wraps.
static int cut(const struct ring *r, size_t index, size_t n, struct iovec pieces[2])
{
	if (n == 0)
		return 0;
	size_t first = r->size - index < n ? r->size - index : n;
	pieces[0] = (struct iovec){r->bytes + index, first};
	pieces[1] = (struct iovec){r->bytes, n - first};
	return n > first ? 2 : 1;
}

int ring_free_pieces(struct ring *r, struct iovec pieces[2])
{
	if (r->bytes == NULL) {
		void *bytes = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (bytes == MAP_FAILED)
			return -1;
		r->bytes = bytes;
	}
	return cut(r, (r->front + r->length) % r->size, ring_space(r), pieces);
}

void ring_added(struct ring *r, size_t n)
{
	r->length += n;
}

ssize_t ring_put(struct ring *r, const void *data, size_t n)
{
	struct iovec pieces[2];
	const unsigned char *from = data;
	size_t done = 0;
	int count = ring_free_pieces(r, pieces);

	if (count < 0)
		return -1;
	for (int i = 0; i < count && done < n; i++) {
		size_t take = pieces[i].iov_len < n - done ? pieces[i].iov_len : n - done;
		memcpy(pieces[i].iov_base, from + done, take);
		done += take;
	}
	ring_added(r, done);
	return (ssize_t)done;
}

int ring_pieces(const struct ring *r, uint64_t offset, size_t n, struct iovec pieces[2])
{
	size_t skip = (size_t)(offset - r->base);
	size_t there = r->length - skip;

	if (r->bytes == NULL)
		return 0;
	return cut(r, (r->front + skip) % r->size, n < there ? n : there, pieces);
}

void ring_drop(struct ring *r, uint64_t offset)
{
	size_t n = (size_t)(offset - r->base);

	r->base = offset;
	r->length -= n;
	r->front = r->length == 0 ? 0 : (r->front + n) % r->size;
}

void ring_free(struct ring *r)
{
	if (r->bytes != NULL)
		(void)munmap(r->bytes, r->size);
	r->bytes = NULL;
	r->base += r->length;
	r->length = 0;
	r->front = 0;
}
