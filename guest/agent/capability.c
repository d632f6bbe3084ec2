// SPDX-License-Identifier: Apache-2.0
#include "capability.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const names[] = {
	[CAP_CHOWN] = "CHOWN",
	[CAP_DAC_OVERRIDE] = "DAC_OVERRIDE",
	[CAP_DAC_READ_SEARCH] = "DAC_READ_SEARCH",
	[CAP_FOWNER] = "FOWNER",
	[CAP_FSETID] = "FSETID",
	[CAP_KILL] = "KILL",
	[CAP_SETGID] = "SETGID",
	[CAP_SETUID] = "SETUID",
	[CAP_SETPCAP] = "SETPCAP",
	[CAP_LINUX_IMMUTABLE] = "LINUX_IMMUTABLE",
	[CAP_NET_BIND_SERVICE] = "NET_BIND_SERVICE",
	[CAP_NET_BROADCAST] = "NET_BROADCAST",
	[CAP_NET_ADMIN] = "NET_ADMIN",
	[CAP_NET_RAW] = "NET_RAW",
	[CAP_IPC_LOCK] = "IPC_LOCK",
	[CAP_IPC_OWNER] = "IPC_OWNER",
	[CAP_SYS_MODULE] = "SYS_MODULE",
	[CAP_SYS_RAWIO] = "SYS_RAWIO",
	[CAP_SYS_CHROOT] = "SYS_CHROOT",
	[CAP_SYS_PTRACE] = "SYS_PTRACE",
	[CAP_SYS_PACCT] = "SYS_PACCT",
	[CAP_SYS_ADMIN] = "SYS_ADMIN",
	[CAP_SYS_BOOT] = "SYS_BOOT",
	[CAP_SYS_NICE] = "SYS_NICE",
	[CAP_SYS_RESOURCE] = "SYS_RESOURCE",
	[CAP_SYS_TIME] = "SYS_TIME",
	[CAP_SYS_TTY_CONFIG] = "SYS_TTY_CONFIG",
	[CAP_MKNOD] = "MKNOD",
	[CAP_LEASE] = "LEASE",
	[CAP_AUDIT_WRITE] = "AUDIT_WRITE",
	[CAP_AUDIT_CONTROL] = "AUDIT_CONTROL",
	[CAP_SETFCAP] = "SETFCAP",
	[CAP_MAC_OVERRIDE] = "MAC_OVERRIDE",
	[CAP_MAC_ADMIN] = "MAC_ADMIN",
	[CAP_SYSLOG] = "SYSLOG",
	[CAP_WAKE_ALARM] = "WAKE_ALARM",
	[CAP_BLOCK_SUSPEND] = "BLOCK_SUSPEND",
	[CAP_AUDIT_READ] = "AUDIT_READ",
	[CAP_PERFMON] = "PERFMON",
	[CAP_BPF] = "BPF",
	[CAP_CHECKPOINT_RESTORE] = "CHECKPOINT_RESTORE",
};
enum { NAMES = sizeof names / sizeof names[0] };

static int find(const char *name)
{
	if (name == NULL || strncmp(name, "CAP_", 4) != 0)
		return -1;
	for (int i = 0; i < NAMES; i++) {
		if (strcmp(names[i], name + 4) == 0)
			return i;
	}
	return -1;
}

static int parse_set(const struct json *capabilities, const char *set, uint64_t *out, struct failure *f)
{
	const struct json *list = json_get(capabilities, set);

	*out = 0;
	if (list == NULL || json_type(list) == JSON_NULL)
		return 0;
	if (!json_is_array(list))
		return fail(f, "invalid", "process.capabilities.%s must be an array", set);
	for (size_t i = 0; i < json_length(list); i++) {
		const char *name = json_string(json_at(list, i), NULL);
		int n = find(name);
		if (n < 0)
			return fail(f, "invalid", "process.capabilities.%s: unknown capability \"%s\"", set,
				    name != NULL ? name : "");
		*out |= UINT64_C(1) << n;
	}
	return 0;
}

int capability_parse(const struct json *capabilities, struct capabilities *out, struct failure *f)
{
	*out = (struct capabilities){0};
	if (capabilities == NULL || json_type(capabilities) == JSON_NULL)
		return 0;
	if (!json_is_object(capabilities))
		return fail(f, "invalid", "process.capabilities must be an object");
	if (parse_set(capabilities, "bounding", &out->bounding, f) != 0 ||
	    parse_set(capabilities, "effective", &out->effective, f) != 0 ||
	    parse_set(capabilities, "permitted", &out->permitted, f) != 0 ||
	    parse_set(capabilities, "inheritable", &out->inheritable, f) != 0 ||
	    parse_set(capabilities, "ambient", &out->ambient, f) != 0)
		return -1;
	return 0;
}

// The capabilities that this kernel has, lowest first, up to the first number it does not know.
static uint64_t known(void)
{
	uint64_t set = 0;

	for (unsigned long n = 0; n < 64 && prctl(PR_CAPBSET_READ, n, 0, 0, 0) >= 0; n++)
		set |= UINT64_C(1) << n;
	return set;
}

int capability_prepare(const struct capabilities *c, struct failure *f)
{
	uint64_t dropped = known() & ~c->bounding;

	for (unsigned long n = 0; n < 64; n++) {
		if ((dropped >> n & 1) != 0 && prctl(PR_CAPBSET_DROP, n, 0, 0, 0) != 0)
			return fail_errno(f, "dropping capability %lu from the bounding set", n);
	}
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0)
		return fail_errno(f, "PR_SET_KEEPCAPS");
	return 0;
}

static int set_ambient(uint64_t set, struct failure *f)
{
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0)
		return fail_errno(f, "clearing ambient capabilities");
	for (unsigned long n = 0; n < 64; n++) {
		if ((set >> n & 1) != 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, n, 0, 0) != 0)
			return fail_errno(f, "raising ambient capability %lu", n);
	}
	return 0;
}

int capability_apply(const struct capabilities *c, struct failure *f)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	uint64_t here = known();

	for (int i = 0; i < 2; i++) {
		data[i].effective = (uint32_t)((c->effective & here) >> (32 * i));
		data[i].permitted = (uint32_t)((c->permitted & here) >> (32 * i));
		data[i].inheritable = (uint32_t)((c->inheritable & here) >> (32 * i));
	}
	if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) != 0)
		return fail_errno(f, "PR_SET_KEEPCAPS");
	if (syscall(SYS_capset, &header, data) != 0)
		return fail_errno(f, "setting capabilities");
	// The kernel allows only what is both permitted and inheritable; the rest, as runc, is left out.
	return set_ambient(c->ambient & c->permitted & c->inheritable & here, f);
}
