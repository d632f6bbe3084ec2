// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_tree.h"
#include "utf8.h"

struct parser {
	const char *at, *end;
	size_t values; // made so far
	const char *error;
};

static int parse_value(struct parser *p, struct json *v, int depth);

static int broken(struct parser *p, const char *error)
{
	if (p->error == NULL)
		p->error = error;
	return -1;
}

static void skip_space(struct parser *p)
{
	while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r'))
		p->at++;
}

// The next byte, or NUL at the end (a NUL in the text is no token either).
static char peek(const struct parser *p)
{
	return p->at < p->end ? *p->at : '\0';
}

static bool take(struct parser *p, char c)
{
	if (peek(p) != c || p->at == p->end)
		return false;
	p->at++;
	return true;
}

static int parse_hex4(struct parser *p, unsigned *value)
{
	*value = 0;
	for (int i = 0; i < 4; i++) {
		char c = peek(p);
		unsigned digit;
		if (c >= '0' && c <= '9')
			digit = (unsigned)(c - '0');
		else if (c >= 'a' && c <= 'f')
			digit = (unsigned)(c - 'a') + 10;
		else if (c >= 'A' && c <= 'F')
			digit = (unsigned)(c - 'A') + 10;
		else
			return broken(p, "bad \\u escape");
		*value = *value * 16 + digit;
		p->at++;
	}
	return 0;
}

// After "\u". Surrogates must come in pairs, and NUL is refused, so that C strings are faithful.
static int parse_unicode(struct parser *p, unsigned *value)
{
	unsigned low;

	if (parse_hex4(p, value) < 0)
		return -1;
	if (*value >= 0xd800 && *value < 0xdc00) {
		if (!take(p, '\\') || !take(p, 'u') || parse_hex4(p, &low) < 0 || low < 0xdc00 || low > 0xdfff)
			return broken(p, "lone surrogate");
		*value = 0x10000 + ((*value - 0xd800) << 10) + (low - 0xdc00);
	} else if (*value >= 0xdc00 && *value <= 0xdfff) {
		return broken(p, "lone surrogate");
	}
	return *value == 0 ? broken(p, "NUL in a string") : 0;
}

// After a backslash: appends what the escape stands for at *out.
static int parse_escape(struct parser *p, char **out)
{
	static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
	char c = peek(p);
	const char *found = c == '\0' ? NULL : strchr(names, c);
	unsigned value;

	if (found != NULL) {
		*(*out)++ = values[found - names];
		p->at++;
		return 0;
	}
	if (!take(p, 'u'))
		return broken(p, "bad escape");
	if (parse_unicode(p, &value) < 0)
		return -1;
	*out += utf8_encode(value, *out);
	return 0;
}

// Finds the closing quote, so that a string is allocated once (no escape is longer than its text).
static int string_span(struct parser *p, size_t *span)
{
	for (const char *at = p->at; at < p->end; at++) {
		if (*at == '"') {
			*span = (size_t)(at - p->at);
			return 0;
		}
		if (*at == '\\' && ++at == p->end)
			break;
	}
	return broken(p, "unterminated string");
}

static int fill_string(struct parser *p, char *out)
{
	while (peek(p) != '"') {
		unsigned char c = (unsigned char)peek(p);
		if (c < 0x20)
			return broken(p, "control character in a string");
		if (c == '\\') {
			p->at++;
			if (parse_escape(p, &out) < 0)
				return -1;
			continue;
		}
		size_t n = utf8_length((const unsigned char *)p->at, (size_t)(p->end - p->at));
		if (n == 0)
			return broken(p, "invalid UTF-8");
		memcpy(out, p->at, n);
		out += n;
		p->at += n;
	}
	p->at++;
	*out = '\0';
	return 0;
}

static int parse_string(struct parser *p, char **string)
{
	size_t span;

	if (!take(p, '"'))
		return broken(p, "string expected");
	if (string_span(p, &span) < 0)
		return -1;
	char *out = malloc(span + 1);
	if (out == NULL)
		return broken(p, "out of memory");
	if (fill_string(p, out) < 0) {
		free(out);
		return -1;
	}
	*string = out;
	return 0;
}

static size_t skip_digits(struct parser *p)
{
	const char *start = p->at;

	while (peek(p) >= '0' && peek(p) <= '9')
		p->at++;
	return (size_t)(p->at - start);
}

// The magnitude of a number with a fraction or an exponent, cut towards zero.
static int parse_real(const char *start, size_t n, uint64_t *magnitude)
{
	char copy[64];

	if (n >= sizeof copy)
		return -1;
	memcpy(copy, start, n);
	copy[n] = '\0';
	double value = strtod(copy, NULL);
	*magnitude = value >= 18446744073709551615.0 ? UINT64_MAX : (uint64_t)value;
	return 0;
}

static int parse_number(struct parser *p, struct json *v)
{
	v->negative = take(p, '-');
	const char *start = p->at;
	bool real = false;
	size_t digits = skip_digits(p);
	if (digits == 0 || (digits > 1 && *start == '0'))
		return broken(p, "bad number");
	for (const char *at = start; at < p->at; at++) {
		uint64_t digit = (uint64_t)(*at - '0');
		if (v->magnitude > (UINT64_MAX - digit) / 10)
			v->magnitude = UINT64_MAX;
		else
			v->magnitude = v->magnitude * 10 + digit;
	}
	if (take(p, '.')) {
		real = true;
		if (skip_digits(p) == 0)
			return broken(p, "bad number");
	}
	if (take(p, 'e') || take(p, 'E')) {
		real = true;
		if (!take(p, '+'))
			(void)take(p, '-');
		if (skip_digits(p) == 0)
			return broken(p, "bad number");
	}
	v->type = JSON_NUMBER;
	if (real && parse_real(start, (size_t)(p->at - start), &v->magnitude) < 0)
		return broken(p, "number too long");
	return 0;
}

static int parse_literal(struct parser *p, struct json *v)
{
	static const struct {
		const char *word;
		enum json_type type;
		bool truth;
	} literals[] = {{"null", JSON_NULL, false}, {"true", JSON_BOOL, true}, {"false", JSON_BOOL, false}};

	for (size_t i = 0; i < sizeof literals / sizeof literals[0]; i++) {
		size_t n = strlen(literals[i].word);
		if ((size_t)(p->end - p->at) >= n && memcmp(p->at, literals[i].word, n) == 0) {
			p->at += n;
			v->type = literals[i].type;
			v->truth = literals[i].truth;
			return 0;
		}
	}
	return broken(p, "value expected");
}

// A zeroed member at the end of v, or NULL. *capacity is that of v->items.
static struct json *add_member(struct parser *p, struct json *v, size_t *capacity)
{
	if (++p->values > JSON_VALUES_MAX) {
		(void)broken(p, "too many values");
		return NULL;
	}
	if (v->length == *capacity) {
		size_t larger = *capacity == 0 ? 4 : *capacity * 2;
		struct json *items = realloc(v->items, larger * sizeof *items);
		if (items == NULL) {
			(void)broken(p, "out of memory");
			return NULL;
		}
		v->items = items;
		*capacity = larger;
	}
	struct json *member = &v->items[v->length++];
	memset(member, 0, sizeof *member);
	return member;
}

static int parse_array(struct parser *p, struct json *v, int depth)
{
	size_t capacity = 0;

	v->type = JSON_ARRAY;
	skip_space(p);
	if (take(p, ']'))
		return 0;
	do {
		struct json *member = add_member(p, v, &capacity);
		if (member == NULL || parse_value(p, member, depth + 1) < 0)
			return -1;
		skip_space(p);
	} while (take(p, ','));
	return take(p, ']') ? 0 : broken(p, "',' or ']' expected");
}

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

// Sorts a copy of the keys: a large object must not cost the square of its length.
static int refuse_duplicates(struct parser *p, const struct json *v)
{
	int result = 0;

	if (v->length < 2)
		return 0;
	const char **keys = malloc(v->length * sizeof *keys);
	if (keys == NULL)
		return broken(p, "out of memory");
	for (size_t i = 0; i < v->length; i++)
		keys[i] = v->items[i].key;
	qsort(keys, v->length, sizeof *keys, compare_keys);
	for (size_t i = 1; i < v->length && result == 0; i++) {
		if (strcmp(keys[i - 1], keys[i]) == 0)
			result = broken(p, "duplicate key");
	}
	free(keys);
	return result;
}

static int parse_object(struct parser *p, struct json *v, int depth)
{
	size_t capacity = 0;

	v->type = JSON_OBJECT;
	skip_space(p);
	if (take(p, '}'))
		return 0;
	do {
		skip_space(p);
		struct json *member = add_member(p, v, &capacity);
		if (member == NULL || parse_string(p, &member->key) < 0)
			return -1;
		skip_space(p);
		if (!take(p, ':'))
			return broken(p, "':' expected");
		if (parse_value(p, member, depth + 1) < 0)
			return -1;
		skip_space(p);
	} while (take(p, ','));
	if (!take(p, '}'))
		return broken(p, "',' or '}' expected");
	return refuse_duplicates(p, v);
}

// depth counts the arrays and objects around v. On failure v can still be cleared.
static int parse_value(struct parser *p, struct json *v, int depth)
{
	skip_space(p);
	char c = peek(p);
	if ((c == '{' || c == '[') && depth >= JSON_DEPTH_MAX)
		return broken(p, "nested too deep");
	switch (c) {
	case '{':
		p->at++;
		return parse_object(p, v, depth);
	case '[':
		p->at++;
		return parse_array(p, v, depth);
	case '"': {
		char *string;
		if (parse_string(p, &string) < 0)
			return -1;
		v->type = JSON_STRING;
		v->string = string;
		return 0;
	}
	default:
		return c == '-' || (c >= '0' && c <= '9') ? parse_number(p, v) : parse_literal(p, v);
	}
}

struct json *json_parse(const char *data, size_t length, char error[128])
{
	struct parser p = {.at = data, .end = data + length};
	struct json *root = calloc(1, sizeof *root);

	if (root == NULL) {
		(void)snprintf(error, 128, "out of memory");
		return NULL;
	}
	int result = parse_value(&p, root, 0);
	skip_space(&p);
	if (result == 0 && p.at != p.end)
		(void)broken(&p, "bytes after the value");
	if (p.error == NULL)
		return root;
	(void)snprintf(error, 128, "%s at byte %zu", p.error, (size_t)(p.at - data));
	json_free(root);
	return NULL;
}
