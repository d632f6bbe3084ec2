// SPDX-License-Identifier: Apache-2.0
// A growable, bounded output buffer. A failed append (no memory, or past the bound) sets `failed` and
// later appends do nothing, so that a writer checks once, at the end.
#ifndef HYPERCELL_TEXT_H
#define HYPERCELL_TEXT_H

#include <stdbool.h>
#include <stddef.h>

enum { TEXT_MAX = 16 << 20 };

// A zeroed struct is an empty text. `data` is NULL or ends in a NUL that `length` does not count.
struct text {
	char *data;
	size_t length, capacity;
	bool failed;
};

void text_append(struct text *t, const void *data, size_t n);
void text_printf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
// A JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. NULL is written as "".
void text_json_string(struct text *t, const char *s);
void text_free(struct text *t);

#endif
