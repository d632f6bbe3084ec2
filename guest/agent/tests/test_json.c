// SPDX-License-Identifier: Apache-2.0
#include "../json.h"

#include "expect.h"

static bool parses(const char *text)
{
	char error[128];
	struct json *v = json_parse(text, strlen(text), error);

	json_free(v);
	return v != NULL;
}

static void test_values_are_read_as_they_are_written(void)
{
	struct json *v = expect_json("{'s':'a\\u00e9\\ud83d\\ude00\\n\\/','n':-12,'t':true,'z':null,'a':[1,'x',{}],'e':''}");

	EXPECT_TEXT(json_string(json_get(v, "s"), ""), "a\xc3\xa9\xf0\x9f\x98\x80\n/");
	EXPECT(json_int(json_get(v, "n"), 0) == -12);
	EXPECT(json_bool(json_get(v, "t"), false));
	EXPECT(json_type(json_get(v, "z")) == JSON_NULL);
	EXPECT(json_length(json_get(v, "a")) == 3);
	EXPECT_TEXT(json_string(json_at(json_get(v, "a"), 1), ""), "x");
	EXPECT_TEXT(json_key(v, 5), "e");
	EXPECT(json_key(v, 6) == NULL);
	EXPECT(json_at(v, 6) == NULL);
	json_free(v);
}

static void test_the_wrong_type_is_the_fallback(void)
{
	struct json *v = expect_json("['x', 5]");

	EXPECT(json_get(v, "key") == NULL);
	EXPECT(json_int(json_at(v, 0), 7) == 7);
	EXPECT(json_string(json_at(v, 1), NULL) == NULL);
	EXPECT(json_length(json_at(v, 0)) == 0);
	EXPECT(json_get(NULL, "key") == NULL);
	EXPECT(json_bool(NULL, true));
	json_free(v);
}

static void test_numbers_are_clamped(void)
{
	struct json *v = expect_json("[18446744073709551615, 18446744073709551616, 1e300, -1e300, -9223372036854775808, 2.9, -0]");

	EXPECT(json_uint(json_at(v, 0), 0) == UINT64_MAX);
	EXPECT(json_int(json_at(v, 0), 0) == INT64_MAX);
	EXPECT(json_uint(json_at(v, 1), 0) == UINT64_MAX);
	EXPECT(json_uint(json_at(v, 2), 0) == UINT64_MAX);
	EXPECT(json_int(json_at(v, 3), 0) == INT64_MIN);
	EXPECT(json_uint(json_at(v, 3), 5) == 0);
	EXPECT(json_int(json_at(v, 4), 0) == INT64_MIN);
	EXPECT(json_int(json_at(v, 5), 0) == 2);
	EXPECT(json_int(json_at(v, 6), 1) == 0);
	json_free(v);
}

static void test_what_is_not_json_is_refused(void)
{
	static const char *const texts[] = {
		"",        " ",        "{",        "}",          "[1,]",       "{\"a\":1,}",      "{a:1}",     "'a'",
		"[1 2]",   "01",       "-",        "1.",         ".5",         "1e",              "+1",        "nul",
		"truex",   "[1]]",     "\"",       "\"\\x\"",    "\"\\u12\"",  "\"\\u0000\"",     "\"\n\"",    "\"\\ud800\"",
		"\"\xff\"", "\"\xc0\x80\"", "\"\xed\xa0\x80\"", "\"\\ud800\\u0041\"", "{\"a\":1,\"a\":2}", "{\"a\":1,\"b\":2,\"\\u0061\":3}",
		"NaN",     "Infinity", "// x\n1",  "\xef\xbb\xbf{}"};

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		if (!EXPECT(!parses(texts[i])))
			(void)fprintf(stderr, "accepted: %s\n", texts[i]);
	}
}

static void test_depth_and_size_are_bounded(void)
{
	char text[2 * (JSON_DEPTH_MAX + 1) + 1] = "";

	memset(text, '[', JSON_DEPTH_MAX);
	memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
	EXPECT(parses(text));
	memset(text, '[', JSON_DEPTH_MAX + 1);
	memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
	EXPECT(!parses(text));

	size_t n = 2 * (size_t)(JSON_VALUES_MAX + 1) + 1;
	char *many = malloc(n + 1), error[128];
	for (size_t i = 0; i < n; i += 2) {
		many[i] = '0';
		many[i + 1] = ',';
	}
	many[0] = '[';
	many[1] = '0';
	for (size_t i = 2; i + 1 < n; i += 2) {
		many[i] = ',';
		many[i + 1] = '0';
	}
	many[n - 1] = ']';
	struct json *v = json_parse(many, n, error);
	EXPECT(v == NULL);
	EXPECT(strstr(error, "too many values") != NULL);
	json_free(v);
	free(many);
}

static void test_a_nul_in_the_text_is_no_end(void)
{
	char error[128];

	EXPECT(json_parse("{}\0", 3, error) == NULL);
	EXPECT(json_parse("\0", 1, error) == NULL);
	EXPECT(json_parse("\"a\0b\"", 5, error) == NULL);
}

int main(void)
{
	RUN(test_values_are_read_as_they_are_written);
	RUN(test_the_wrong_type_is_the_fallback);
	RUN(test_numbers_are_clamped);
	RUN(test_what_is_not_json_is_refused);
	RUN(test_depth_and_size_are_bounded);
	RUN(test_a_nul_in_the_text_is_no_end);
	return expect_failures;
}
