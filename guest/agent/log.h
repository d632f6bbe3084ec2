// SPDX-License-Identifier: Apache-2.0
// The agent's own words: a line on the console, and an EVENT "log" to the host. At most 20 a second.
#ifndef HYPERCELL_LOG_H
#define HYPERCELL_LOG_H

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO };

void log_event(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
