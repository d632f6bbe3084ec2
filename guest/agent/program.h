// SPDX-License-Identifier: Apache-2.0
// Which file a process executes, and with what environment. In the child.
#ifndef HYPERCELL_PROGRAM_H
#define HYPERCELL_PROGRAM_H

#include <limits.h>

#include "failure.h"
#include "json.h"

struct program {
	char path[PATH_MAX];
	char **arguments, **environment; // as execve takes them
	char home[PATH_MAX + 8];
};

// Asks the kernel for the beginning of the program, so that it is there when it is executed. It looks with whatever
// rights the caller has, so only for a container in which nothing runs yet.
void program_read_ahead(const struct json *process);

// Builds arguments and environment of an OCI process object; `home` is HOME where the environment has none.
int program_build(const struct json *process, const char *home, struct program *out, struct failure *f);
// Looks args[0] up as the current user in the current directory. "exec-not-found" or "exec-denied".
int program_find(const struct json *process, struct program *out, struct failure *f);
// execve. Returns only with a failure.
int program_execute(const struct program *p, struct failure *f);
// The code for an error of exec or chdir.
const char *program_error_code(int error);

#endif
