// SPDX-License-Identifier: Apache-2.0
// docker diff: what was changed in a container's root, found by its overlay's upper directory alone.
#ifndef HYPERCELL_CHANGES_H
#define HYPERCELL_CHANGES_H

#include "failure.h"

// Writes one record to `out` for every path that the directory `upper` changes of what `lower` has (-1: neither need be
// there): 'C' modified, 'A' added or 'D' deleted, the absolute path, NUL. A directory comes before what is in it, names
// in order.
//
// What counts is what dockerd counts: a file differs in type, mode, owner, size, time or capability, a directory in mode
// or owner; directories on the way to a change are modified; of a tree that is gone only its top is told. What the
// runtime makes to mount upon, and dockerd has in a layer of its own, is no change.
int changes_write(int upper, int lower, int out, struct failure *f);

#endif
