// SPDX-License-Identifier: Apache-2.0
#include "utf8.h"

size_t utf8_length(const unsigned char *s, size_t left)
{
	if (left == 0)
		return 0;
	if (s[0] < 0x80)
		return 1;

	// The second byte has a narrower range after the leads E0, ED, F0 and F4 (RFC 3629, section 4).
	unsigned char low = 0x80, high = 0xbf;
	size_t n;
	if (s[0] >= 0xc2 && s[0] <= 0xdf) {
		n = 2;
	} else if (s[0] >= 0xe0 && s[0] <= 0xef) {
		n = 3;
		if (s[0] == 0xe0)
			low = 0xa0;
		else if (s[0] == 0xed)
			high = 0x9f;
	} else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		n = 4;
		if (s[0] == 0xf0)
			low = 0x90;
		else if (s[0] == 0xf4)
			high = 0x8f;
	} else {
		return 0;
	}
	if (left < n || s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++) {
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	}
	return n;
}

size_t utf8_encode(unsigned value, char out[4])
{
	if (value < 0x80) {
		out[0] = (char)value;
		return 1;
	}
	if (value < 0x800) {
		out[0] = (char)(0xc0 | (value >> 6));
		out[1] = (char)(0x80 | (value & 0x3f));
		return 2;
	}
	if (value < 0x10000) {
		out[0] = (char)(0xe0 | (value >> 12));
		out[1] = (char)(0x80 | ((value >> 6) & 0x3f));
		out[2] = (char)(0x80 | (value & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | (value >> 18));
	out[1] = (char)(0x80 | ((value >> 12) & 0x3f));
	out[2] = (char)(0x80 | ((value >> 6) & 0x3f));
	out[3] = (char)(0x80 | (value & 0x3f));
	return 4;
}
