// SPDX-License-Identifier: Apache-2.0
#include "failure.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// The message may quote bytes of an image or of the host: keep it one printable line.
static void make_printable(char *message)
{
	for (unsigned char *at = (unsigned char *)message; *at != '\0'; at++) {
		if (*at < 0x20 || *at == 0x7f)
			*at = '?';
	}
}

static void set(struct failure *f, const char *code, const char *format, va_list arguments)
{
	(void)snprintf(f->code, sizeof f->code, "%s", code);
	(void)vsnprintf(f->message, sizeof f->message, format, arguments);
	make_printable(f->message);
}

int fail(struct failure *f, const char *code, const char *format, ...)
{
	if (f == NULL)
		return -1;
	va_list arguments;
	va_start(arguments, format);
	set(f, code, format, arguments);
	va_end(arguments);
	return -1;
}

int fail_errno(struct failure *f, const char *format, ...)
{
	int error = errno;

	if (f == NULL)
		return -1;
	va_list arguments;
	va_start(arguments, format);
	set(f, error == ENOSPC || error == EDQUOT ? "no-space" : "internal", format, arguments);
	va_end(arguments);
	size_t used = strlen(f->message);
	(void)snprintf(f->message + used, sizeof f->message - used, ": %s", strerror(error));
	errno = error;
	return -1;
}
