// SPDX-License-Identifier: Apache-2.0
// In network namespaces of the test's own, with a pair of connected interfaces.
#include "../network.h"

#include <sched.h>
#include <sys/wait.h>

#include "expect.h"
#include "scratch.h"

static struct failure why;

static int configure(const char *json)
{
	struct json *v = expect_json(json);

	why = (struct failure){0};
	int result = network_configure(v, &why);
	json_free(v);
	return result;
}

static void applied(const char *json)
{
	if (!EXPECT(configure(json) == 0))
		(void)fprintf(stderr, "%s: %s\n", why.code, why.message);
}

static void refuse(const char *json, const char *code)
{
	EXPECT(configure(json) == -1);
	EXPECT_TEXT(why.code, code);
}

static void fresh(void)
{
	if (unshare(CLONE_NEWNET) != 0)
		abort();
	shell("ip link add d0 address 02:00:00:00:00:01 type veth peer name d1 address 02:00:00:00:00:02");
}

#define ETH0                                                                                                               \
	"{'mac':'02:00:00:00:00:01','name':'eth0','addresses':['172.16.0.2/16','fd00::2/64'],'gateway':'172.16.0.1',"       \
	"'mtu':1400}"

static void test_an_interface_is_found_by_its_mac_and_configured(void)
{
	fresh();
	// Twice: it is idempotent.
	for (int i = 0; i < 2; i++) {
		applied("[" ETH0 "]");
		EXPECT_TEXT(answer_of("ip -o link show eth0 | grep -o 'mtu 1400.*state [A-Z]*' | cut -d' ' -f1,2"), "mtu 1400");
		EXPECT_TEXT(answer_of("ip -o link show up | grep -c 'eth0.*,UP'"), "1");
		EXPECT_TEXT(answer_of("ip -o addr show eth0 | awk '{print $4, $5, $6}' | grep -v fe80"),
			    "172.16.0.2/16 brd 172.16.255.255\nfd00::2/64 scope global");
		EXPECT_TEXT(answer_of("ip route show default | sed 's/ linkdown//'"), "default via 172.16.0.1 dev eth0 ");
		EXPECT_TEXT(answer_of("ip link show d0 2>&1"), "Device \"d0\" does not exist.");
	}
}

static void test_a_change_replaces_what_was_there(void)
{
	fresh();
	applied("[" ETH0 "]");
	applied("[{'mac':'02:00:00:00:00:01','name':'lan','addresses':['10.0.0.5/24'],'gateway':'10.0.0.1'}]");
	EXPECT_TEXT(answer_of("ip -o addr show lan | awk '{print $4}' | grep -v fe80"), "10.0.0.5/24");
	EXPECT_TEXT(answer_of("ip route show default | sed 's/ linkdown//'"), "default via 10.0.0.1 dev lan ");
	applied("[{'mac':'02:00:00:00:00:01','name':'lan','addresses':['10.0.0.5/24']}]");
	EXPECT_TEXT(answer_of("ip route show default | sed 's/ linkdown//'"), "");
	applied("[{'mac':'02:00:00:00:00:01'}]");
	EXPECT_TEXT(answer_of("ip -o addr show lan | awk '{print $4}' | grep -v fe80"), "");
}

static void test_a_card_gets_another_address_than_it_was_made_with(void)
{
	fresh();
	applied("[{'device_mac':'02:00:00:00:00:01','mac':'02:00:00:00:00:77','name':'eth0','addresses':['10.0.0.5/24']}]");
	EXPECT_TEXT(answer_of("ip -o link show eth0 | grep -o 'link/ether [0-9a-f:]*'"), "link/ether 02:00:00:00:00:77");
	EXPECT_TEXT(answer_of("ip -o link show up | grep -c 'eth0.*,UP'"), "1");
	// Up already, and with addresses of its old one.
	applied("[{'device_mac':'02:00:00:00:00:77','mac':'02:00:00:00:00:78','name':'eth0','addresses':['10.0.0.6/24']}]");
	EXPECT_TEXT(answer_of("ip -o link show eth0 | grep -o 'link/ether [0-9a-f:]*'"), "link/ether 02:00:00:00:00:78");
	EXPECT_TEXT(answer_of("ip -o addr show eth0 | awk '{print $4}' | grep -v fe80"), "10.0.0.6/24");
	EXPECT_TEXT(answer_of("ip link show d1 | grep -c 02:00:00:00:00:02"), "1");
	refuse("[{'device_mac':'02:00:00:00:00:01','mac':'02:00:00:00:00:79'}]", "not-found");
	refuse("[{'device_mac':'nonsense','mac':'02:00:00:00:00:79'}]", "invalid");
	refuse("[{'device_mac':7,'mac':'02:00:00:00:00:79'}]", "invalid");
	applied("[{'device_mac':null,'mac':'02:00:00:00:00:78','name':'eth0'}]");
}

static void test_a_gateway_outside_of_the_network_is_on_link(void)
{
	fresh();
	applied("[{'mac':'02:00:00:00:00:01','name':'eth0','addresses':['10.1.2.3/32'],'gateway':'169.254.1.1'}]");
	EXPECT_TEXT(answer_of("ip route show default | sed 's/ linkdown//'"), "default via 169.254.1.1 dev eth0 onlink ");
	applied("[{'mac':'02:00:00:00:00:01','name':'eth0','addresses':['fd00::5/64'],'gateway':'fd00::1'}]");
	EXPECT_TEXT(answer_of("ip -6 route show default | cut -d' ' -f1-5"), "default via fd00::1 dev eth0");
}

static void test_the_first_interface_has_the_best_default_route(void)
{
	fresh();
	applied("[" ETH0 ",{'mac':'02:00:00:00:00:02','name':'eth1','addresses':['10.0.0.2/24'],'gateway':'10.0.0.1'}]");
	EXPECT_TEXT(answer_of("ip route show default | sed 's/ linkdown//'"),
		    "default via 172.16.0.1 dev eth0 \ndefault via 10.0.0.1 dev eth1 metric 100 ");
}

static void test_nothing_is_touched_if_anything_is_wrong(void)
{
	fresh();
	refuse("[" ETH0 ",{'mac':'02:00:00:00:00:02','addresses':['10.0.0.2/33']}]", "invalid");
	refuse("[" ETH0 ",{'mac':'nonsense'}]", "invalid");
	refuse("[" ETH0 ",{'mac':'02:00:00:00:00:02','addresses':['10.0.0']}]", "invalid");
	refuse("[" ETH0 ",{'mac':'02:00:00:00:00:02','addresses':['10.0.0.1/']}]", "invalid");
	refuse("[" ETH0 ",{'mac':'02:00:00:00:00:02','addresses':['10.0.0.1/+8']}]", "invalid");
	refuse("[" ETH0 ",{'mac':'02:00:00:00:00:02','addresses':['fd00::1/129']}]", "invalid");
	refuse("[" ETH0 ",{'mac':'02:00:00:00:00:02','name':'sixteencharacter'}]", "invalid");
	refuse("[" ETH0 ",{'mac':'02:00:00:00:00:02','name':'a/b'}]", "invalid");
	refuse("[" ETH0 ",{'mac':'02:00:00:00:00:02','name':'..'}]", "invalid");
	refuse("[" ETH0 ",{'mac':'02:00:00:00:00:02','mtu':67}]", "invalid");
	refuse("[" ETH0 ",{'mac':'02:00:00:00:00:02','gateway':'10.0.0.1/24'}]", "invalid");
	refuse("{}", "invalid");
	EXPECT_TEXT(answer_of("ip -o addr show up; ip link show d0 | grep -c d0"), "1");
	refuse("[{'mac':'02:00:00:00:00:09'}]", "not-found");
	applied("null");
	applied("[]");
}

static void test_loopback_comes_up(void)
{
	fresh();
	EXPECT(network_loopback_up(&why) == 0);
	EXPECT_TEXT(answer_of("ip -o addr show lo | awk '{print $4}'"), "127.0.0.1/8\n::1/128");
}

static void test_statistics_are_those_of_the_namespace_asked_for(void)
{
	struct text json = {0};

	fresh();
	int inner = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	char before[64], after[64];
	if (unshare(CLONE_NEWNET) != 0)
		abort();
	EXPECT(readlink("/proc/self/ns/net", before, sizeof before) > 0);
	EXPECT(network_statistics(-1, &json, &why) == 0);
	EXPECT_TEXT(json.data, "[]");
	text_free(&json);
	EXPECT(network_statistics(inner, &json, &why) == 0);
	EXPECT_TEXT(json.data,
		    "[{\"name\":\"d1\",\"rx_bytes\":0,\"rx_packets\":0,\"rx_errors\":0,\"rx_dropped\":0,\"tx_bytes\":0,"
		    "\"tx_packets\":0,\"tx_errors\":0,\"tx_dropped\":0},{\"name\":\"d0\",\"rx_bytes\":0,\"rx_packets\":0,"
		    "\"rx_errors\":0,\"rx_dropped\":0,\"tx_bytes\":0,\"tx_packets\":0,\"tx_errors\":0,\"tx_dropped\":0}]");
	EXPECT(readlink("/proc/self/ns/net", after, sizeof after) > 0 && memcmp(before, after, 16) == 0);
	text_free(&json);
	close(inner);
}

int main(void)
{
	scratch_make();
	RUN(test_an_interface_is_found_by_its_mac_and_configured);
	RUN(test_a_change_replaces_what_was_there);
	RUN(test_a_card_gets_another_address_than_it_was_made_with);
	RUN(test_a_gateway_outside_of_the_network_is_on_link);
	RUN(test_the_first_interface_has_the_best_default_route);
	RUN(test_nothing_is_touched_if_anything_is_wrong);
	RUN(test_loopback_comes_up);
	RUN(test_statistics_are_those_of_the_namespace_asked_for);
	scratch_remove();
	return expect_failures != 0;
}
