// SPDX-License-Identifier: Apache-2.0
// OCI linux.seccomp -> classic BPF (runtime-spec config-linux.md, "Seccomp"; seccomp(2)).
#ifndef HYPERCELL_SECCOMP_H
#define HYPERCELL_SECCOMP_H

#include <linux/filter.h>

#include "failure.h"
#include "json.h"

// A zeroed struct is "no filter".
struct seccomp_filter {
	struct sock_filter *code; // malloc'd; NULL: no filter
	unsigned short length;    // instructions, at most BPF_MAXINSNS
	unsigned flags;           // SECCOMP_FILTER_FLAG_*
};

// Compiles a linux.seccomp object (NULL or JSON null: no filter). Call it in the agent when the container is
// created, and keep the result for the container's exec'd processes: compiling is pure computation. Syscalls that this
// kernel's headers do not know are skipped, as runc does. Unknown actions, operators, architectures and flags are
// `invalid`; listenerPath and SCMP_ACT_NOTIFY are `unsupported`. Returns 0, or -1 with f filled and *out zeroed.
int seccomp_compile(const struct json *seccomp, struct seccomp_filter *out, struct failure *f);

// Installs it in the calling process; nothing if there is no filter. In the child, in this order (as runc):
// without no_new_privs: before capability_prepare() and the change of user (it needs CAP_SYS_ADMIN);
// with no_new_privs (prctl first): last, directly before execve. Returns 0, or -1 with f filled.
int seccomp_install(const struct seccomp_filter *filter, struct failure *f);

void seccomp_free(struct seccomp_filter *filter);

#endif
