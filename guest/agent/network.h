// SPDX-License-Identifier: Apache-2.0
// Interfaces by rtnetlink(7), for the network namespace of the caller.
#ifndef HYPERCELL_NETWORK_H
#define HYPERCELL_NETWORK_H

#include "failure.h"
#include "json.h"
#include "text.h"

// Brings `lo` up. In the agent at start, and in the child when it got a network namespace of its own.
int network_loopback_up(struct failure *f);

// Applies `interfaces` of configure and network.update, in the agent; idempotent. Each interface is found by its
// `device_mac` (`not-found` if missing), given its MAC, name and MTU, its addresses made exactly those listed (IPv4 and
// IPv6), brought up, and its default route set to `gateway` (on-link if no address covers it). Values of a wrong form
// are `invalid` before anything is changed.
int network_configure(const struct json *interfaces, struct failure *f);

// Appends a JSON array: [{"name":…,"rx_bytes":…,"rx_packets":…,"rx_errors":…,"rx_dropped":…,"tx_…"}], without `lo`.
// `namespace`: a descriptor of /proc/<pid>/ns/net, or -1 for the caller's own. (Enters it and comes back.)
int network_statistics(int namespace, struct text *json, struct failure *f);

#endif
