// SPDX-License-Identifier: Apache-2.0
#include "network_plan.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { MTU_MIN = 68, MTU_MAX = 65535 };

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int parse_mac(const char *s, unsigned char out[6])
{
	if (strlen(s) != 17)
		return -1;
	for (size_t i = 0; i < 6; i++) {
		int high = hex(s[3 * i]), low = hex(s[3 * i + 1]);
		if (high < 0 || low < 0 || (i < 5 && s[3 * i + 2] != ':'))
			return -1;
		out[i] = (unsigned char)(high << 4 | low);
	}
	return 0;
}

static int parse_ip(const char *s, struct network_address *out)
{
	*out = (struct network_address){.family = strchr(s, ':') != NULL ? AF_INET6 : AF_INET};
	return inet_pton(out->family, s, out->bytes) == 1 ? 0 : -1;
}

// "172.16.0.2/16"; without a prefix it is the one address.
static int parse_address(const char *s, struct network_address *out)
{
	char ip[INET6_ADDRSTRLEN];
	size_t length = strcspn(s, "/");

	if (length >= sizeof ip)
		return -1;
	memcpy(ip, s, length);
	ip[length] = '\0';
	if (parse_ip(ip, out) != 0)
		return -1;
	unsigned longest = out->family == AF_INET ? 32 : 128;
	out->prefix = longest;
	if (s[length] == '\0')
		return 0;
	const char *digits = s + length + 1;
	size_t n = strspn(digits, "0123456789");
	if (n == 0 || n > 3 || digits[n] != '\0')
		return -1;
	out->prefix = (unsigned)strtoul(digits, NULL, 10);
	return out->prefix <= longest ? 0 : -1;
}

// As the kernel's dev_valid_name.
static bool is_name(const char *s)
{
	if (strlen(s) >= IFNAMSIZ || strcmp(s, ".") == 0 || strcmp(s, "..") == 0)
		return false;
	return strcspn(s, "/: \t\n\v\f\r") == strlen(s);
}

static int parse_addresses(const struct json *list, struct network_interface *out, struct failure *f)
{
	if (json_length(list) > NETWORK_ADDRESSES_MAX)
		return fail(f, "invalid", "more than %d addresses on an interface", NETWORK_ADDRESSES_MAX);
	for (size_t i = 0; i < json_length(list); i++) {
		const char *s = json_string(json_at(list, i), "");
		if (parse_address(s, &out->addresses[out->addresses_length++]) != 0)
			return fail(f, "invalid", "interfaces: address \"%s\"", s);
	}
	return 0;
}

static int parse_interface(const struct json *entry, struct network_interface *out, struct failure *f)
{
	const char *mac = json_string(json_get(entry, "mac"), ""), *name = json_string(json_get(entry, "name"), "");
	const struct json *device = json_get(entry, "device_mac");
	const char *device_mac = json_type(device) == JSON_NULL ? mac : json_string(device, "");
	const char *gateway = json_string(json_get(entry, "gateway"), "");
	int64_t mtu = json_int(json_get(entry, "mtu"), 0);

	if (parse_mac(mac, out->mac) != 0)
		return fail(f, "invalid", "interfaces: mac \"%s\"", mac);
	if (parse_mac(device_mac, out->device_mac) != 0)
		return fail(f, "invalid", "interfaces: device_mac \"%s\"", device_mac);
	if (!is_name(name))
		return fail(f, "invalid", "interfaces: name \"%s\"", name);
	(void)snprintf(out->name, sizeof out->name, "%s", name);
	if (mtu != 0 && (mtu < MTU_MIN || mtu > MTU_MAX))
		return fail(f, "invalid", "interfaces: mtu must be %d to %d", MTU_MIN, MTU_MAX);
	out->mtu = (uint32_t)mtu;
	out->down = json_bool(json_get(entry, "down"), false);
	out->has_gateway = *gateway != '\0';
	if (out->has_gateway && parse_ip(gateway, &out->gateway) != 0)
		return fail(f, "invalid", "interfaces: gateway \"%s\"", gateway);
	return parse_addresses(json_get(entry, "addresses"), out, f);
}

int network_plan_parse(const struct json *interfaces, struct network_plan *out, struct failure *f)
{
	if (interfaces != NULL && json_type(interfaces) != JSON_NULL && !json_is_array(interfaces))
		return fail(f, "invalid", "interfaces must be an array");
	if (json_length(interfaces) > NETWORK_INTERFACES_MAX)
		return fail(f, "invalid", "more than %d interfaces", NETWORK_INTERFACES_MAX);
	*out = (struct network_plan){.length = json_length(interfaces)};
	for (size_t i = 0; i < out->length; i++) {
		if (parse_interface(json_at(interfaces, i), &out->interfaces[i], f) != 0)
			return -1;
	}
	return 0;
}

bool network_plan_covers(const struct network_interface *interface, const struct network_address *address)
{
	for (size_t i = 0; i < interface->addresses_length; i++) {
		const struct network_address *own = &interface->addresses[i];
		size_t whole = own->prefix / 8;
		unsigned rest = own->prefix % 8, mask = 0xff00U >> rest & 0xff;
		if (own->family == address->family && memcmp(own->bytes, address->bytes, whole) == 0 &&
		    (rest == 0 || ((own->bytes[whole] ^ address->bytes[whole]) & mask) == 0))
			return true;
	}
	return false;
}
