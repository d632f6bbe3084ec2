// SPDX-License-Identifier: Apache-2.0
#include "../text.h"

#include "../base64.h"
#include "../failure.h"
#include "expect.h"

#include <errno.h>

static void test_strings_are_escaped_and_repaired(void)
{
	struct text t = {0};

	text_json_string(&t, "a\"b\\c\n\x01\x7f \xc3\xa9 \xff\xc3");
	EXPECT_TEXT(t.data, "\"a\\\"b\\\\c\\n\\u0001\\u007f \xc3\xa9 \xef\xbf\xbd\xef\xbf\xbd\"");
	text_free(&t);
	text_json_string(&t, NULL);
	EXPECT_TEXT(t.data, "\"\"");
	text_free(&t);
	EXPECT(t.data == NULL);
}

static void test_a_text_that_grows_too_large_fails_once_and_for_all(void)
{
	struct text t = {0};
	char block[65536] = {0};

	for (int i = 0; i < 257; i++)
		text_append(&t, block, sizeof block);
	EXPECT(t.failed);
	size_t length = t.length;
	text_printf(&t, "x");
	EXPECT(t.length == length);
	text_free(&t);
}

static void expect_decoded(const char *text, const char *wanted)
{
	size_t size = 99;
	unsigned char *bytes = base64_decode(text, &size);

	if (wanted == NULL) {
		EXPECT(bytes == NULL);
	} else if (EXPECT(bytes != NULL)) {
		EXPECT(size == strlen(wanted) && memcmp(bytes, wanted, size) == 0);
	}
	free(bytes);
}

static void test_base64_is_strict(void)
{
	expect_decoded("", "");
	expect_decoded("Zg==", "f");
	expect_decoded("Zm8=", "fo");
	expect_decoded("Zm9v", "foo");
	expect_decoded("Zm9vYg==", "foob");
	static const char *const wrong[] = {"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Zm 9", "Zg==Zg==", "====", "=AAA", "Zm9v\n", "-_-_"};
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		expect_decoded(wrong[i], NULL);
}

static void test_a_failure_is_one_printable_line(void)
{
	struct failure f;
	char large[2000];

	EXPECT(fail(&f, "invalid", "bad\n\x1b[31m %s", "name") == -1);
	EXPECT_TEXT(f.message, "bad??[31m name");
	memset(large, 'x', sizeof large - 1);
	large[sizeof large - 1] = '\0';
	errno = ENOSPC;
	EXPECT(fail_errno(&f, "%s", large) == -1);
	EXPECT_TEXT(f.code, "no-space");
	EXPECT(strlen(f.message) == sizeof f.message - 1);
	EXPECT(fail(NULL, "invalid", "nobody asked") == -1);
}

int main(void)
{
	RUN(test_strings_are_escaped_and_repaired);
	RUN(test_a_text_that_grows_too_large_fails_once_and_for_all);
	RUN(test_base64_is_strict);
	RUN(test_a_failure_is_one_printable_line);
	return expect_failures;
}
