// SPDX-License-Identifier: Apache-2.0
// An immutable, parsed JSON text (RFC 8259), bounded in depth and size. Strict: no trailing bytes, no
// duplicate keys, no NUL in strings, UTF-8 only. Every accessor takes NULL and the wrong type.
#ifndef HYPERCELL_JSON_H
#define HYPERCELL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_DEPTH_MAX = 32, JSON_VALUES_MAX = 1 << 16 };

enum json_type { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json;

// NULL with a message in error if the text is not acceptable JSON.
struct json *json_parse(const char *data, size_t length, char error[128]);
void json_free(struct json *root);

enum json_type json_type(const struct json *v);
bool json_is_string(const struct json *v);
bool json_is_object(const struct json *v);
bool json_is_array(const struct json *v);
bool json_is_number(const struct json *v);

// NULL if the key is missing or the value is not an object.
const struct json *json_get(const struct json *object, const char *key);
const char *json_string(const struct json *v, const char *fallback);
// Numbers are cut towards zero and clamped to the range of the result.
int64_t json_int(const struct json *v, int64_t fallback);
uint64_t json_uint(const struct json *v, uint64_t fallback);
bool json_bool(const struct json *v, bool fallback);

// Members of an object or an array; 0, NULL, NULL for others or out of range.
size_t json_length(const struct json *v);
const struct json *json_at(const struct json *v, size_t i);
const char *json_key(const struct json *object, size_t i);

#endif
