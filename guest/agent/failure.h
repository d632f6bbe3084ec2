// SPDX-License-Identifier: Apache-2.0
// One failure, as it will reach the host: a code of docs/agent-protocol.md and one line for a person.
#ifndef HYPERCELL_FAILURE_H
#define HYPERCELL_FAILURE_H

struct failure {
	char code[24];
	char message[512];
};

// Fills f (which may be NULL) and always returns -1. The message is made printable and is cut to fit.
int fail(struct failure *f, const char *code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

// As fail, with ": <strerror(errno)>" appended. The code is "no-space" for ENOSPC and EDQUOT, else "internal".
int fail_errno(struct failure *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
