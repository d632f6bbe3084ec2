// SPDX-License-Identifier: Apache-2.0
// rtnetlink(7) requests: built in a fixed buffer, sent, and answered by an acknowledgement or a dump.
#ifndef HYPERCELL_NETLINK_H
#define HYPERCELL_NETLINK_H

#include <linux/rtnetlink.h>
#include <stddef.h>
#include <stdint.h>

struct netlink {
	int fd;
	uint32_t sequence;
};

// -1 with errno.
int netlink_open(struct netlink *n);
void netlink_close(struct netlink *n);

struct netlink_request {
	union {
		struct nlmsghdr header;
		char bytes[1024];
	} u;
};

// Begins a request whose fixed part (struct ifinfomsg, ifaddrmsg, rtmsg) is `body`. NLM_F_REQUEST is added to `flags`.
void netlink_begin(struct netlink_request *r, uint16_t type, uint16_t flags, const void *body, size_t size);
void netlink_attribute(struct netlink_request *r, uint16_t type, const void *data, size_t size);
void netlink_attribute_u32(struct netlink_request *r, uint16_t type, uint32_t value);

// Sends it and waits for the acknowledgement: 0, or -1 with the kernel's errno.
int netlink_do(struct netlink *n, struct netlink_request *r);

// Sends a dump request of this type and calls visit for each message. 0, or -1 with errno. visit must not use *n.
int netlink_dump(struct netlink *n, uint16_t type, unsigned char family,
		 void (*visit)(const struct nlmsghdr *message, void *argument), void *argument);

// The attribute of this type in a message whose fixed part has `size` bytes; NULL, or with *length set.
const void *netlink_find(const struct nlmsghdr *message, size_t size, uint16_t type, size_t *length);

#endif
