// SPDX-License-Identifier: Apache-2.0
// HELLO and WELCOME.
#ifndef HYPERCELL_GREETING_H
#define HYPERCELL_GREETING_H

#include <stdbool.h>
#include <stddef.h>

#include "text.h"

#define AGENT_VERSION "0.1.0"

// Answers a HELLO: true and the payload of WELCOME, or false and that of ERROR.
bool greeting_answer(const char *hello, size_t n, struct text *reply);

#endif
