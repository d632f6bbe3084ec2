// SPDX-License-Identifier: Apache-2.0
// Strict: where tars are known to read the same bytes differently (and a scanner could so be shown another archive
// than is unpacked), the archive is refused: both kinds of long names at once, data behind a member that has none,
// sparse files.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tar.h"

enum { EXTENDED_MAX = 1 << 20 };

void tar_reader_init(struct tar_reader *r, int fd)
{
	r->fd = fd;
	r->left = r->begin = r->end = r->padding = 0;
	r->ended = false;
}

// Makes at least one byte available: 1, 0 at EOF, -1 with f.
static int fill(struct tar_reader *r, struct failure *f)
{
	if (r->begin < r->end)
		return 1;
	for (;;) {
		ssize_t n = read(r->fd, r->buffer, sizeof r->buffer);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_errno(f, "reading the archive");
		r->begin = 0;
		r->end = (size_t)n;
		return n > 0 ? 1 : 0;
	}
}

static int truncated(struct failure *f)
{
	return fail(f, "invalid", "tar: ends in the middle of a member");
}

// All of `size` bytes into `out`, or dropped if it is NULL. 1, 0 if EOF came before the first byte, -1 with f.
static int take(struct tar_reader *r, void *out, uint64_t size, struct failure *f)
{
	for (uint64_t done = 0; done < size;) {
		int available = fill(r, f);
		if (available <= 0)
			return available < 0 ? -1 : done == 0 ? 0 : truncated(f);
		size_t n = r->end - r->begin;
		if (n > size - done)
			n = (size_t)(size - done);
		if (out != NULL)
			memcpy((char *)out + done, r->buffer + r->begin, n);
		r->begin += n;
		done += n;
	}
	return 1;
}

static unsigned padding_of(uint64_t size)
{
	return (unsigned)(-size % TAR_BLOCK);
}

static int skip_rest(struct tar_reader *r, struct failure *f)
{
	uint64_t n = r->left + r->padding;

	r->left = r->padding = 0;
	if (n == 0)
		return 0;
	int result = take(r, NULL, n, f);
	return result > 0 ? 0 : result == 0 ? truncated(f) : -1;
}

// The content of an extended header, ended by NUL; NULL with f.
static char *read_extended(struct tar_reader *r, uint64_t size, struct failure *f)
{
	if (size > EXTENDED_MAX) {
		fail(f, "invalid", "tar: extended header of more than %d bytes", EXTENDED_MAX);
		return NULL;
	}
	char *data = malloc((size_t)size + 1);
	if (data == NULL) {
		fail_errno(f, "tar");
		return NULL;
	}
	data[size] = '\0';
	int result = take(r, data, size, f);
	if (result > 0)
		result = take(r, NULL, padding_of(size), f);
	if (result <= 0) {
		if (result == 0)
			truncated(f);
		free(data);
		return NULL;
	}
	return data;
}

// GNU's long name or long link: a string, ended by NUL.
static int apply_long_name(struct tar_overrides *o, bool link, char *data, struct failure *f)
{
	char *out = link ? o->values.link : o->values.name;
	bool *has = link ? &o->has_link : &o->has_path;
	size_t n = strlen(data);

	if (*has || n == 0 || n >= PATH_MAX) {
		free(data);
		return fail(f, "invalid", "tar: bad long name");
	}
	memcpy(out, data, n + 1);
	*has = o->from_gnu = true;
	free(data);
	return 0;
}

// A global header would change what follows for some tars and not for others: only comments may stand there.
static int check_global(char *data, size_t size, struct failure *f)
{
	struct tar_overrides o = {0};

	if (tar_pax_parse(data, size, &o, f) != 0)
		return -1;
	bool harmless = !o.has_path && !o.has_link && !o.has_size && !o.has_uid && !o.has_gid && !o.has_mtime &&
			o.values.xattrs_length == 0;
	free(data);
	return harmless ? 0 : fail(f, "invalid", "tar: global header with more than comments");
}

static int read_overrides(struct tar_reader *r, int type, uint64_t size, struct tar_overrides *o, struct failure *f)
{
	char *data = read_extended(r, size, f);

	if (data == NULL)
		return -1;
	if (type == 'g')
		return check_global(data, (size_t)size, f);
	if (type != 'x')
		return apply_long_name(o, type == 'K', data, f);
	if (o->from_pax) {
		free(data);
		return fail(f, "invalid", "tar: two extended headers for one member");
	}
	return tar_pax_parse(data, (size_t)size, o, f);
}

static void get_string(char *out, const unsigned char *field, size_t size)
{
	size_t n = strnlen((const char *)field, size);

	memcpy(out, field, n);
	out[n] = '\0';
}

// ustar splits long names into prefix and name; GNU's own format has other things there.
static void get_name(const unsigned char block[TAR_BLOCK], char out[PATH_MAX])
{
	size_t n = 0;

	if (memcmp(block + 257, "ustar\0", 6) == 0 && block[345] != '\0') {
		get_string(out, block + 345, 155);
		n = strlen(out);
		out[n++] = '/';
	}
	get_string(out + n, block, 100);
}

static bool get_id(const unsigned char *field, uint32_t *out)
{
	int64_t n;

	if (!tar_number(field, 8, &n) || n < 0 || n >= UINT32_MAX)
		return false;
	*out = (uint32_t)n;
	return true;
}

static int decode(const unsigned char block[TAR_BLOCK], struct tar_member *m, struct failure *f)
{
	int64_t mode, size, major = 0, minor = 0;

	m->type = (enum tar_type)(block[156] == '\0' || block[156] == '7' ? TAR_FILE : block[156]);
	get_name(block, m->name);
	get_string(m->link, block + 157, 100);
	bool device = m->type == TAR_CHARACTER || m->type == TAR_BLOCK_DEVICE;
	if (!tar_number(block + 100, 8, &mode) || !get_id(block + 108, &m->uid) || !get_id(block + 116, &m->gid) ||
	    !tar_number(block + 124, 12, &size) || !tar_number(block + 136, 12, &m->mtime) ||
	    (device && (!tar_number(block + 329, 8, &major) || !tar_number(block + 337, 8, &minor))))
		return fail(f, "invalid", "tar: a number in the header of %.100s", m->name);
	if (size < 0 || major < 0 || minor < 0 || major > UINT32_MAX || minor > UINT32_MAX)
		return fail(f, "invalid", "tar: a number in the header of %.100s is out of range", m->name);
	m->mode = (uint32_t)mode & 07777;
	m->size = (uint64_t)size;
	m->major = (uint32_t)major;
	m->minor = (uint32_t)minor;
	return 0;
}

static void override(struct tar_member *m, struct tar_overrides *o)
{
	struct tar_member *v = &o->values;

	if (o->has_path)
		memcpy(m->name, v->name, sizeof m->name);
	if (o->has_link)
		memcpy(m->link, v->link, sizeof m->link);
	if (o->has_size)
		m->size = v->size;
	if (o->has_uid)
		m->uid = v->uid;
	if (o->has_gid)
		m->gid = v->gid;
	if (o->has_mtime) {
		m->mtime = v->mtime;
		m->mtime_nsec = v->mtime_nsec;
	}
	memcpy(m->xattrs, v->xattrs, v->xattrs_length * sizeof v->xattrs[0]);
	m->xattrs_length = v->xattrs_length;
	m->storage = v->storage;
	v->storage = NULL;
}

static int check(struct tar_member *m, struct failure *f)
{
	size_t n = strlen(m->name);

	// Version 7 knew no directories, only names that end in a slash.
	if (m->type == TAR_FILE && n > 0 && m->name[n - 1] == '/' && m->size == 0)
		m->type = TAR_DIRECTORY;
	if (m->type < TAR_FILE || m->type > TAR_FIFO)
		return fail(f, "invalid", "tar: member %.200s is of an unknown type", m->name);
	if (m->type != TAR_FILE && m->size != 0)
		return fail(f, "invalid", "tar: member %.200s has data, and is no file", m->name);
	if (n == 0)
		return fail(f, "invalid", "tar: a member without a name");
	return 0;
}

// The next header block: 1, 0 at the end of the archive, -1 with f.
static int next_block(struct tar_reader *r, unsigned char block[TAR_BLOCK], struct failure *f)
{
	int result = take(r, block, TAR_BLOCK, f);

	if (result <= 0)
		return result;
	if (tar_is_zero(block)) {
		result = take(r, block, TAR_BLOCK, f);
		if (result > 0 && !tar_is_zero(block))
			return fail(f, "invalid", "tar: a lone zero block");
		return result < 0 ? -1 : 0;
	}
	return tar_checksum_holds(block) ? 1 : fail(f, "invalid", "tar: a header's checksum is wrong");
}

static int read_member(struct tar_reader *r, struct tar_member *out, struct tar_overrides *o, struct failure *f)
{
	unsigned char block[TAR_BLOCK];

	for (bool first = true;; first = false) {
		int result = next_block(r, block, f);
		if (result <= 0)
			return result == 0 && !first ? truncated(f) : result;
		if (decode(block, out, f) != 0)
			return -1;
		int type = (int)out->type;
		if (type != 'x' && type != 'g' && type != 'L' && type != 'K')
			break;
		if (read_overrides(r, type, out->size, o, f) != 0)
			return -1;
		// A global header stands for itself: the archive may well end behind it.
		first = type == 'g' && first;
	}
	if (o->from_pax && o->from_gnu)
		return fail(f, "invalid", "tar: pax and GNU headers for one member");
	override(out, o);
	return check(out, f) == 0 ? 1 : -1;
}

int tar_reader_next(struct tar_reader *r, struct tar_member *out, struct failure *f)
{
	struct tar_overrides *o = calloc(1, sizeof *o);
	int result = -1;

	memset(out, 0, sizeof *out);
	if (o == NULL)
		return fail_errno(f, "tar");
	if (r->ended)
		result = 0;
	else if (skip_rest(r, f) == 0)
		result = read_member(r, out, o, f);
	free(o->values.storage);
	free(o);
	if (result > 0) {
		r->left = out->size;
		r->padding = padding_of(out->size);
	} else {
		r->ended = true;
		tar_member_free(out);
	}
	return result;
}

int64_t tar_reader_data(struct tar_reader *r, const unsigned char **data, struct failure *f)
{
	if (r->left == 0)
		return 0;
	int available = fill(r, f);
	if (available <= 0)
		return available < 0 ? -1 : truncated(f);
	size_t n = r->end - r->begin;
	if (n > r->left)
		n = (size_t)r->left;
	*data = r->buffer + r->begin;
	r->begin += n;
	r->left -= n;
	return (int64_t)n;
}

void tar_reader_drain(struct tar_reader *r)
{
	do
		r->begin = r->end;
	while (fill(r, NULL) > 0);
}

void tar_member_free(struct tar_member *m)
{
	free(m->storage);
	m->storage = NULL;
}
