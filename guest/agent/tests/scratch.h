// SPDX-License-Identifier: Apache-2.0
// A directory of a test's own, and the shell for what C says too long.
#ifndef HYPERCELL_TESTS_SCRATCH_H
#define HYPERCELL_TESTS_SCRATCH_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char scratch[64] __attribute__((unused));

// Runs a command of the shell in the scratch directory; aborts if it fails.
__attribute__((format(printf, 1, 2), unused)) static void shell(const char *format, ...)
{
	char command[8192];
	va_list arguments;
	int n = snprintf(command, sizeof command, "set -e; cd %s; ", scratch);

	va_start(arguments, format);
	(void)vsnprintf(command + n, sizeof command - (size_t)n, format, arguments);
	va_end(arguments);
	if (system(command) != 0) {
		(void)fprintf(stderr, "failed: %s\n", command);
		abort();
	}
}

// The first line or so that a command writes.
__attribute__((format(printf, 1, 2), unused)) static const char *answer_of(const char *format, ...)
{
	static char answer[65536];
	char command[8192];
	va_list arguments;
	int n = snprintf(command, sizeof command, "cd %s; ", scratch);

	va_start(arguments, format);
	(void)vsnprintf(command + n, sizeof command - (size_t)n, format, arguments);
	va_end(arguments);
	FILE *pipe = popen(command, "r");
	size_t length = fread(answer, 1, sizeof answer - 1, pipe);
	answer[length] = '\0';
	while (length > 0 && answer[length - 1] == '\n')
		answer[--length] = '\0';
	(void)pclose(pipe);
	return answer;
}

__attribute__((unused)) static void scratch_make(void)
{
	(void)strcpy(scratch, "/tmp/hypercell-test-XXXXXX");
	if (mkdtemp(scratch) == NULL)
		abort();
}

__attribute__((unused)) static void scratch_remove(void)
{
	char command[128];

	(void)snprintf(command, sizeof command, "rm -rf --one-file-system %s", scratch);
	if (system(command) != 0)
		abort();
}

__attribute__((unused)) static int open_scratch(const char *name)
{
	char path[4096];

	(void)snprintf(path, sizeof path, "%s/%s", scratch, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		abort();
	return fd;
}

#endif
