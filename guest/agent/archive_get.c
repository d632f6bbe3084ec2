// SPDX-License-Identifier: Apache-2.0
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "archive.h"
#include "archive_member.h"
#include "archive_names.h"
#include "archive_path.h"
#include "path.h"

enum { DEPTH_MAX = 512 }; // every level holds a descriptor

static int write_directory(struct archive_out *w, int fd, const struct stat *st, int depth);

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

static int write_subdirectory(struct archive_out *w, int parent, const char *base, dev_t device, int depth)
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

static int write_entry(struct archive_out *w, int parent, const char *base, dev_t device, int depth)
{
	struct stat st;

	if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : fail_errno(w->f, "reading %.300s", w->name);
	if (S_ISDIR(st.st_mode))
		return write_subdirectory(w, parent, base, device, depth);
	return archive_member_other(w, parent, base, &st);
}

static int write_names(struct archive_out *w, int directory, const struct archive_names *names, dev_t device, int depth)
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

static int write_children(struct archive_out *w, DIR *listing, dev_t device, int depth)
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

static int write_content_of(struct archive_out *w, int fd, dev_t device, int depth)
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
static int write_directory(struct archive_out *w, int fd, const struct stat *st, int depth)
{
	size_t length = strlen(w->name);

	if (depth > DEPTH_MAX)
		return fail(w->f, "invalid", "%.200s is more than %d levels deep", w->name, DEPTH_MAX);
	memcpy(w->name + length, "/", 2);
	if (archive_member_directory(w, fd, st) != 0)
		return -1;
	return depth < 0 ? 0 : write_content_of(w, fd, st->st_dev, depth);
}

static int write_top(struct archive_out *w, int root, const struct archive_path *path)
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
static int write_everything(struct archive_out *w, int root)
{
	struct stat st;

	if (fstat(root, &st) != 0)
		return fail_errno(w->f, "reading the root");
	return write_content_of(w, root, st.st_dev, 0);
}

static int make_archive(int root, const struct archive_path *path, int out, struct failure *f)
{
	struct archive_out *w = calloc(1, sizeof *w);

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
