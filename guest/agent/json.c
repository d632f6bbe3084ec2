// SPDX-License-Identifier: Apache-2.0
#include "json.h"

#include <stdlib.h>
#include <string.h>

#include "json_tree.h"

enum json_type json_type(const struct json *v)
{
	return v == NULL ? JSON_NULL : v->type;
}

bool json_is_string(const struct json *v)
{
	return json_type(v) == JSON_STRING;
}

bool json_is_object(const struct json *v)
{
	return json_type(v) == JSON_OBJECT;
}

bool json_is_array(const struct json *v)
{
	return json_type(v) == JSON_ARRAY;
}

bool json_is_number(const struct json *v)
{
	return json_type(v) == JSON_NUMBER;
}

const struct json *json_get(const struct json *object, const char *key)
{
	if (!json_is_object(object))
		return NULL;
	for (size_t i = 0; i < object->length; i++) {
		if (strcmp(object->items[i].key, key) == 0)
			return &object->items[i];
	}
	return NULL;
}

const char *json_string(const struct json *v, const char *fallback)
{
	return json_is_string(v) ? v->string : fallback;
}

int64_t json_int(const struct json *v, int64_t fallback)
{
	if (!json_is_number(v))
		return fallback;
	if (!v->negative)
		return v->magnitude > INT64_MAX ? INT64_MAX : (int64_t)v->magnitude;
	return v->magnitude > INT64_MAX ? INT64_MIN : -(int64_t)v->magnitude;
}

uint64_t json_uint(const struct json *v, uint64_t fallback)
{
	if (!json_is_number(v))
		return fallback;
	return v->negative ? 0 : v->magnitude;
}

bool json_bool(const struct json *v, bool fallback)
{
	return json_type(v) == JSON_BOOL ? v->truth : fallback;
}

size_t json_length(const struct json *v)
{
	return json_is_array(v) || json_is_object(v) ? v->length : 0;
}

const struct json *json_at(const struct json *v, size_t i)
{
	return i < json_length(v) ? &v->items[i] : NULL;
}

const char *json_key(const struct json *object, size_t i)
{
	return json_is_object(object) && i < object->length ? object->items[i].key : NULL;
}

void json_clear(struct json *v)
{
	if (v->type == JSON_STRING) {
		free(v->string);
	} else if (v->type == JSON_ARRAY || v->type == JSON_OBJECT) {
		for (size_t i = 0; i < v->length; i++) {
			free(v->items[i].key);
			json_clear(&v->items[i]);
		}
		free(v->items);
	}
}

void json_free(struct json *root)
{
	if (root == NULL)
		return;
	json_clear(root);
	free(root);
}
