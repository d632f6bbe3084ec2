// SPDX-License-Identifier: Apache-2.0
#include "archive_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES_MAX = 2 << 20 };

// Every name with its NUL, one behind the other. Their number, or -1 with errno.
static int collect(struct text *bytes, DIR *listing)
{
	const struct dirent *entry;
	int count = 0;

	errno = 0;
	while (bytes->length < BYTES_MAX && (entry = readdir(listing)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
			text_append(bytes, entry->d_name, strlen(entry->d_name) + 1);
			count++;
		}
		errno = 0;
	}
	if (bytes->failed)
		errno = ENOMEM;
	return errno == 0 ? count : -1;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int archive_names_read(struct archive_names *names, DIR *listing)
{
	archive_names_free(names);
	int count = collect(&names->bytes, listing);
	if (count <= 0)
		return count;
	names->names = calloc((size_t)count, sizeof *names->names);
	if (names->names == NULL)
		return -1;
	for (const char *name = names->bytes.data; names->length < (size_t)count; name += strlen(name) + 1)
		names->names[names->length++] = name;
	qsort(names->names, names->length, sizeof *names->names, compare);
	return 1;
}

void archive_names_free(struct archive_names *names)
{
	free(names->names);
	names->names = NULL;
	names->length = 0;
	text_free(&names->bytes);
}
