// SPDX-License-Identifier: Apache-2.0
// `interfaces` of configure and network.update, checked before anything is touched.
#ifndef HYPERCELL_NETWORK_PLAN_H
#define HYPERCELL_NETWORK_PLAN_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"
#include "json.h"

enum { NETWORK_INTERFACES_MAX = 16, NETWORK_ADDRESSES_MAX = 32, NETWORK_SURPLUS_MAX = 128 };

struct network_address {
	int family;              // AF_INET or AF_INET6
	unsigned prefix;         // 0 for a gateway
	unsigned char bytes[16]; // zeroes behind an IPv4 address
};

struct network_interface {
	unsigned char device_mac[6]; // what the card is found by: what it was made with, or what it has
	unsigned char mac[6];        // what it gets
	char name[IFNAMSIZ]; // empty: keep
	uint32_t mtu;        // 0: keep
	size_t addresses_length;
	struct network_address addresses[NETWORK_ADDRESSES_MAX];
	bool has_gateway;
	struct network_address gateway;
	bool down; // to stand ready, and not to be used
};

struct network_plan {
	size_t length;
	struct network_interface interfaces[NETWORK_INTERFACES_MAX];
};

// `invalid` for whatever does not fit. NULL is an empty plan.
int network_plan_parse(const struct json *interfaces, struct network_plan *out, struct failure *f);

// Is the address in the network of one of the interface's addresses?
bool network_plan_covers(const struct network_interface *interface, const struct network_address *address);

#endif
