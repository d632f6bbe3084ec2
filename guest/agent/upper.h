// SPDX-License-Identifier: Apache-2.0
// What an overlay's upper directory changes of the lower one, found by the upper directory alone.
#ifndef HYPERCELL_UPPER_H
#define HYPERCELL_UPPER_H

#include <stdbool.h>
#include <stddef.h>

#include "failure.h"

struct upper_change {
	char kind;	  // 'C' modified, 'A' added or 'D' deleted
	const char *path; // absolute; not ended by a NUL
	size_t length;
	int parent;	  // the directory of the upper tree that it is in
	const char *base; // its name there; NULL: it is the directory `parent` itself
};

struct upper_visitor {
	// A directory comes before what is in it, names in order. 0, or -1 with f.
	int (*changed)(void *visitor, const struct upper_change *change, struct failure *f);
	// Every file that the upper directory has counts, the same or not; directories as ever.
	bool every_file;
	// What a directory that was made anew had is told by one call of this (`change` is the directory, told before), and
	// all that it has is new. NULL: each name that it hides is told as deleted, what it has is compared as ever.
	int (*made_anew)(void *visitor, const struct upper_change *change, struct failure *f);
};

// Walks the directory `upper`, against `lower` (-1: neither need be there). What the runtime makes to mount upon, and
// dockerd has in a layer of its own, is no change. At most 1024 levels deep (`invalid`).
int upper_walk(int upper, int lower, const struct upper_visitor *how, void *visitor, struct failure *f);

#endif
