// SPDX-License-Identifier: Apache-2.0
// OCI linux.namespaces: which are new, and which are those of another container of this VM.
#ifndef HYPERCELL_NAMESPACES_H
#define HYPERCELL_NAMESPACES_H

#include <stdint.h>

#include "failure.h"
#include "json.h"

enum { NAMESPACE_TYPES = 8 };

struct namespaces {
	uint64_t create; // CLONE_NEW*
	uint64_t join;   // CLONE_NEW*
	struct {
		uint64_t flag;
		int pidfd; // of the init whose namespace it is; borrowed from its container
	} joined[NAMESPACE_TYPES];
	unsigned joined_length;
};

// Opens the agent's own namespaces, to find the way back. Once, at start.
int namespaces_init(struct failure *f);

// Reads linux.namespaces of config. A path must be "container:<id>".
int namespaces_parse(const struct json *config, struct namespaces *out, struct failure *f);

// The agent enters what the next child shall share, and what cannot be made by clone3. namespaces_return undoes it, and
// must be called whether this succeeded or not.
int namespaces_enter(const struct namespaces *n, const struct json *config, struct failure *f);
void namespaces_return(void);

// The namespaces of the process behind pidfd for the next child alone: its pid namespace.
int namespaces_enter_pid(int pidfd, struct failure *f);

#endif
