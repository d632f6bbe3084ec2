// SPDX-License-Identifier: Apache-2.0
#include "network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netlink.h"
#include "network_plan.h"
#include "path.h"

// An interface as the kernel has it.
struct link {
	const unsigned char *wanted; // by its permanent address, or else by the one it has
	bool permanent;
	uint32_t index; // 0: not found
	unsigned flags;
	uint32_t mtu;
	unsigned char mac[6];
	char name[IFNAMSIZ];
};

// A MAC address among the attributes of a link, or NULL.
static const unsigned char *find_mac(const struct nlmsghdr *message, uint16_t type)
{
	size_t length = 0;
	const unsigned char *mac = netlink_find(message, sizeof(struct ifinfomsg), type, &length);

	return length == 6 ? mac : NULL;
}

static void match_link(const struct nlmsghdr *message, void *argument)
{
	struct link *link = argument;
	const struct ifinfomsg *info = NLMSG_DATA(message);
	size_t name_length = 0, mtu_length = 0;
	const unsigned char *mac = find_mac(message, IFLA_ADDRESS), *permanent = find_mac(message, IFLA_PERM_ADDRESS);
	const void *name = netlink_find(message, sizeof *info, IFLA_IFNAME, &name_length);
	const void *mtu = netlink_find(message, sizeof *info, IFLA_MTU, &mtu_length);
	bool born = permanent != NULL && memcmp(permanent, link->wanted, 6) == 0;

	if (mac == NULL || (info->ifi_flags & IFF_LOOPBACK) != 0 || link->permanent ||
	    !(born || (link->index == 0 && memcmp(mac, link->wanted, 6) == 0)))
		return;
	link->permanent = born;
	link->index = (uint32_t)info->ifi_index;
	link->flags = info->ifi_flags;
	memcpy(link->mac, mac, sizeof link->mac);
	if (mtu != NULL && mtu_length == sizeof link->mtu)
		memcpy(&link->mtu, mtu, sizeof link->mtu);
	if (name != NULL)
		(void)snprintf(link->name, sizeof link->name, "%.*s", (int)name_length, (const char *)name);
}

static int take_down(struct netlink *n, const struct link *link)
{
	struct ifinfomsg info = {.ifi_index = (int)link->index, .ifi_change = IFF_UP};
	struct netlink_request r;

	netlink_begin(&r, RTM_NEWLINK, 0, &info, sizeof info);
	return netlink_do(n, &r);
}

// Without an address of its own it does not speak IPv6, as in docker's networks: it would look for neighbours and
// routers, again and again. A kernel without IPv6 has nothing to be told.
static int set_family_six(const struct link *link, const struct network_interface *wanted, struct failure *f)
{
	char path[64 + IFNAMSIZ];
	bool wants = wanted->has_gateway && wanted->gateway.family == AF_INET6;

	for (size_t i = 0; i < wanted->addresses_length; i++)
		wants = wants || wanted->addresses[i].family == AF_INET6;
	(void)snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", link->name);
	if (path_write(AT_FDCWD, path, wants ? "0" : "1") < 0 && errno != ENOENT)
		return fail_errno(f, "%s IPv6 on %s", wants ? "allowing" : "refusing", link->name);
	return 0;
}

// Address, name, MTU and state, all in one request.
static int set_link(struct netlink *n, const struct link *link, const struct network_interface *wanted,
		    struct failure *f)
{
	struct ifinfomsg info = {.ifi_index = (int)link->index,
				 .ifi_flags = wanted->down ? 0 : IFF_UP,
				 .ifi_change = IFF_UP};
	bool readdress = memcmp(wanted->mac, link->mac, sizeof link->mac) != 0;
	bool rename = wanted->name[0] != '\0' && strcmp(wanted->name, link->name) != 0;
	bool resize = wanted->mtu != 0 && wanted->mtu != link->mtu;
	struct netlink_request r;

	// A name can only be changed while the interface is down; going down forgets what an old address brought about.
	if ((rename || readdress || wanted->down) && (link->flags & IFF_UP) != 0 && take_down(n, link) != 0)
		return fail_errno(f, "taking %s down", link->name);
	netlink_begin(&r, RTM_NEWLINK, 0, &info, sizeof info);
	if (readdress)
		netlink_attribute(&r, IFLA_ADDRESS, wanted->mac, sizeof wanted->mac);
	if (rename)
		netlink_attribute(&r, IFLA_IFNAME, wanted->name, strlen(wanted->name) + 1);
	if (resize)
		netlink_attribute_u32(&r, IFLA_MTU, wanted->mtu);
	if (netlink_do(n, &r) != 0)
		return fail_errno(f, "setting up %s as %s with MTU %u", link->name,
				  rename ? wanted->name : link->name, resize ? wanted->mtu : link->mtu);
	return 0;
}

// What the kernel has on the interface and the plan has not, collected first as a dump must end before the next
// request.
struct surplus {
	const struct network_interface *wanted;
	uint32_t index;
	size_t length;
	struct network_address addresses[NETWORK_SURPLUS_MAX];
};

static bool same_address(const struct network_address *a, const struct network_address *b)
{
	return a->family == b->family && a->prefix == b->prefix && memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static size_t address_size(int family)
{
	return family == AF_INET ? 4 : 16;
}

static void collect_address(const struct nlmsghdr *message, void *argument)
{
	struct surplus *s = argument;
	const struct ifaddrmsg *info = NLMSG_DATA(message);
	struct network_address found = {.family = info->ifa_family, .prefix = info->ifa_prefixlen};
	size_t length = 0;
	const void *data = netlink_find(message, sizeof *info, IFA_LOCAL, &length);

	if (data == NULL)
		data = netlink_find(message, sizeof *info, IFA_ADDRESS, &length);
	// IPv6's link-local address is the kernel's own affair.
	if (info->ifa_index != s->index || data == NULL || length != address_size(found.family) ||
	    (found.family == AF_INET6 && info->ifa_scope == RT_SCOPE_LINK) || s->length == NETWORK_SURPLUS_MAX)
		return;
	memcpy(found.bytes, data, length);
	for (size_t i = 0; i < s->wanted->addresses_length; i++) {
		if (same_address(&found, &s->wanted->addresses[i]))
			return;
	}
	s->addresses[s->length++] = found;
}

static int change_address(struct netlink *n, uint32_t index, uint16_t type, const struct network_address *a)
{
	struct ifaddrmsg info = {.ifa_family = (unsigned char)a->family,
				 .ifa_prefixlen = (unsigned char)a->prefix,
				 .ifa_index = index};
	struct netlink_request r;
	size_t size = address_size(a->family);

	// Duplicate address detection would leave the address unusable for a second; the host gives each address once.
	if (a->family == AF_INET6)
		info.ifa_flags = IFA_F_NODAD;
	netlink_begin(&r, type, type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_REPLACE : 0, &info, sizeof info);
	netlink_attribute(&r, IFA_LOCAL, a->bytes, size);
	netlink_attribute(&r, IFA_ADDRESS, a->bytes, size);
	if (a->family == AF_INET && a->prefix < 31 && type == RTM_NEWADDR) {
		uint32_t broadcast;
		memcpy(&broadcast, a->bytes, 4);
		broadcast |= htonl(a->prefix == 0 ? UINT32_MAX : UINT32_MAX >> a->prefix);
		netlink_attribute_u32(&r, IFA_BROADCAST, broadcast);
	}
	return netlink_do(n, &r);
}

static int set_addresses(struct netlink *n, uint32_t index, const struct network_interface *wanted, struct failure *f)
{
	struct surplus s = {.wanted = wanted, .index = index};

	if (netlink_dump(n, RTM_GETADDR, AF_UNSPEC, collect_address, &s) != 0)
		return fail_errno(f, "listing addresses of %s", wanted->name);
	for (size_t i = 0; i < s.length; i++) {
		// Secondary addresses go with their primary one.
		if (change_address(n, index, RTM_DELADDR, &s.addresses[i]) != 0 && errno != EADDRNOTAVAIL)
			return fail_errno(f, "removing an address of %s", wanted->name);
	}
	for (size_t i = 0; i < wanted->addresses_length; i++) {
		if (change_address(n, index, RTM_NEWADDR, &wanted->addresses[i]) != 0)
			return fail_errno(f, "adding address %zu to %s", i, wanted->name);
	}
	return 0;
}

static void collect_default_route(const struct nlmsghdr *message, void *argument)
{
	struct surplus *s = argument;
	const struct rtmsg *route = NLMSG_DATA(message);
	size_t length = 0, gateway_length = 0;
	const void *out = netlink_find(message, sizeof *route, RTA_OIF, &length);
	const void *via = netlink_find(message, sizeof *route, RTA_GATEWAY, &gateway_length);
	struct network_address found = {.family = route->rtm_family};

	if (route->rtm_dst_len != 0 || route->rtm_table != RT_TABLE_MAIN || route->rtm_type != RTN_UNICAST || out == NULL ||
	    length != sizeof s->index || memcmp(out, &s->index, sizeof s->index) != 0 || via == NULL ||
	    gateway_length != address_size(found.family) || s->length == NETWORK_SURPLUS_MAX ||
	    (route->rtm_family != AF_INET && route->rtm_family != AF_INET6))
		return;
	memcpy(found.bytes, via, gateway_length);
	if (s->wanted->has_gateway && same_address(&found, &s->wanted->gateway))
		return;
	s->addresses[s->length++] = found;
}

static int change_route(struct netlink *n, uint32_t index, uint16_t type, const struct network_address *via,
			bool on_link, uint32_t metric)
{
	struct rtmsg route = {
		.rtm_family = (unsigned char)via->family,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = type == RTM_NEWROUTE ? RTPROT_BOOT : RTPROT_UNSPEC,
		.rtm_scope = type == RTM_NEWROUTE ? RT_SCOPE_UNIVERSE : RT_SCOPE_NOWHERE,
		.rtm_type = type == RTM_NEWROUTE ? RTN_UNICAST : RTN_UNSPEC,
		.rtm_flags = on_link ? RTNH_F_ONLINK : 0,
	};
	struct netlink_request r;

	netlink_begin(&r, type, type == RTM_NEWROUTE ? NLM_F_CREATE | NLM_F_REPLACE : 0, &route, sizeof route);
	netlink_attribute(&r, RTA_GATEWAY, via->bytes, address_size(via->family));
	netlink_attribute_u32(&r, RTA_OIF, index);
	if (metric != 0)
		netlink_attribute_u32(&r, RTA_PRIORITY, metric);
	return netlink_do(n, &r);
}

static int set_gateway(struct netlink *n, uint32_t index, const struct network_interface *wanted, uint32_t metric,
		       struct failure *f)
{
	struct surplus s = {.wanted = wanted, .index = index};

	if (netlink_dump(n, RTM_GETROUTE, AF_UNSPEC, collect_default_route, &s) != 0)
		return fail_errno(f, "listing routes");
	for (size_t i = 0; i < s.length; i++) {
		if (change_route(n, index, RTM_DELROUTE, &s.addresses[i], false, 0) != 0 && errno != ESRCH)
			return fail_errno(f, "removing a default route of %s", wanted->name);
	}
	if (!wanted->has_gateway)
		return 0;
	bool on_link = !network_plan_covers(wanted, &wanted->gateway);
	if (change_route(n, index, RTM_NEWROUTE, &wanted->gateway, on_link, metric) != 0)
		return fail_errno(f, "default route of %s", wanted->name);
	return 0;
}

static int configure(struct netlink *n, const struct network_interface *wanted, uint32_t metric, struct failure *f)
{
	const unsigned char *mac = wanted->device_mac;
	struct link link = {.wanted = mac};

	if (netlink_dump(n, RTM_GETLINK, AF_UNSPEC, match_link, &link) != 0)
		return fail_errno(f, "listing interfaces");
	if (link.index == 0)
		return fail(f, "not-found", "no interface has the address %02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1],
			    mac[2], mac[3], mac[4], mac[5]);
	if (set_family_six(&link, wanted, f) != 0 || set_link(n, &link, wanted, f) != 0 || set_addresses(n, link.index, wanted, f) != 0)
		return -1;
	return set_gateway(n, link.index, wanted, metric, f);
}

int network_configure(const struct json *interfaces, struct failure *f)
{
	struct network_plan *plan = calloc(1, sizeof *plan);
	struct netlink n = {.fd = -1};
	int result = -1;

	if (plan == NULL || netlink_open(&n) != 0)
		fail_errno(f, "netlink");
	else
		result = network_plan_parse(interfaces, plan, f);
	// Only one default route of a metric can be: the first interface's is the best one.
	for (size_t i = 0; result == 0 && i < plan->length; i++)
		result = configure(&n, &plan->interfaces[i], (uint32_t)i * 100, f);
	netlink_close(&n);
	free(plan);
	return result;
}

int network_loopback_up(struct failure *f)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), result = 0;

	request.ifr_flags = IFF_UP | IFF_RUNNING;
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) != 0)
		result = fail_errno(f, "bringing lo up");
	if (fd >= 0)
		close(fd);
	return result;
}
