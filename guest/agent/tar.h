// SPDX-License-Identifier: Apache-2.0
// The pax interchange format (POSIX.1-2017, pax, "pax Interchange Format"), with what GNU tar adds to it: one member
// at a time.
#ifndef HYPERCELL_TAR_H
#define HYPERCELL_TAR_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"
#include "text.h"

enum { TAR_BLOCK = 512, TAR_XATTRS_MAX = 128 };

enum tar_type {
	TAR_FILE = '0',
	TAR_HARD_LINK = '1',
	TAR_SYMLINK = '2',
	TAR_CHARACTER = '3',
	TAR_BLOCK_DEVICE = '4',
	TAR_DIRECTORY = '5',
	TAR_FIFO = '6',
};

// Its value is no string, and may hold NULs. Both point into the member's `storage`.
struct tar_xattr {
	const char *name, *value;
	size_t size;
};

struct tar_member {
	enum tar_type type;
	char name[PATH_MAX], link[PATH_MAX];
	uint32_t mode; // permissions only
	uint32_t uid, gid;
	uint64_t size; // 0 unless TAR_FILE
	int64_t mtime; // seconds since 1970
	uint32_t mtime_nsec;
	uint32_t major, minor;
	size_t xattrs_length;
	struct tar_xattr xattrs[TAR_XATTRS_MAX];
	char *storage; // owned by whoever filled the member
};

// tar_header.c: the fixed header block.
// A numeric field: octal, or base 256 (GNU), which may be negative. False if it is neither, or beyond 64 bits.
bool tar_number(const unsigned char *field, size_t size, int64_t *out);
bool tar_is_zero(const unsigned char block[TAR_BLOCK]);
bool tar_checksum_holds(const unsigned char block[TAR_BLOCK]);
// Fills a ustar block from a member; what does not fit is cut, and is for pax records to tell.
void tar_encode(const struct tar_member *m, unsigned char block[TAR_BLOCK]);

// tar_pax.c: extended header records, "<length> <key>=<value>\n".
// Appends the records that the ustar header of this member cannot hold; nothing if it holds everything.
void tar_pax_build(const struct tar_member *m, struct text *out);

// What the extended headers before a member say. A zeroed struct says nothing.
struct tar_overrides {
	bool has_path, has_link, has_size, has_uid, has_gid, has_mtime;
	bool from_pax, from_gnu;
	struct tar_member values; // `storage` holds the xattrs
};
// Parses `length` bytes of records into *o, keeping `data` (malloc'd) as its storage. -1: malformed, with f filled;
// data is then freed.
int tar_pax_parse(char *data, size_t length, struct tar_overrides *o, struct failure *f);

// tar_reader.c
struct tar_reader {
	int fd;
	uint64_t left;     // bytes of the member that are still to be read
	unsigned padding;  // after them
	bool ended;
	size_t begin, end; // of what is in the buffer
	unsigned char buffer[65536];
};
void tar_reader_init(struct tar_reader *r, int fd);
// The next member: 1, 0 at the end of the archive, -1 with f (`invalid` if malformed). What is left of the one before
// is skipped. Free *out's storage with tar_member_free.
int tar_reader_next(struct tar_reader *r, struct tar_member *out, struct failure *f);
// Up to `size` bytes of the member, at least one: their number and *data pointing at them until the next call; 0 at
// its end; -1 with f.
int64_t tar_reader_data(struct tar_reader *r, const unsigned char **data, struct failure *f);
// Reads and drops everything up to EOF.
void tar_reader_drain(struct tar_reader *r);
void tar_member_free(struct tar_member *m);

// tar_writer.c
struct tar_writer {
	int fd;
	size_t used;
	unsigned char buffer[65536];
};
void tar_writer_init(struct tar_writer *w, int fd);
// The header of a member; `size` bytes of data and tar_writer_pad must follow. All return 0, or -1 with f.
int tar_writer_member(struct tar_writer *w, const struct tar_member *m, struct failure *f);
int tar_writer_data(struct tar_writer *w, const void *data, size_t size, struct failure *f);
int tar_writer_pad(struct tar_writer *w, uint64_t size, struct failure *f);
// The end-of-archive marker; everything is written then.
int tar_writer_end(struct tar_writer *w, struct failure *f);

#endif
