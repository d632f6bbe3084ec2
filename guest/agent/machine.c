// SPDX-License-Identifier: Apache-2.0
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/random.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "base64.h"
#include "member.h"
#include "network.h"
#include "path.h"
#include "sysctl.h"

enum { ENTROPY_MIN = 32, ENTROPY_MAX = 512, BOOT_ID_SIZE = 40, PROOF_SIZE = 16 };

static bool configured;
static bool seeded; // by the host: what is random from now on is not a clone's
static char boot_id[BOOT_ID_SIZE];

bool machine_is_configured(void)
{
	return configured;
}

static void read_id(const char *path, char id[BOOT_ID_SIZE])
{
	(void)path_read(AT_FDCWD, path, id, BOOT_ID_SIZE);
	id[strcspn(id, "\n")] = '\0';
}

const char *machine_boot_id(void)
{
	if (seeded && *boot_id == '\0')
		read_id("/proc/sys/kernel/random/boot_id", boot_id);
	return boot_id;
}

static int add_entropy(const char *text, struct failure *f)
{
	size_t size = 0;
	unsigned char *bytes = base64_decode(text, &size);
	struct rand_pool_info *pool = NULL;
	int fd = -1, result = -1;

	if (bytes == NULL || size < ENTROPY_MIN || size > ENTROPY_MAX) {
		(void)fail(f, "invalid", "entropy must be %d to %d bytes in base64", ENTROPY_MIN, ENTROPY_MAX);
	} else if ((pool = calloc(1, sizeof *pool + size)) == NULL) {
		(void)fail(f, "internal", "out of memory");
	} else {
		pool->entropy_count = (int)size * 8;
		pool->buf_size = (int)size;
		memcpy(pool->buf, bytes, size);
		fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
		if (fd < 0 || ioctl(fd, RNDADDENTROPY, pool) < 0 || ioctl(fd, RNDRESEEDCRNG) < 0)
			(void)fail_errno(f, "add entropy");
		else
			result = 0;
	}
	if (fd >= 0)
		(void)close(fd);
	if (bytes != NULL)
		explicit_bzero(bytes, size);
	if (pool != NULL)
		explicit_bzero(pool, sizeof *pool + size);
	free(bytes);
	free(pool);
	return result;
}

static int set_clock(uint64_t ns, struct failure *f)
{
	struct timespec now = {.tv_sec = (time_t)(ns / 1000000000U), .tv_nsec = (long)(ns % 1000000000U)};

	return clock_settime(CLOCK_REALTIME, &now) < 0 ? fail_errno(f, "set the clock") : 0;
}

static int set_host_name(const char *name, struct failure *f)
{
	size_t n = strlen(name);

	if (n < 1 || n > 64)
		return fail(f, "invalid", "hostname must have 1 to 64 bytes");
	return sethostname(name, n) < 0 ? fail_errno(f, "set the host name") : 0;
}

static int check_machine_id(const char *id, struct failure *f)
{
	if (strlen(id) != 32 || strspn(id, "0123456789abcdef") != 32)
		return fail(f, "invalid", "machine_id must be 32 hexadecimal digits");
	return 0;
}

// What the machine is now, for the host to see that it is nobody's copy.
static int describe(bool rehearsal, struct text *t, struct failure *f)
{
	unsigned char proof[PROOF_SIZE];
	char other[BOOT_ID_SIZE] = "";
	struct utsname names;
	struct timespec now;

	if (getrandom(proof, sizeof proof, 0) != (ssize_t)sizeof proof || uname(&names) < 0 ||
	    clock_gettime(CLOCK_REALTIME, &now) < 0)
		return fail_errno(f, "describe the machine");
	if (rehearsal)
		read_id("/proc/sys/kernel/random/uuid", other); // the way there is the same
	text_printf(t, "{\"boot_id\":\"%s\",\"random\":\"", machine_boot_id());
	for (size_t i = 0; i < sizeof proof; i++)
		text_printf(t, "%02x", proof[i]);
	text_printf(t, "\",\"clock_ns\":%" PRId64 ",\"hostname\":", (int64_t)now.tv_sec * 1000000000 + now.tv_nsec);
	text_json_string(t, names.nodename);
	text_append(t, "}", 1);
	return 0;
}

int machine_configure(struct request *r, const struct json *body, struct failure *f)
{
	const char *hostname = NULL, *entropy = NULL, *machine_id = NULL;
	const struct json *interfaces = NULL, *sysctl = NULL;
	uint64_t clock = 0;
	bool rehearsal = false;
	struct text t = {0};

	if (member_bool(body, "rehearsal", &rehearsal, f) < 0 ||
	    member_string(body, "hostname", MEMBER_OPTIONAL, &hostname, f) < 0 ||
	    member_uint(body, "clock_ns", MEMBER_OPTIONAL, INT64_MAX, &clock, f) < 0 ||
	    member_string(body, "entropy", MEMBER_OPTIONAL, &entropy, f) < 0 ||
	    member_string(body, "machine_id", MEMBER_OPTIONAL, &machine_id, f) < 0 ||
	    member_array(body, "interfaces", &interfaces, f) < 0 ||
	    member_object(body, "sysctl", MEMBER_OPTIONAL, &sysctl, f) < 0)
		return -1;
	if (rehearsal) // so that what is looked up for the first time, and read, is so again
		(void)path_write(AT_FDCWD, "/proc/sys/vm/drop_caches", "3");
	// The machine has no use for its id; containers get theirs with their files.
	if (machine_id != NULL && check_machine_id(machine_id, f) < 0)
		return -1;
	if ((clock != 0 && set_clock(clock, f) < 0) || (entropy != NULL && add_entropy(entropy, f) < 0) ||
	    (hostname != NULL && set_host_name(hostname, f) < 0) ||
	    sysctl_apply(sysctl, &(struct sysctl_scope){.machine = true}, f) < 0 ||
	    (interfaces != NULL && network_configure(interfaces, f) < 0))
		return -1;
	// A rehearsed machine is still nobody: its clones will each have an identity of their own.
	seeded = seeded || (entropy != NULL && !rehearsal);
	configured = configured || !rehearsal;
	if (describe(rehearsal, &t, f) < 0)
		return -1;
	request_reply(r, &t);
	return 0;
}

int machine_update_network(struct request *r, const struct json *body, struct failure *f)
{
	const struct json *interfaces = NULL;

	if (member_array(body, "interfaces", &interfaces, f) < 0)
		return -1;
	if (interfaces == NULL)
		return fail(f, "invalid", "interfaces is missing");
	if (network_configure(interfaces, f) < 0)
		return -1;
	request_reply_empty(r);
	return 0;
}
