// SPDX-License-Identifier: Apache-2.0
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "event.h"
#include "loop.h"

enum { LINES_A_SECOND = 20 };

static bool allowed(void)
{
	static uint64_t second_ns;
	static int lines;
	uint64_t now = loop_now_ns();

	if (now - second_ns >= 1000000000U) {
		second_ns = now;
		lines = 0;
	}
	return lines++ < LINES_A_SECOND;
}

void log_event(enum log_level level, const char *format, ...)
{
	static const char *const names[] = {"error", "warning", "info"};
	char message[512], line[560];
	va_list arguments;

	if (!allowed())
		return;
	va_start(arguments, format);
	(void)vsnprintf(message, sizeof message, format, arguments);
	va_end(arguments);
	for (char *at = message; *at != '\0'; at++) {
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	}
	// The console does not block: a line that does not fit is lost there, not waited for.
	int n = snprintf(line, sizeof line, "agent: %s: %s\n", names[level], message);
	if (write(STDERR_FILENO, line, (size_t)n) < 0) {
		// Nobody else to tell.
	}
	event_log(names[level], message);
}
