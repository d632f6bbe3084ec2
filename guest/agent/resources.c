// SPDX-License-Identifier: Apache-2.0
#include "resources.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "device.h"
#include "path.h"

// Where a file of the cgroup does not exist, the kernel lacks the controller.
static int set(int cgroup, const char *file, const char *value, struct failure *f)
{
	if (path_write(cgroup, file, value) == 0)
		return 0;
	if (errno == ENOENT)
		return fail(f, "unsupported", "this kernel has no %s", file);
	if (errno == EINVAL || errno == ERANGE || errno == ENODEV)
		return fail(f, "invalid", "%s does not take \"%s\"", file, value);
	return fail_errno(f, "writing \"%s\" to %s", value, file);
}

static int set_number(int cgroup, const char *file, uint64_t value, struct failure *f)
{
	char text[24];

	(void)snprintf(text, sizeof text, "%" PRIu64, value);
	return set(cgroup, file, text, f);
}

// A number of OCI whose negative values mean "no limit".
static int set_limit(int cgroup, const char *file, int64_t value, struct failure *f)
{
	return value < 0 ? set(cgroup, file, "max", f) : set_number(cgroup, file, (uint64_t)value, f);
}

// Reads the member; false if it is missing, null or not a number (then *wrong tells).
static bool number(const struct json *object, const char *key, int64_t *out, bool *wrong)
{
	const struct json *v = json_get(object, key);

	if (v == NULL || json_type(v) == JSON_NULL)
		return false;
	if (!json_is_number(v)) {
		*wrong = true;
		return false;
	}
	*out = json_int(v, 0);
	return true;
}

static int check_object(const struct json *v, const char *name, struct failure *f)
{
	if (v == NULL || json_type(v) == JSON_NULL || json_is_object(v))
		return 0;
	return fail(f, "invalid", "linux.resources.%s must be an object", name);
}

static int wrong_type(const char *section, struct failure *f)
{
	return fail(f, "invalid", "linux.resources.%s: a member that must be a number is not", section);
}

// OCI's `swap` is memory plus swap; cgroup v2 counts swap alone.
static int apply_swap(int cgroup, int64_t swap, int64_t limit, struct failure *f)
{
	if (swap == 0)
		return 0; // not set
	if (swap > 0 && (limit <= 0 || swap < limit))
		return fail(f, "invalid", "linux.resources.memory.swap (memory plus swap) is less than the memory limit");
	// A kernel without swap has no such file, and nothing to limit.
	if (faccessat(cgroup, "memory.swap.max", F_OK, 0) != 0)
		return 0;
	return set_limit(cgroup, "memory.swap.max", swap < 0 ? -1 : swap - limit, f);
}

static int apply_memory(int cgroup, const struct json *memory, struct failure *f)
{
	int64_t limit = 0, swap = 0, reservation = 0;
	bool wrong = false;

	if (check_object(memory, "memory", f) != 0)
		return -1;
	bool limited = number(memory, "limit", &limit, &wrong) && limit != 0;
	bool swapped = number(memory, "swap", &swap, &wrong);
	bool reserved = number(memory, "reservation", &reservation, &wrong) && reservation != 0;
	if (wrong)
		return wrong_type("memory", f);
	if (limited && limit > 0 && json_bool(json_get(memory, "checkBeforeUpdate"), false)) {
		char usage[32];
		if (path_read(cgroup, "memory.current", usage, sizeof usage) > 0) {
			uintmax_t used = strtoumax(usage, NULL, 10);
			if (used > (uintmax_t)limit)
				return fail(f, "invalid", "the memory limit is below the usage of %ju bytes", used);
		}
	}
	if (limited && set_limit(cgroup, "memory.max", limit, f) != 0)
		return -1;
	if (swapped && apply_swap(cgroup, swap, limit, f) != 0)
		return -1;
	return reserved ? set_limit(cgroup, "memory.low", reservation, f) : 0;
}

uint64_t resources_cpu_weight(uint64_t shares)
{
	// 10^((n² + 125n)/612 - 7/34) for shares = 2^n, n = 1 to 18, in hundredths; straight lines in between.
	static const uint32_t weights[] = {
		100,   162,   264,   434,   718,    1198,   2013,   3409,   5817,
		10000, 17321, 30227, 53148, 94158,  168070, 302268, 547724, 1000000,
	};

	if (shares < 2)
		shares = 2;
	if (shares > 262144)
		shares = 262144;
	unsigned n = 1;
	while (n < 18 && shares >= UINT64_C(2) << n)
		n++;
	if (n == 18)
		return 10000;
	uint64_t low = UINT64_C(1) << n, span = weights[n] - weights[n - 1];
	uint64_t weight = weights[n - 1] + span * (shares - low) / low;
	return (weight + 50) / 100;
}

// cpu.max takes "quota period", or a quota alone, which keeps the period.
static int apply_quota(int cgroup, const struct json *cpu, bool *wrong, struct failure *f)
{
	int64_t quota = 0, period = 0, burst = 0;
	char value[64] = "max", both[96];
	bool limited = number(cpu, "quota", &quota, wrong) && quota != 0;
	bool timed = number(cpu, "period", &period, wrong) && period != 0;

	if (limited && quota > 0)
		(void)snprintf(value, sizeof value, "%" PRId64, quota);
	else if (!limited && path_read(cgroup, "cpu.max", value, sizeof value) > 0)
		value[strcspn(value, " \n")] = '\0';
	(void)snprintf(both, sizeof both, "%s %" PRId64, value, period);
	if ((limited || timed) && set(cgroup, "cpu.max", timed ? both : value, f) != 0)
		return -1;
	if (number(cpu, "burst", &burst, wrong) && burst >= 0)
		return set_number(cgroup, "cpu.max.burst", (uint64_t)burst, f);
	return 0;
}

static int apply_cpu(int cgroup, const struct json *cpu, struct failure *f)
{
	int64_t shares = 0, idle = 0;
	bool wrong = false;
	const char *cpus = json_string(json_get(cpu, "cpus"), ""), *mems = json_string(json_get(cpu, "mems"), "");

	if (check_object(cpu, "cpu", f) != 0)
		return -1;
	if (number(cpu, "shares", &shares, &wrong) && shares > 0 &&
	    set_number(cgroup, "cpu.weight", resources_cpu_weight((uint64_t)shares), f) != 0)
		return -1;
	if (apply_quota(cgroup, cpu, &wrong, f) != 0)
		return -1;
	if (number(cpu, "idle", &idle, &wrong) && set_number(cgroup, "cpu.idle", idle != 0, f) != 0)
		return -1;
	if (wrong)
		return wrong_type("cpu", f);
	if (*cpus != '\0' && set(cgroup, "cpuset.cpus", cpus, f) != 0)
		return -1;
	return *mems != '\0' ? set(cgroup, "cpuset.mems", mems, f) : 0;
}

static int apply_pids(int cgroup, const struct json *pids, struct failure *f)
{
	int64_t limit = 0;
	bool wrong = false;

	if (check_object(pids, "pids", f) != 0)
		return -1;
	if (number(pids, "limit", &limit, &wrong))
		return set_limit(cgroup, "pids.max", limit <= 0 ? -1 : limit, f);
	return wrong ? wrong_type("pids", f) : 0;
}

// [{"major", "minor", "rate"}] -> "8:0 rbps=1048576"; rate 0 takes the limit away.
static int apply_throttle(int cgroup, const struct json *devices, const char *key, struct failure *f)
{
	for (size_t i = 0; i < json_length(devices); i++) {
		const struct json *device = json_at(devices, i);
		uint64_t rate = json_uint(json_get(device, "rate"), 0);
		char value[96], limit[24] = "max";

		if (rate != 0)
			(void)snprintf(limit, sizeof limit, "%" PRIu64, rate);
		(void)snprintf(value, sizeof value, "%" PRIu64 ":%" PRIu64 " %s=%s",
			       json_uint(json_get(device, "major"), 0), json_uint(json_get(device, "minor"), 0), key,
			       limit);
		if (set(cgroup, "io.max", value, f) != 0)
			return -1;
	}
	return 0;
}

static int apply_block_io(int cgroup, const struct json *io, struct failure *f)
{
	static const struct {
		const char *member, *key;
	} throttles[] = {
		{"throttleReadBpsDevice", "rbps"},
		{"throttleWriteBpsDevice", "wbps"},
		{"throttleReadIOPSDevice", "riops"},
		{"throttleWriteIOPSDevice", "wiops"},
	};
	int64_t weight = 0;
	bool wrong = false;

	if (check_object(io, "blockIO", f) != 0)
		return -1;
	if (number(io, "weight", &weight, &wrong) && weight != 0) {
		if (weight < 10 || weight > 1000)
			return fail(f, "invalid", "linux.resources.blockIO.weight must be 10 to 1000");
		// BFQ takes v1's range as it is; io.weight has 1 to 10000.
		int result = faccessat(cgroup, "io.bfq.weight", F_OK, 0) == 0
				     ? set_number(cgroup, "io.bfq.weight", (uint64_t)weight, f)
				     : set_number(cgroup, "io.weight", 1 + ((uint64_t)weight - 10) * 9999 / 990, f);
		if (result != 0)
			return -1;
	}
	if (wrong)
		return wrong_type("blockIO", f);
	for (size_t i = 0; i < sizeof throttles / sizeof throttles[0]; i++) {
		if (apply_throttle(cgroup, json_get(io, throttles[i].member), throttles[i].key, f) != 0)
			return -1;
	}
	return 0;
}

// Is it the plain name of a file of a controller?
static bool is_file_name(const char *name)
{
	return strchr(name, '/') == NULL && strchr(name, '.') != NULL && *name != '.' && strlen(name) < 64;
}

static int apply_hugetlb(int cgroup, const struct json *limits, struct failure *f)
{
	for (size_t i = 0; i < json_length(limits); i++) {
		const struct json *entry = json_at(limits, i);
		const char *size = json_string(json_get(entry, "pageSize"), "");
		char file[64];

		int n = snprintf(file, sizeof file, "hugetlb.%s.max", size);
		if (*size == '\0' || n >= (int)sizeof file || !is_file_name(file))
			return fail(f, "invalid", "linux.resources.hugepageLimits: page size \"%s\"", size);
		if (set_number(cgroup, file, json_uint(json_get(entry, "limit"), 0), f) != 0)
			return -1;
	}
	return 0;
}

static int apply_unified(int cgroup, const struct json *unified, struct failure *f)
{
	if (check_object(unified, "unified", f) != 0)
		return -1;
	for (size_t i = 0; i < json_length(unified); i++) {
		const char *file = json_key(unified, i), *value = json_string(json_at(unified, i), NULL);
		// cgroup.* would move processes, or the tree under our feet.
		if (file == NULL || value == NULL || !is_file_name(file) || strncmp(file, "cgroup.", 7) == 0)
			return fail(f, "invalid", "linux.resources.unified: \"%s\"", file != NULL ? file : "");
		if (set(cgroup, file, value, f) != 0)
			return -1;
	}
	return 0;
}

static int apply_devices(int cgroup, const struct json *devices, bool fresh, struct failure *f)
{
	bool given = devices != NULL && json_type(devices) != JSON_NULL;

	if (given && !json_is_array(devices))
		return fail(f, "invalid", "linux.resources.devices must be an array");
	if (!given && !fresh)
		return 0;
	if (device_attach(cgroup, devices, f) == 0)
		return 0;
	// Nobody asked for rules: a kernel that has none is then no reason to fail.
	return !given && f != NULL && strcmp(f->code, "unsupported") == 0 ? 0 : -1;
}

int resources_apply(int cgroup, const struct json *resources, bool fresh, struct failure *f)
{
	if (resources != NULL && json_type(resources) != JSON_NULL && !json_is_object(resources))
		return fail(f, "invalid", "linux.resources must be an object");
	if (apply_devices(cgroup, json_get(resources, "devices"), fresh, f) != 0 ||
	    apply_memory(cgroup, json_get(resources, "memory"), f) != 0 ||
	    apply_cpu(cgroup, json_get(resources, "cpu"), f) != 0 ||
	    apply_pids(cgroup, json_get(resources, "pids"), f) != 0 ||
	    apply_block_io(cgroup, json_get(resources, "blockIO"), f) != 0 ||
	    apply_hugetlb(cgroup, json_get(resources, "hugepageLimits"), f) != 0 ||
	    apply_unified(cgroup, json_get(resources, "unified"), f) != 0)
		return -1;
	return 0;
}
