// SPDX-License-Identifier: Apache-2.0
// The input is /etc/passwd and /etc/group at once; some of its first bytes are the user that is looked up.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../user.h"
#include "../text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[] = "/tmp/hypercell-fuzz-XXXXXX";
static int root = -1;

static void remove_root(void)
{
	(void)unlinkat(root, "etc/passwd", 0);
	(void)unlinkat(root, "etc/group", 0);
	(void)unlinkat(root, "etc", AT_REMOVEDIR);
	(void)rmdir(directory);
}

static void make_root(void)
{
	if (root >= 0)
		return;
	if (mkdtemp(directory) == NULL || (root = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 ||
	    mkdirat(root, "etc", 0700) != 0 || symlinkat("passwd", root, "etc/group") != 0 || atexit(remove_root) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct user user;
	struct failure f;
	struct text json = {0};
	char name[33] = "", error[128];

	make_root();
	memcpy(name, data, size < 32 ? size : 32);
	int fd = openat(root, "etc/passwd", O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
	text_printf(&json, "{\"username\":");
	text_json_string(&json, name);
	text_printf(&json, ",\"additionalGids\":[");
	text_json_string(&json, name);
	text_printf(&json, "]}");
	struct json *v = json_parse(json.data, json.length, error);
	if (v == NULL)
		abort();
	if (user_resolve(root, v, &user, &f) == 0 &&
	    (user.uid > INT32_MAX || user.gid > INT32_MAX || user.groups_length > USER_GROUPS_MAX || user.home[0] == '\0'))
		abort();
	json_free(v);
	text_free(&json);
	return 0;
}
