// SPDX-License-Identifier: Apache-2.0
#include "netlink.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 32768 }; // the kernel's own dump size

int netlink_open(struct netlink *n)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK};

	*n = (struct netlink){.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)};
	if (n->fd < 0)
		return -1;
	if (bind(n->fd, (struct sockaddr *)&address, sizeof address) == 0)
		return 0;
	int error = errno;
	netlink_close(n);
	errno = error;
	return -1;
}

void netlink_close(struct netlink *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
}

void netlink_begin(struct netlink_request *r, uint16_t type, uint16_t flags, const void *body, size_t size)
{
	memset(r, 0, sizeof *r);
	r->u.header.nlmsg_type = type;
	r->u.header.nlmsg_flags = (uint16_t)(flags | NLM_F_REQUEST);
	r->u.header.nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
	memcpy(r->u.bytes + NLMSG_HDRLEN, body, size);
}

// Callers' attributes are few and small: what does not fit is a mistake here, and is refused by netlink_do.
void netlink_attribute(struct netlink_request *r, uint16_t type, const void *data, size_t size)
{
	size_t at = NLMSG_ALIGN(r->u.header.nlmsg_len), end = at + RTA_LENGTH(size);

	if (end > sizeof r->u.bytes) {
		r->u.header.nlmsg_len = UINT32_MAX;
		return;
	}
	struct rtattr head = {.rta_len = (unsigned short)RTA_LENGTH(size), .rta_type = type};
	memcpy(r->u.bytes + at, &head, sizeof head);
	memcpy(r->u.bytes + at + RTA_LENGTH(0), data, size);
	r->u.header.nlmsg_len = (uint32_t)end;
}

void netlink_attribute_u32(struct netlink_request *r, uint16_t type, uint32_t value)
{
	netlink_attribute(r, type, &value, sizeof value);
}

static int send_request(struct netlink *n, struct netlink_request *r)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

	if (r->u.header.nlmsg_len > sizeof r->u.bytes) {
		errno = EMSGSIZE;
		return -1;
	}
	r->u.header.nlmsg_seq = ++n->sequence;
	ssize_t sent = sendto(n->fd, r->u.bytes, r->u.header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel);
	return sent < 0 ? -1 : 0;
}

// Reads answers to the last request until it is finished. 0, or -1 with the errno it was answered with.
static int receive(struct netlink *n, void (*visit)(const struct nlmsghdr *, void *), void *argument)
{
	static _Alignas(struct nlmsghdr) char buffer[BUFFER]; // too big for the stack, and nobody here has threads

	for (;;) {
		ssize_t received = recv(n->fd, buffer, sizeof buffer, 0);
		if (received < 0 && errno == EINTR)
			continue;
		if (received <= 0)
			return -1;
		size_t left = (size_t)received;
		for (const struct nlmsghdr *m = (const struct nlmsghdr *)buffer; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
			if (m->nlmsg_seq != n->sequence)
				continue;
			if (m->nlmsg_type == NLMSG_DONE)
				return 0;
			if (m->nlmsg_type == NLMSG_ERROR) {
				errno = -((const struct nlmsgerr *)NLMSG_DATA(m))->error;
				return errno == 0 ? 0 : -1;
			}
			if (visit != NULL)
				visit(m, argument);
		}
	}
}

int netlink_do(struct netlink *n, struct netlink_request *r)
{
	r->u.header.nlmsg_flags |= NLM_F_ACK;
	return send_request(n, r) == 0 ? receive(n, NULL, NULL) : -1;
}

int netlink_dump(struct netlink *n, uint16_t type, unsigned char family,
		 void (*visit)(const struct nlmsghdr *, void *), void *argument)
{
	struct ifinfomsg body = {.ifi_family = family}; // the longest of the fixed parts; zero is "all" in each
	struct netlink_request r;

	netlink_begin(&r, type, NLM_F_DUMP, &body, sizeof body);
	return send_request(n, &r) == 0 ? receive(n, visit, argument) : -1;
}

const void *netlink_find(const struct nlmsghdr *message, size_t size, uint16_t type, size_t *length)
{
	const size_t head = NLMSG_LENGTH(NLMSG_ALIGN(size));

	if (message->nlmsg_len < head)
		return NULL;
	size_t left = message->nlmsg_len - head;
	for (const struct rtattr *a = (const struct rtattr *)((const char *)message + head); RTA_OK(a, left);
	     a = RTA_NEXT(a, left)) {
		if (a->rta_type != type)
			continue;
		*length = RTA_PAYLOAD(a);
		return RTA_DATA(a);
	}
	return NULL;
}
