// SPDX-License-Identifier: Apache-2.0
// Reads the input as an archive, and holds what it takes for valid against the promises of tar.h.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct tar_member *m)
{
	if (m->name[0] == '\0' || strlen(m->name) >= PATH_MAX || strlen(m->link) >= PATH_MAX || (m->mode & ~07777U) != 0 ||
	    m->mtime_nsec >= 1000000000 || m->xattrs_length > TAR_XATTRS_MAX)
		abort();
	if (m->type != TAR_FILE && m->size != 0)
		abort();
	for (size_t i = 0; i < m->xattrs_length; i++) {
		volatile char last = m->xattrs[i].size > 0 ? m->xattrs[i].value[m->xattrs[i].size - 1] : 0;
		(void)last;
		(void)strlen(m->xattrs[i].name);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct tar_reader reader;
	static struct tar_member member;
	struct failure f;
	int fd = memfd_create("tar", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0)
		abort();
	tar_reader_init(&reader, fd);
	while (tar_reader_next(&reader, &member, &f) > 0) {
		const unsigned char *content;
		uint64_t total = 0;
		int64_t n;
		check(&member);
		while ((n = tar_reader_data(&reader, &content, &f)) > 0)
			total += (uint64_t)n;
		if (total > member.size || (n == 0 && total != member.size))
			abort();
		tar_member_free(&member);
	}
	tar_reader_drain(&reader);
	close(fd);
	return 0;
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t limit);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t limit, unsigned seed);

// A checksum is never found by chance: it is mended after most mutations.
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t limit, unsigned seed)
{
	size = LLVMFuzzerMutate(data, size, limit);
	if (seed % 8 == 0)
		return size;
	for (size_t at = 0; at + TAR_BLOCK <= size; at += TAR_BLOCK) {
		unsigned sum = 8 * ' ';
		if (tar_is_zero(data + at))
			continue;
		for (size_t i = 0; i < TAR_BLOCK; i++)
			sum += i >= 148 && i < 156 ? 0 : data[at + i];
		for (size_t i = 6, left = sum; i-- > 0; left >>= 3)
			data[at + 148 + i] = (uint8_t)('0' + (left & 7));
		data[at + 154] = '\0';
		data[at + 155] = ' ';
	}
	return size;
}
