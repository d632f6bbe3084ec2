// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "tar.h"

// Offsets and sizes of the ustar header's fields.
enum {
	NAME = 0,
	NAME_SIZE = 100,
	MODE = 100,
	UID = 108,
	GID = 116,
	SIZE = 124,
	MTIME = 136,
	CHECKSUM = 148,
	TYPE = 156,
	LINK = 157,
	LINK_SIZE = 100,
	MAGIC = 257,
	MAJOR = 329,
	MINOR = 337,
	ID_SIZE = 8,
	LONG_SIZE = 12,
};

// Base 256: the first bit is a flag, the rest a big-endian number in two's complement.
static bool base256(const unsigned char *field, size_t size, int64_t *out)
{
	const bool negative = (field[0] & 0x40) != 0;
	uint64_t value = negative ? ~UINT64_C(0x7f) | field[0] : field[0] & 0x3f;

	for (size_t i = 1; i < size; i++) {
		// The nine highest bits must agree, lest one that matters is shifted out.
		if (value >> 55 != (negative ? 0x1ff : 0))
			return false;
		value = value << 8 | field[i];
	}
	*out = (int64_t)value;
	return true;
}

bool tar_number(const unsigned char *field, size_t size, int64_t *out)
{
	uint64_t value = 0;
	size_t i = 0;

	if ((field[0] & 0x80) != 0)
		return base256(field, size, out);
	while (i < size && field[i] == ' ')
		i++;
	for (; i < size && field[i] >= '0' && field[i] <= '7'; i++) {
		if (value > UINT64_MAX >> 4)
			return false;
		value = value << 3 | (uint64_t)(field[i] - '0');
	}
	// Only blanks may follow; other tars would read something else into the rest.
	for (; i < size; i++) {
		if (field[i] != ' ' && field[i] != '\0')
			return false;
	}
	*out = (int64_t)value;
	return true;
}

bool tar_is_zero(const unsigned char block[TAR_BLOCK])
{
	for (size_t i = 0; i < TAR_BLOCK; i++) {
		if (block[i] != 0)
			return false;
	}
	return true;
}

bool tar_checksum_holds(const unsigned char block[TAR_BLOCK])
{
	int64_t unsigned_sum = 8 * ' ', signed_sum = 8 * ' ', expected;

	for (size_t i = 0; i < TAR_BLOCK; i++) {
		if (i >= CHECKSUM && i < CHECKSUM + 8)
			continue;
		unsigned_sum += block[i];
		signed_sum += (signed char)block[i];
	}
	// Some old tars added signed characters.
	return tar_number(block + CHECKSUM, 8, &expected) && (expected == unsigned_sum || expected == signed_sum);
}

static void put_octal(unsigned char *field, size_t size, uint64_t value)
{
	field[size - 1] = '\0';
	for (size_t i = size - 1; i-- > 0; value >>= 3)
		field[i] = (unsigned char)('0' + (value & 7));
}

static void put_string(unsigned char *field, size_t size, const char *s)
{
	size_t n = strlen(s);

	memcpy(field, s, n < size ? n : size);
}

// The value, or 0 if the field is too small for it.
static uint64_t fitting(uint64_t value, size_t size)
{
	return value >> (3 * (size - 1)) == 0 ? value : 0;
}

void tar_encode(const struct tar_member *m, unsigned char block[TAR_BLOCK])
{
	uint64_t sum = 8 * ' ';

	memset(block, 0, TAR_BLOCK);
	put_string(block + NAME, NAME_SIZE, m->name);
	put_octal(block + MODE, ID_SIZE, m->mode & 07777);
	put_octal(block + UID, ID_SIZE, fitting(m->uid, ID_SIZE));
	put_octal(block + GID, ID_SIZE, fitting(m->gid, ID_SIZE));
	put_octal(block + SIZE, LONG_SIZE, fitting(m->size, LONG_SIZE));
	put_octal(block + MTIME, LONG_SIZE, m->mtime < 0 ? 0 : fitting((uint64_t)m->mtime, LONG_SIZE));
	block[TYPE] = (unsigned char)m->type;
	put_string(block + LINK, LINK_SIZE, m->link);
	memcpy(block + MAGIC, "ustar\00000", 8);
	put_octal(block + MAJOR, ID_SIZE, fitting(m->major, ID_SIZE));
	put_octal(block + MINOR, ID_SIZE, fitting(m->minor, ID_SIZE));
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += i >= CHECKSUM && i < CHECKSUM + 8 ? 0 : block[i];
	put_octal(block + CHECKSUM, 7, sum);
	block[CHECKSUM + 7] = ' ';
}
