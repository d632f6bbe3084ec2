// SPDX-License-Identifier: Apache-2.0
#include "base64.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static int digit_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

// Four characters to `bytes` (1 to 3) bytes; the bits that padding leaves over must be zero.
static int decode_quantum(const char *text, unsigned char *out, size_t bytes)
{
	uint32_t value = 0;

	for (size_t i = 0; i < 4; i++) {
		int digit = i <= bytes ? digit_value(text[i]) : 0;
		if (digit < 0)
			return -1;
		value = value << 6 | (uint32_t)digit;
	}
	for (size_t i = 0; i < 3; i++) {
		unsigned char byte = (unsigned char)(value >> (16 - 8 * i));
		if (i < bytes)
			out[i] = byte;
		else if (byte != 0)
			return -1;
	}
	return 0;
}

unsigned char *base64_decode(const char *text, size_t *size)
{
	size_t length = strlen(text), padding = 0;

	if (length % 4 != 0)
		return NULL;
	if (length > 0 && text[length - 1] == '=')
		padding = text[length - 2] == '=' ? 2 : 1;
	size_t bytes = length / 4 * 3 - padding;
	unsigned char *out = malloc(bytes + 1);
	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < length / 4; i++) {
		size_t n = i + 1 == length / 4 ? 3 - padding : 3;
		if (decode_quantum(text + 4 * i, out + 3 * i, n) < 0) {
			free(out);
			return NULL;
		}
	}
	*size = bytes;
	return out;
}
