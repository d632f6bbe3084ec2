// SPDX-License-Identifier: Apache-2.0
#ifndef HYPERCELL_TERMINAL_H
#define HYPERCELL_TERMINAL_H

#include "failure.h"

struct terminal {
	int master, slave;
};

// A pty of the devpts that is mounted inside `root`. In the child.
int terminal_open(int root, struct terminal *out, struct failure *f);
// Makes the slave the controlling terminal of this session, and its stdin, stdout and stderr.
int terminal_take(const struct terminal *t, struct failure *f);
// 0 rows or columns leave the size as it is.
int terminal_resize(int master, unsigned rows, unsigned columns, struct failure *f);

#endif
