// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "tar.h"
#include "write_all.h"

void tar_writer_init(struct tar_writer *w, int fd)
{
	w->fd = fd;
	w->used = 0;
}

static int flush(struct tar_writer *w, struct failure *f)
{
	if (write_all(w->fd, w->buffer, w->used) != 0)
		return fail_errno(f, "writing the archive");
	w->used = 0;
	return 0;
}

int tar_writer_data(struct tar_writer *w, const void *data, size_t size, struct failure *f)
{
	const unsigned char *at = data;

	while (size > 0) {
		size_t n = sizeof w->buffer - w->used;
		if (n > size)
			n = size;
		memcpy(w->buffer + w->used, at, n);
		w->used += n;
		at += n;
		size -= n;
		if (w->used == sizeof w->buffer && flush(w, f) != 0)
			return -1;
	}
	return 0;
}

int tar_writer_pad(struct tar_writer *w, uint64_t size, struct failure *f)
{
	static const unsigned char zeroes[TAR_BLOCK];

	return tar_writer_data(w, zeroes, (size_t)(-size % TAR_BLOCK), f);
}

// The extended header is a member of its own, whose data are the records.
static int write_extended(struct tar_writer *w, const struct text *records, struct failure *f)
{
	static struct tar_member header; // large, and all zeroes but for these
	unsigned char block[TAR_BLOCK];

	memcpy(header.name, "././@PaxHeader", 15);
	header.type = (enum tar_type)'x';
	header.mode = 0644;
	header.size = records->length;
	tar_encode(&header, block);
	if (tar_writer_data(w, block, sizeof block, f) != 0 || tar_writer_data(w, records->data, records->length, f) != 0)
		return -1;
	return tar_writer_pad(w, records->length, f);
}

int tar_writer_member(struct tar_writer *w, const struct tar_member *m, struct failure *f)
{
	unsigned char block[TAR_BLOCK];
	struct text records = {0};
	int result = 0;

	tar_pax_build(m, &records);
	if (records.failed)
		result = fail(f, "internal", "out of memory");
	else if (records.length > 0)
		result = write_extended(w, &records, f);
	text_free(&records);
	if (result != 0)
		return -1;
	tar_encode(m, block);
	return tar_writer_data(w, block, sizeof block, f);
}

int tar_writer_end(struct tar_writer *w, struct failure *f)
{
	static const unsigned char zeroes[2 * TAR_BLOCK];

	return tar_writer_data(w, zeroes, sizeof zeroes, f) == 0 ? flush(w, f) : -1;
}
