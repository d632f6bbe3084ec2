// SPDX-License-Identifier: Apache-2.0
// What the unit tests of the leaf modules share: they go on after a broken promise, and main returns expect_failures.
#ifndef HYPERCELL_TESTS_EXPECT_H
#define HYPERCELL_TESTS_EXPECT_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../failure.h"
#include "../json.h"

static int expect_failures __attribute__((unused));

#define EXPECT(condition) expect_that((condition), #condition, __FILE__, __LINE__)
#define EXPECT_TEXT(actual, wanted) expect_text((actual), (wanted), __FILE__, __LINE__)

static inline bool expect_that(bool holds, const char *condition, const char *file, int line)
{
	if (!holds) {
		expect_failures++;
		(void)fprintf(stderr, "%s:%d: %s\n", file, line, condition);
	}
	return holds;
}

static inline void expect_text(const char *actual, const char *wanted, const char *file, int line)
{
	if (strcmp(actual, wanted) != 0) {
		size_t same = 0;
		while (actual[same] == wanted[same])
			same++;
		same -= same < 40 ? same : 40;
		expect_failures++;
		(void)fprintf(stderr, "%s:%d: \"%.400s\" is not \"%.400s\"\n", file, line, actual + same, wanted + same);
	}
}

// JSON with ' for ", to be read in C.
static inline struct json *expect_json(const char *text)
{
	char error[128] = "", *copy = strdup(text);

	for (char *c = copy; *c != '\0'; c++)
		*c = *c == '\'' ? '"' : *c;
	struct json *value = json_parse(copy, strlen(copy), error);
	if (value == NULL) {
		(void)fprintf(stderr, "%s: %s\n", error, copy);
		abort();
	}
	free(copy);
	return value;
}

// Runs a test, and says its name if it breaks a promise.
#define RUN(test)                                                                   \
	do {                                                                        \
		int before = expect_failures;                                       \
		test();                                                             \
		if (expect_failures != before)                                      \
			(void)fprintf(stderr, "FAILED %s: %s\n", __FILE__, #test);  \
	} while (0)

#endif
