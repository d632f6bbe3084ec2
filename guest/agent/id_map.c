// SPDX-License-Identifier: Apache-2.0
#include "id_map.h"

#include <fcntl.h>
#include <stdio.h>

#include "member.h"
#include "path.h"
#include "text.h"

enum { ENTRIES_MAX = 340 }; // the kernel's bound (user_namespaces(7))

static int write_map(pid_t pid, const char *file, const struct json *linux_part, const char *key, struct failure *f)
{
	const struct json *list = NULL;
	struct text map = {0};
	char path[64];

	if (member_array(linux_part, key, &list, f) < 0)
		return -1;
	if (json_length(list) < 1 || json_length(list) > ENTRIES_MAX)
		return fail(f, "invalid", "linux.%s: a user namespace needs 1 to %d entries", key, ENTRIES_MAX);
	for (size_t i = 0; i < json_length(list); i++) {
		uint32_t inside = 0, outside = 0, size = 0;
		const struct json *entry = json_at(list, i);
		if (member_u32(entry, "containerID", MEMBER_REQUIRED, &inside, f) < 0 ||
		    member_u32(entry, "hostID", MEMBER_REQUIRED, &outside, f) < 0 ||
		    member_u32(entry, "size", MEMBER_REQUIRED, &size, f) < 0) {
			text_free(&map);
			return -1;
		}
		text_printf(&map, "%u %u %u\n", inside, outside, size);
	}
	(void)snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
	int result = map.failed ? fail(f, "internal", "out of memory") : 0;
	if (result == 0 && path_write(AT_FDCWD, path, map.data) < 0)
		result = fail_errno(f, "linux.%s", key);
	text_free(&map);
	return result;
}

int id_map_write(pid_t pid, const struct json *config, struct failure *f)
{
	const struct json *linux_part = json_get(config, "linux");

	if (write_map(pid, "uid_map", linux_part, "uidMappings", f) < 0)
		return -1;
	return write_map(pid, "gid_map", linux_part, "gidMappings", f);
}
