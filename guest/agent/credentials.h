// SPDX-License-Identifier: Apache-2.0
// What a process gives up before it executes: ids, capabilities, system calls. In the child.
#ifndef HYPERCELL_CREDENTIALS_H
#define HYPERCELL_CREDENTIALS_H

#include "failure.h"
#include "launch.h"
#include "user.h"

// Session keyring, no_new_privs, capabilities, user, umask, working directory; the seccomp filter where it needs rights.
int credentials_drop(const struct launch *l, const struct user *user, struct failure *f);
// The seccomp filter where no_new_privs allows it to come last.
int credentials_seal(const struct launch *l, struct failure *f);

#endif
