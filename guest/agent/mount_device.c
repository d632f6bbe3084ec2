// SPDX-License-Identifier: Apache-2.0
#include "mount_device.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "mount_api.h"
#include "path.h"

struct node {
	const char *path;
	mode_t mode; // with its type
	dev_t device;
	uid_t uid;
	gid_t gid;
};

static const struct {
	const char *path;
	unsigned major, minor;
} defaults[] = {
	{"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
	{"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0},
};

static const struct {
	const char *path, *target;
} symlinks[] = {
	{"/dev/fd", "/proc/self/fd"},	    {"/dev/stdin", "/proc/self/fd/0"}, {"/dev/stdout", "/proc/self/fd/1"},
	{"/dev/stderr", "/proc/self/fd/2"}, {"/dev/ptmx", "pts/ptmx"},
};

// Splits "/a/b" into the opened (made) directory "/a" and the name "b".
static int open_parent(int root, const char *path, const char **name)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (slash == NULL || slash[1] == '\0' || strcmp(slash, "/.") == 0 || strcmp(slash, "/..") == 0 ||
	    (size_t)(slash - path) >= sizeof parent) {
		errno = EINVAL;
		return -1;
	}
	memcpy(parent, path, (size_t)(slash - path));
	parent[slash - path] = '\0';
	*name = slash + 1;
	return path_create(root, parent, true);
}

// In a user namespace of its own mknod is refused: the VM's own node is bound instead.
static int bind_node(int parent, const char *name, const struct node *n)
{
	char source[PATH_MAX];
	struct stat st;

	(void)snprintf(source, sizeof source, "/dev/%s", name);
	if (stat(source, &st) != 0 || st.st_rdev != n->device || (st.st_mode & S_IFMT) != (n->mode & S_IFMT)) {
		errno = EPERM;
		return -1;
	}
	int target = path_create(parent, name, false), source_fd = mount_api_clone(AT_FDCWD, source, false), result = -1;
	if (target >= 0 && source_fd >= 0)
		result = mount_api_attach(source_fd, target);
	int error = errno;
	if (target >= 0)
		close(target);
	if (source_fd >= 0)
		close(source_fd);
	errno = error;
	return result;
}

static bool is_there(int parent, const char *name, const struct node *n)
{
	struct stat st;

	return fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & S_IFMT) == (n->mode & S_IFMT) &&
	       (S_ISFIFO(st.st_mode) || st.st_rdev == n->device);
}

static int make_node(int parent, const char *name, const struct node *n)
{
	if (mknodat(parent, name, n->mode, n->device) != 0) {
		if (errno == EPERM)
			return bind_node(parent, name, n);
		if (errno != EEXIST)
			return -1;
		if (is_there(parent, name, n))
			return 0;
		// What the image has there under this name is not the device.
		if (unlinkat(parent, name, 0) != 0 || mknodat(parent, name, n->mode, n->device) != 0)
			return -1;
	}
	// Past the umask. Nobody else works in this directory: it is still the node that was made.
	if (fchownat(parent, name, n->uid, n->gid, AT_SYMLINK_NOFOLLOW) != 0)
		return -1;
	return fchmodat(parent, name, n->mode & 07777, 0);
}

static int add_node(int root, const struct node *n, struct failure *f)
{
	const char *name;
	int parent = open_parent(root, n->path, &name);
	int result = parent < 0 ? -1 : make_node(parent, name, n);

	if (result != 0)
		fail_errno(f, "making the device %s", n->path);
	if (parent >= 0)
		close(parent);
	return result;
}

static int parse_device(const struct json *entry, struct node *out, struct failure *f)
{
	const char *type = json_string(json_get(entry, "type"), "");
	int64_t major = json_int(json_get(entry, "major"), 0), minor = json_int(json_get(entry, "minor"), 0);
	mode_t kind;

	if (strcmp(type, "c") == 0 || strcmp(type, "u") == 0)
		kind = S_IFCHR;
	else if (strcmp(type, "b") == 0)
		kind = S_IFBLK;
	else if (strcmp(type, "p") == 0)
		kind = S_IFIFO;
	else
		return fail(f, "invalid", "linux.devices: type \"%s\"", type);
	if (major < 0 || minor < 0 || major > UINT16_MAX || minor > (1 << 20))
		return fail(f, "invalid", "linux.devices: bad device number");
	*out = (struct node){
		.path = json_string(json_get(entry, "path"), ""),
		.mode = kind | ((mode_t)json_int(json_get(entry, "fileMode"), 0666) & 07777),
		.device = kind == S_IFIFO ? 0 : makedev((unsigned)major, (unsigned)minor),
		.uid = (uid_t)json_uint(json_get(entry, "uid"), 0),
		.gid = (gid_t)json_uint(json_get(entry, "gid"), 0),
	};
	if (out->path[0] != '/')
		return fail(f, "invalid", "linux.devices: path \"%s\" must be absolute", out->path);
	return 0;
}

static int add_symlink(int root, const char *path, const char *target, struct failure *f)
{
	const char *name;
	char there[64];
	int parent = open_parent(root, path, &name), result = -1;

	if (parent >= 0) {
		ssize_t n = readlinkat(parent, name, there, sizeof there - 1);
		if (n > 0 && (size_t)n == strlen(target) && memcmp(there, target, (size_t)n) == 0)
			result = 0;
		else if ((unlinkat(parent, name, 0) == 0 || errno == ENOENT) && symlinkat(target, parent, name) == 0)
			result = 0;
	}
	if (result != 0)
		fail_errno(f, "making the symlink %s", path);
	if (parent >= 0)
		close(parent);
	return result;
}

// Is /dev the config's own affair?
static bool has_bound_dev(const struct json *mounts)
{
	char clean[PATH_MAX];

	for (size_t i = 0; i < json_length(mounts); i++) {
		const struct json *entry = json_at(mounts, i), *options = json_get(entry, "options");
		if (path_clean(json_string(json_get(entry, "destination"), ""), clean, sizeof clean) != 0 ||
		    strcmp(clean, "/dev") != 0)
			continue;
		bool bind = strcmp(json_string(json_get(entry, "type"), ""), "bind") == 0;
		for (size_t j = 0; j < json_length(options); j++) {
			const char *option = json_string(json_at(options, j), "");
			bind = bind || strcmp(option, "bind") == 0 || strcmp(option, "rbind") == 0;
		}
		if (bind)
			return true;
	}
	return false;
}

static int add_defaults(int root, struct failure *f)
{
	for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
		struct node n = {.path = defaults[i].path,
				 .mode = S_IFCHR | 0666,
				 .device = makedev(defaults[i].major, defaults[i].minor)};
		if (add_node(root, &n, f) != 0)
			return -1;
	}
	for (size_t i = 0; i < sizeof symlinks / sizeof symlinks[0]; i++) {
		if (add_symlink(root, symlinks[i].path, symlinks[i].target, f) != 0)
			return -1;
	}
	return 0;
}

int mount_device_nodes(int root, const struct json *config, struct failure *f)
{
	const struct json *devices = json_get(json_get(config, "linux"), "devices");
	struct node n;

	if (!has_bound_dev(json_get(config, "mounts")) && add_defaults(root, f) != 0)
		return -1;
	if (json_bool(json_get(json_get(config, "process"), "terminal"), false)) {
		int console = path_create(root, "/dev/console", false);
		if (console < 0)
			return fail_errno(f, "making /dev/console");
		close(console);
	}
	for (size_t i = 0; i < json_length(devices); i++) {
		if (parse_device(json_at(devices, i), &n, f) != 0 || add_node(root, &n, f) != 0)
			return -1;
	}
	return 0;
}
