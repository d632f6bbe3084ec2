// SPDX-License-Identifier: Apache-2.0
#ifndef HYPERCELL_UTF8_H
#define HYPERCELL_UTF8_H

#include <stddef.h>

// The length, 1 to 4, of the well-formed UTF-8 sequence (RFC 3629: no overlong form, no surrogate, at
// most U+10FFFF) at s, of which `left` bytes may be read; 0 if there is none.
size_t utf8_length(const unsigned char *s, size_t left);

// Writes the UTF-8 form of a scalar value below 0x110000 and returns its length.
size_t utf8_encode(unsigned value, char out[4]);

#endif
