// SPDX-License-Identifier: Apache-2.0
#ifndef HYPERCELL_BASE64_H
#define HYPERCELL_BASE64_H

#include <stddef.h>

// Decodes padded base64 (RFC 4648, section 4; no white space). Returns a malloc'd buffer, never NULL for
// valid text (also when empty), with its size in *size; NULL for invalid text or without memory.
unsigned char *base64_decode(const char *text, size_t *size);

#endif
