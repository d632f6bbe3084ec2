// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive.h"
#include "archive_path.h"
#include "path.h"

static const char *name_of(const struct archive_path *path)
{
	if (path->content)
		return ".";
	return *path->base != '\0' ? path->base : "/";
}

int archive_stat(int root, const char *path, struct text *json, struct failure *f)
{
	struct archive_path parsed;
	struct stat st;
	char target[PATH_MAX] = "";

	if (archive_path_parse(path, &parsed, f) != 0)
		return -1;
	int fd = archive_path_open(root, &parsed, f);
	if (fd < 0)
		return -1;
	int result = fstat(fd, &st);
	close(fd);
	if (result != 0)
		return fail_errno(f, "%.300s", parsed.clean);
	// A symlink that leads in circles has no target to tell of.
	if (S_ISLNK(st.st_mode) && path_canonical(root, parsed.clean, target, sizeof target) != 0)
		target[0] = '\0';
	text_printf(json, "{\"name\":");
	text_json_string(json, name_of(&parsed));
	text_printf(json, ",\"size\":%" PRId64 ",\"mode\":%u,\"mtime_ns\":%" PRId64 ",\"link_target\":", (int64_t)st.st_size,
		    (unsigned)st.st_mode, (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec);
	text_json_string(json, target);
	text_printf(json, "}");
	return json->failed ? fail(f, "internal", "out of memory") : 0;
}
