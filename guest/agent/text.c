// SPDX-License-Identifier: Apache-2.0
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

// Makes room for n more bytes and a final NUL.
static bool reserve(struct text *t, size_t n)
{
	if (t->failed)
		return false;
	if (n > TEXT_MAX - t->length - 1) {
		t->failed = true;
		return false;
	}
	size_t needed = t->length + n + 1;
	if (needed <= t->capacity)
		return true;
	size_t capacity = t->capacity < 256 ? 256 : t->capacity;
	while (capacity < needed)
		capacity *= 2;
	char *grown = realloc(t->data, capacity);
	if (grown == NULL) {
		t->failed = true;
		return false;
	}
	t->data = grown;
	t->capacity = capacity;
	return true;
}

void text_append(struct text *t, const void *data, size_t n)
{
	if (!reserve(t, n))
		return;
	if (n > 0)
		memcpy(t->data + t->length, data, n);
	t->length += n;
	t->data[t->length] = '\0';
}

void text_printf(struct text *t, const char *format, ...)
{
	va_list arguments, again;

	va_start(arguments, format);
	va_copy(again, arguments);
	int n = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (n < 0)
		t->failed = true;
	else if (reserve(t, (size_t)n)) {
		(void)vsnprintf(t->data + t->length, (size_t)n + 1, format, again);
		t->length += (size_t)n;
	}
	va_end(again);
}

static void append_escaped(struct text *t, unsigned char c)
{
	switch (c) {
	case '"':
		text_append(t, "\\\"", 2);
		break;
	case '\\':
		text_append(t, "\\\\", 2);
		break;
	case '\n':
		text_append(t, "\\n", 2);
		break;
	default:
		text_printf(t, "\\u%04x", (unsigned)c);
	}
}

void text_json_string(struct text *t, const char *s)
{
	size_t left = s == NULL ? 0 : strlen(s);

	text_append(t, "\"", 1);
	while (left > 0) {
		unsigned char c = (unsigned char)*s;
		size_t n = utf8_length((const unsigned char *)s, left);
		if (n == 0) {
			text_append(t, "\xef\xbf\xbd", 3);
			n = 1;
		} else if (c < 0x20 || c == 0x7f || c == '"' || c == '\\') {
			append_escaped(t, c);
		} else {
			text_append(t, s, n);
		}
		s += n;
		left -= n;
	}
	text_append(t, "\"", 1);
}

void text_free(struct text *t)
{
	free(t->data);
	*t = (struct text){0};
}
