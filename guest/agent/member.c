// SPDX-License-Identifier: Apache-2.0
#include "member.h"

#include <string.h>

// The member, or NULL (with a failure if it must be there).
static const struct json *find(const struct json *o, const char *key, enum member_presence p, struct failure *f)
{
	const struct json *v = json_get(o, key);

	if (json_type(v) != JSON_NULL)
		return v;
	if (p == MEMBER_REQUIRED)
		(void)fail(f, "invalid", "%s is missing", key);
	return NULL;
}

static int absent(enum member_presence p)
{
	return p == MEMBER_REQUIRED ? -1 : 0;
}

int member_string(const struct json *o, const char *key, enum member_presence p, const char **out, struct failure *f)
{
	const struct json *v = find(o, key, p, f);

	if (v == NULL)
		return absent(p);
	if (!json_is_string(v))
		return fail(f, "invalid", "%s must be a string", key);
	*out = json_string(v, "");
	return 0;
}

int member_uint(const struct json *o, const char *key, enum member_presence p, uint64_t max, uint64_t *out,
		struct failure *f)
{
	const struct json *v = find(o, key, p, f);

	if (v == NULL)
		return absent(p);
	if (!json_is_number(v) || json_int(v, -1) < 0 || json_uint(v, 0) > max)
		return fail(f, "invalid", "%s must be a number from 0 to %llu", key, (unsigned long long)max);
	*out = json_uint(v, 0);
	return 0;
}

int member_u32(const struct json *o, const char *key, enum member_presence p, uint32_t *out, struct failure *f)
{
	uint64_t value = *out;

	if (member_uint(o, key, p, UINT32_MAX, &value, f) < 0)
		return -1;
	*out = (uint32_t)value;
	return 0;
}

int member_bool(const struct json *o, const char *key, bool *out, struct failure *f)
{
	const struct json *v = find(o, key, MEMBER_OPTIONAL, f);

	if (v == NULL)
		return 0;
	if (json_type(v) != JSON_BOOL)
		return fail(f, "invalid", "%s must be true or false", key);
	*out = json_bool(v, false);
	return 0;
}

int member_object(const struct json *o, const char *key, enum member_presence p, const struct json **out,
		  struct failure *f)
{
	const struct json *v = find(o, key, p, f);

	if (v == NULL)
		return absent(p);
	if (!json_is_object(v))
		return fail(f, "invalid", "%s must be an object", key);
	*out = v;
	return 0;
}

int member_array(const struct json *o, const char *key, const struct json **out, struct failure *f)
{
	const struct json *v = find(o, key, MEMBER_OPTIONAL, f);

	if (v == NULL)
		return 0;
	if (!json_is_array(v))
		return fail(f, "invalid", "%s must be an array", key);
	*out = v;
	return 0;
}

int member_strings(const struct json *o, const char *key, const struct json **out, struct failure *f)
{
	const struct json *v = NULL;

	if (member_array(o, key, &v, f) < 0)
		return -1;
	for (size_t i = 0; i < json_length(v); i++) {
		if (!json_is_string(json_at(v, i)))
			return fail(f, "invalid", "%s must be an array of strings", key);
	}
	if (v != NULL)
		*out = v;
	return 0;
}

int member_name(const struct json *o, const char *key, const char **out, struct failure *f)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	const char *name = "";

	if (member_string(o, key, MEMBER_REQUIRED, &name, f) < 0)
		return -1;
	size_t n = strlen(name);
	if (n < 1 || n > 64 || strspn(name, allowed) != n || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return fail(f, "invalid", "%s must be 1 to 64 of [a-zA-Z0-9_.-]", key);
	*out = name;
	return 0;
}
