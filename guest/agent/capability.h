// SPDX-License-Identifier: Apache-2.0
// OCI process.capabilities -> capabilities(7).
#ifndef HYPERCELL_CAPABILITY_H
#define HYPERCELL_CAPABILITY_H

#include <stdint.h>

#include "failure.h"
#include "json.h"

// Bit n is capability n of <linux/capability.h>.
struct capabilities {
	uint64_t bounding, effective, permitted, inheritable, ambient;
};

// Parses a process.capabilities object; NULL: every set is empty (as runc). An unknown name or a wrong type is
// `invalid`. Pure. Returns 0 or -1.
int capability_parse(const struct json *capabilities, struct capabilities *out, struct failure *f);

// Both in the child, around the change of user, which is A's setgroups, setresgid, setresuid:
//   capability_prepare  drops what is not in the bounding set and sets PR_SET_KEEPCAPS
//   setgroups(); setresgid(); setresuid();
//   capability_apply    clears keepcaps, sets effective, permitted and inheritable, then ambient
// Capabilities that this kernel does not have are left out silently. Return 0 or -1.
int capability_prepare(const struct capabilities *c, struct failure *f);
int capability_apply(const struct capabilities *c, struct failure *f);

#endif
