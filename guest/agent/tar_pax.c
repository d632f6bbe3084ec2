// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tar.h"

static const char xattr_prefix[] = "SCHILY.xattr.";

// The length that leads a record counts its own digits.
static void append_record(struct text *out, const char *prefix, const char *key, const void *value, size_t size)
{
	size_t rest = strlen(prefix) + strlen(key) + size + 3, length = rest + 1;
	char digits[24];

	while (snprintf(digits, sizeof digits, "%zu", length) + (int)rest != (int)length)
		length = rest + strlen(digits);
	text_printf(out, "%zu %s%s=", length, prefix, key);
	text_append(out, value, size);
	text_append(out, "\n", 1);
}

static void append_string(struct text *out, const char *key, const char *value)
{
	append_record(out, "", key, value, strlen(value));
}

static void append_number(struct text *out, const char *key, uint64_t value)
{
	char digits[24];

	(void)snprintf(digits, sizeof digits, "%" PRIu64, value);
	append_string(out, key, digits);
}

static void append_time(struct text *out, const char *key, int64_t seconds, uint32_t nanoseconds)
{
	char digits[48];

	// -0.25 s is kept as -1 s and 750000000 ns.
	if (seconds < 0 && nanoseconds > 0)
		(void)snprintf(digits, sizeof digits, "-%" PRIu64 ".%09" PRIu32, (uint64_t)(-(seconds + 1)),
			       1000000000 - nanoseconds);
	else if (nanoseconds > 0)
		(void)snprintf(digits, sizeof digits, "%" PRId64 ".%09" PRIu32, seconds, nanoseconds);
	else
		(void)snprintf(digits, sizeof digits, "%" PRId64, seconds);
	append_string(out, key, digits);
}

void tar_pax_build(const struct tar_member *m, struct text *out)
{
	const uint64_t id_limit = 1 << 21, long_limit = UINT64_C(1) << 33;

	if (strlen(m->name) > 100)
		append_string(out, "path", m->name);
	if (strlen(m->link) > 100)
		append_string(out, "linkpath", m->link);
	if (m->size >= long_limit)
		append_number(out, "size", m->size);
	if (m->uid >= id_limit)
		append_number(out, "uid", m->uid);
	if (m->gid >= id_limit)
		append_number(out, "gid", m->gid);
	if (m->mtime < 0 || (uint64_t)m->mtime >= long_limit || m->mtime_nsec != 0)
		append_time(out, "mtime", m->mtime, m->mtime_nsec);
	for (size_t i = 0; i < m->xattrs_length; i++)
		append_record(out, xattr_prefix, m->xattrs[i].name, m->xattrs[i].value, m->xattrs[i].size);
}

// A decimal number without sign, all of the string.
static bool parse_decimal(const char *s, uint64_t max, uint64_t *out)
{
	*out = 0;
	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++) {
		if (*s < '0' || *s > '9' || *out > (max - (uint64_t)(*s - '0')) / 10)
			return false;
		*out = *out * 10 + (uint64_t)(*s - '0');
	}
	return true;
}

// "-1.25": seconds rounded down, and nanoseconds above them.
static bool parse_time(char *s, int64_t *seconds, uint32_t *nanoseconds)
{
	bool negative = *s == '-';
	char *dot = strchr(s, '.');
	uint64_t whole, fraction = 0, scale = 100000000;

	s += negative;
	if (dot != NULL) {
		*dot = '\0';
		for (const char *c = dot + 1; *c != '\0'; c++, scale /= 10) {
			if (*c < '0' || *c > '9')
				return false;
			fraction += (uint64_t)(*c - '0') * scale;
		}
	}
	if (!parse_decimal(s, INT64_MAX - 1, &whole))
		return false;
	*seconds = negative ? -(int64_t)whole : (int64_t)whole;
	*nanoseconds = (uint32_t)fraction;
	if (negative && fraction > 0) {
		*seconds -= 1;
		*nanoseconds = (uint32_t)(1000000000 - fraction);
	}
	return true;
}

static bool set_string(char out[PATH_MAX], const char *value, size_t size)
{
	if (size >= PATH_MAX || strlen(value) != size)
		return false;
	memcpy(out, value, size + 1);
	return true;
}

static bool set_id(uint32_t *out, const char *value)
{
	uint64_t n;

	// The highest one means "no change" to chown.
	if (!parse_decimal(value, UINT32_MAX - 1, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool add_xattr(struct tar_member *m, const char *name, const char *value, size_t size)
{
	if (*name == '\0' || strlen(name) > 255 || m->xattrs_length == TAR_XATTRS_MAX)
		return false;
	m->xattrs[m->xattrs_length++] = (struct tar_xattr){name, value, size};
	return true;
}

// One record, with its value ended by NUL. An empty value takes an earlier one back.
static bool apply(struct tar_overrides *o, const char *key, char *value, size_t size)
{
	const size_t prefix = sizeof xattr_prefix - 1;
	struct tar_member *m = &o->values;

	if (strcmp(key, "path") == 0)
		return (o->has_path = size > 0) ? set_string(m->name, value, size) : true;
	if (strcmp(key, "linkpath") == 0)
		return (o->has_link = size > 0) ? set_string(m->link, value, size) : true;
	if (strncmp(key, xattr_prefix, prefix) == 0)
		return add_xattr(m, key + prefix, value, size);
	if (strncmp(key, "GNU.sparse.", 11) == 0)
		return false; // its data are not what they look like
	if (strlen(value) != size)
		return strcmp(key, "size") != 0 && strcmp(key, "uid") != 0 && strcmp(key, "gid") != 0 &&
		       strcmp(key, "mtime") != 0;
	if (strcmp(key, "size") == 0)
		return (o->has_size = size > 0) ? parse_decimal(value, INT64_MAX, &m->size) : true;
	if (strcmp(key, "uid") == 0)
		return (o->has_uid = size > 0) ? set_id(&m->uid, value) : true;
	if (strcmp(key, "gid") == 0)
		return (o->has_gid = size > 0) ? set_id(&m->gid, value) : true;
	if (strcmp(key, "mtime") == 0)
		return (o->has_mtime = size > 0) ? parse_time(value, &m->mtime, &m->mtime_nsec) : true;
	return true; // names of users, other times, comments …
}

// The record at `data`: its length, or 0 if it is malformed. Cuts it into key and value with NULs.
static size_t parse_record(char *data, size_t left, struct tar_overrides *o)
{
	char *space = memchr(data, ' ', left < 21 ? left : 21);
	uint64_t length = 0;

	if (space == NULL)
		return 0;
	*space = '\0';
	if (*data == '0' || !parse_decimal(data, left, &length) || length < (uint64_t)(space - data) + 3 ||
	    data[length - 1] != '\n')
		return 0;
	char *key = space + 1, *end = data + length - 1, *equals = memchr(key, '=', (size_t)(end - key));
	if (equals == NULL || equals == key || memchr(key, '\0', (size_t)(equals - key)) != NULL)
		return 0;
	*equals = *end = '\0';
	return apply(o, key, equals + 1, (size_t)(end - equals - 1)) ? (size_t)length : 0;
}

int tar_pax_parse(char *data, size_t length, struct tar_overrides *o, struct failure *f)
{
	for (size_t at = 0; at < length;) {
		size_t n = parse_record(data + at, length - at, o);
		if (n == 0) {
			free(data);
			return fail(f, "invalid", "tar: malformed or unsupported pax record");
		}
		at += n;
	}
	o->from_pax = true;
	o->values.storage = data;
	return 0;
}
