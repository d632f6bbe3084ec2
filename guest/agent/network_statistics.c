// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "netlink.h"
#include "network.h"

struct list {
	struct text *json;
	const char *separator;
};

static void append(const struct nlmsghdr *message, void *argument)
{
	struct list *list = argument;
	const struct ifinfomsg *info = NLMSG_DATA(message);
	struct rtnl_link_stats64 s = {0};
	char name[IFNAMSIZ + 1] = "";
	size_t name_length = 0, length = 0;
	const void *found = netlink_find(message, sizeof *info, IFLA_IFNAME, &name_length);
	const void *stats = netlink_find(message, sizeof *info, IFLA_STATS64, &length);

	if (found == NULL || stats == NULL || (info->ifi_flags & IFF_LOOPBACK) != 0)
		return;
	(void)snprintf(name, sizeof name, "%.*s", (int)name_length, (const char *)found);
	memcpy(&s, stats, length < sizeof s ? length : sizeof s); // newer kernels append members
	text_printf(list->json, "%s{\"name\":", list->separator);
	text_json_string(list->json, name);
	text_printf(list->json,
		    ",\"rx_bytes\":%" PRIu64 ",\"rx_packets\":%" PRIu64 ",\"rx_errors\":%" PRIu64 ",\"rx_dropped\":%" PRIu64
		    ",\"tx_bytes\":%" PRIu64 ",\"tx_packets\":%" PRIu64 ",\"tx_errors\":%" PRIu64 ",\"tx_dropped\":%" PRIu64 "}",
		    (uint64_t)s.rx_bytes, (uint64_t)s.rx_packets, (uint64_t)s.rx_errors, (uint64_t)s.rx_dropped,
		    (uint64_t)s.tx_bytes, (uint64_t)s.tx_packets, (uint64_t)s.tx_errors, (uint64_t)s.tx_dropped);
	list->separator = ",";
}

// A netlink socket belongs to the namespace in which it was made, also after its maker has left.
static int open_in(int namespace, struct netlink *n)
{
	if (namespace < 0)
		return netlink_open(n);
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (own < 0)
		return -1;
	int result = setns(namespace, CLONE_NEWNET) == 0 ? netlink_open(n) : -1, error = errno;
	// Staying in a container's namespace would be worse than any missing number.
	if (setns(own, CLONE_NEWNET) != 0)
		_exit(1);
	close(own);
	errno = error;
	return result;
}

int network_statistics(int namespace, struct text *json, struct failure *f)
{
	struct list list = {.json = json, .separator = ""};
	struct netlink n = {.fd = -1};
	int result = 0;

	text_append(json, "[", 1);
	if (open_in(namespace, &n) != 0 || netlink_dump(&n, RTM_GETLINK, AF_UNSPEC, append, &list) != 0)
		result = fail_errno(f, "statistics of interfaces");
	text_append(json, "]", 1);
	netlink_close(&n);
	return result;
}
