// SPDX-License-Identifier: Apache-2.0
// OCI linux.resources.devices -> a BPF_PROG_TYPE_CGROUP_DEVICE program (runtime-spec config-linux.md, "Allowed Device
// List").
#ifndef HYPERCELL_DEVICE_H
#define HYPERCELL_DEVICE_H

#include <linux/bpf.h>
#include <stddef.h>

#include "failure.h"
#include "json.h"

// Translates the list (NULL: empty; what it does not allow is denied; later rules win, as in cgroup v1) and the devices
// that every container has into eBPF. `out` is malloc'd, NULL if everything is allowed. Returns 0, or -1 with f.
int device_compile(const struct json *devices, struct bpf_insn **out, size_t *length, struct failure *f);

// Compiles and attaches it to a cgroup's directory, replacing what was attached before. In the agent. A kernel without
// cgroup BPF is `unsupported`, except for a list that allows everything.
int device_attach(int cgroup, const struct json *devices, struct failure *f);

#endif
