// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "archive.h"
#include "archive_links.h"
#include "archive_names.h"
#include "archive_path.h"
#include "path.h"
#include "tar.h"

enum {
	DEPTH_MAX = 512, // every level holds a descriptor
	XATTRS_SIZE = 65536 + 16384,
};

struct walk {
	struct tar_writer writer;
	struct archive_links links;
	struct tar_member member;
	char name[PATH_MAX]; // of the member that the walk is at
	char xattrs[XATTRS_SIZE];
	char names[16384]; // listxattr
	unsigned char data[65536];
	struct failure *f;
};

static int write_directory(struct walk *w, int fd, const struct stat *st, int depth);

// What the kernel invents has no place in a copy of files.
static bool is_kernel_file_system(int fd)
{
	// linux/magic.h: proc, sysfs, cgroup2, devpts, mqueue, debugfs, tracefs, securityfs, bpf, cgroup, pstore,
	// binfmt_misc
	static const unsigned long types[] = {0x9fa0,	  0x62656572, 0x63677270, 0x1cd1,     0x19800202, 0x64626720,
					      0x74726163, 0x73636673, 0xcafe4a11, 0x27e0eb,   0x6165676c, 0x42494e4d};
	struct statfs sf;

	if (fstatfs(fd, &sf) != 0)
		return false;
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		if ((unsigned long)sf.f_type == types[i])
			return true;
	}
	return false;
}

// overlayfs' own notes are of this machine's layers, not of the file.
static bool is_carried(const char *xattr)
{
	return strncmp(xattr, "trusted.overlay.", 16) != 0 && strncmp(xattr, "user.overlay.", 13) != 0 &&
	       strcmp(xattr, "security.selinux") != 0;
}

static void read_xattrs(struct walk *w, int fd)
{
	ssize_t length = flistxattr(fd, w->names, sizeof w->names);
	size_t used = 0;

	for (const char *name = w->names; length > 0; length -= (ssize_t)strlen(name) + 1, name += strlen(name) + 1) {
		if (!is_carried(name) || w->member.xattrs_length == TAR_XATTRS_MAX)
			continue;
		ssize_t n = fgetxattr(fd, name, w->xattrs + used, sizeof w->xattrs - used);
		if (n < 0)
			continue;
		w->member.xattrs[w->member.xattrs_length++] = (struct tar_xattr){name, w->xattrs + used, (size_t)n};
		used += (size_t)n;
	}
}

static void begin_member(struct walk *w, const struct stat *st, enum tar_type type)
{
	struct tar_member *m = &w->member;

	m->type = type;
	(void)snprintf(m->name, sizeof m->name, "%s", w->name);
	m->link[0] = '\0';
	m->mode = st->st_mode & 07777;
	m->uid = st->st_uid;
	m->gid = st->st_gid;
	m->size = 0;
	m->mtime = st->st_mtim.tv_sec;
	m->mtime_nsec = (uint32_t)st->st_mtim.tv_nsec;
	m->major = type == TAR_CHARACTER || type == TAR_BLOCK_DEVICE ? major(st->st_rdev) : 0;
	m->minor = type == TAR_CHARACTER || type == TAR_BLOCK_DEVICE ? minor(st->st_rdev) : 0;
	m->xattrs_length = 0;
}

static int end_member(struct walk *w)
{
	return tar_writer_member(&w->writer, &w->member, w->f);
}

// Exactly as many bytes as the header has promised, whatever happens to the file meanwhile.
static int write_content(struct walk *w, int fd, uint64_t size)
{
	for (uint64_t left = size; left > 0;) {
		size_t wanted = left < sizeof w->data ? (size_t)left : sizeof w->data;
		ssize_t n = read(fd, w->data, wanted);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			n = (ssize_t)wanted;
			memset(w->data, 0, wanted);
		}
		if (tar_writer_data(&w->writer, w->data, (size_t)n, w->f) != 0)
			return -1;
		left -= (uint64_t)n;
	}
	return tar_writer_pad(&w->writer, size, w->f);
}

static int write_file(struct walk *w, int parent, const char *base)
{
	struct stat st;
	int fd = openat(parent, base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), result = -1;

	if (fd < 0)
		return errno == ENOENT || errno == ELOOP ? 0 : fail_errno(w->f, "opening %.300s", w->name);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(fd); // somebody has put something else there since
		return 0;
	}
	const char *first = st.st_nlink > 1 ? archive_links_name(&w->links, st.st_dev, st.st_ino, w->name) : NULL;
	begin_member(w, &st, first != NULL ? TAR_HARD_LINK : TAR_FILE);
	if (first != NULL) {
		(void)snprintf(w->member.link, sizeof w->member.link, "%s", first);
		result = end_member(w);
	} else {
		w->member.size = (uint64_t)st.st_size;
		read_xattrs(w, fd);
		result = end_member(w) == 0 ? write_content(w, fd, w->member.size) : -1;
	}
	close(fd);
	return result;
}

static int write_symlink(struct walk *w, int parent, const char *base, const struct stat *st)
{
	begin_member(w, st, TAR_SYMLINK);
	ssize_t n = readlinkat(parent, base, w->member.link, sizeof w->member.link - 1);
	if (n < 0)
		return 0;
	w->member.link[n] = '\0';
	return end_member(w);
}

static int write_subdirectory(struct walk *w, int parent, const char *base, dev_t device, int depth)
{
	struct stat st;
	int fd = openat(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT || errno == ELOOP || errno == ENOTDIR ? 0
									     : fail_errno(w->f, "opening %.300s", w->name);
	int result = fstat(fd, &st) != 0 ? fail_errno(w->f, "reading %.300s", w->name) : 0;
	// Another file system is mounted here: of the kernel's own only the mount point is stored.
	bool empty = st.st_dev != device && is_kernel_file_system(fd);
	if (result == 0)
		result = write_directory(w, fd, &st, empty ? -1 : depth);
	close(fd);
	return result;
}

static int write_entry(struct walk *w, int parent, const char *base, dev_t device, int depth)
{
	struct stat st;
	enum tar_type type;

	if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : fail_errno(w->f, "reading %.300s", w->name);
	switch (st.st_mode & S_IFMT) {
	case S_IFDIR:
		return write_subdirectory(w, parent, base, device, depth);
	case S_IFREG:
		return write_file(w, parent, base);
	case S_IFLNK:
		return write_symlink(w, parent, base, &st);
	case S_IFCHR:
		type = TAR_CHARACTER;
		break;
	case S_IFBLK:
		type = TAR_BLOCK_DEVICE;
		break;
	case S_IFIFO:
		type = TAR_FIFO;
		break;
	default:
		return 0; // a socket is nothing without its process
	}
	begin_member(w, &st, type);
	return end_member(w);
}

static int write_names(struct walk *w, int directory, const struct archive_names *names, dev_t device, int depth)
{
	size_t length = strlen(w->name);

	for (size_t i = 0; i < names->length; i++) {
		const char *base = names->names[i];
		if (length + strlen(base) + 2 > sizeof w->name)
			return fail(w->f, "invalid", "a path below %.200s is too long", w->name);
		memcpy(w->name + length, base, strlen(base) + 1);
		if (write_entry(w, directory, base, device, depth) != 0)
			return -1;
		w->name[length] = '\0';
	}
	return 0;
}

static int write_children(struct walk *w, DIR *listing, dev_t device, int depth)
{
	struct archive_names names = {0};
	int result;

	while ((result = archive_names_read(&names, listing)) > 0) {
		if (write_names(w, dirfd(listing), &names, device, depth) != 0) {
			archive_names_free(&names);
			return -1;
		}
	}
	archive_names_free(&names);
	return result == 0 ? 0 : fail_errno(w->f, "reading %.300s", w->name);
}

static int write_content_of(struct walk *w, int fd, dev_t device, int depth)
{
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *listing = again >= 0 ? fdopendir(again) : NULL;
	if (listing == NULL) {
		if (again >= 0)
			close(again);
		return fail_errno(w->f, "reading %.300s", w->name);
	}
	int result = write_children(w, listing, device, depth + 1);
	(void)closedir(listing);
	return result;
}

// w->name without its final slash, as which the root is "". A negative depth stores the directory alone.
static int write_directory(struct walk *w, int fd, const struct stat *st, int depth)
{
	size_t length = strlen(w->name);

	if (depth > DEPTH_MAX)
		return fail(w->f, "invalid", "%.200s is more than %d levels deep", w->name, DEPTH_MAX);
	memcpy(w->name + length, "/", 2);
	begin_member(w, st, TAR_DIRECTORY);
	read_xattrs(w, fd);
	if (end_member(w) != 0)
		return -1;
	return depth < 0 ? 0 : write_content_of(w, fd, st->st_dev, depth);
}

static int write_top(struct walk *w, int root, const struct archive_path *path)
{
	struct stat st;
	int fd;

	if (path->follow) {
		(void)snprintf(w->name, sizeof w->name, "%s", path->content ? "." : path->base);
		fd = path_open(root, path->clean, O_RDONLY | O_DIRECTORY, 0);
		if (fd < 0 || fstat(fd, &st) != 0) {
			archive_path_failed(path->clean, w->f);
			if (fd >= 0)
				close(fd);
			return -1;
		}
		int result = write_directory(w, fd, &st, 0);
		close(fd);
		return result;
	}
	(void)snprintf(w->name, sizeof w->name, "%s", path->base);
	fd = path_open(root, path->parent, O_PATH | O_DIRECTORY, 0);
	if (fd < 0)
		return archive_path_failed(path->clean, w->f);
	int result = fstatat(fd, path->base, &st, AT_SYMLINK_NOFOLLOW) != 0 ? archive_path_failed(path->clean, w->f)
									    : write_entry(w, fd, path->base, st.st_dev, 0);
	close(fd);
	return result;
}

// Everything in the directory `root`, which has no name and no entry itself.
static int write_everything(struct walk *w, int root)
{
	struct stat st;

	if (fstat(root, &st) != 0)
		return fail_errno(w->f, "reading the root");
	return write_content_of(w, root, st.st_dev, 0);
}

static int make_archive(int root, const struct archive_path *path, int out, struct failure *f)
{
	struct walk *w = calloc(1, sizeof *w);

	if (w == NULL)
		return fail_errno(f, "archive");
	w->f = f;
	tar_writer_init(&w->writer, out);
	int result = path != NULL ? write_top(w, root, path) : write_everything(w, root);
	if (result == 0)
		result = tar_writer_end(&w->writer, f);
	archive_links_free(&w->links);
	free(w);
	return result;
}

int archive_get(int root, const char *path, int out, struct failure *f)
{
	struct archive_path parsed;

	return archive_path_parse(path, &parsed, f) != 0 ? -1 : make_archive(root, &parsed, out, f);
}

int archive_export(int root, int out, struct failure *f)
{
	return make_archive(root, NULL, out, f);
}
