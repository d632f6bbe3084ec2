// SPDX-License-Identifier: Apache-2.0
#include "archive_member.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

// overlayfs' own notes are of this machine's layers, not of the file.
static bool is_carried(const char *xattr)
{
	return strncmp(xattr, "trusted.overlay.", 16) != 0 && strncmp(xattr, "user.overlay.", 13) != 0 &&
	       strcmp(xattr, "security.selinux") != 0;
}

static void read_xattrs(struct archive_out *out, int fd)
{
	ssize_t length = flistxattr(fd, out->names, sizeof out->names);
	size_t used = 0;

	for (const char *name = out->names; length > 0; length -= (ssize_t)strlen(name) + 1, name += strlen(name) + 1) {
		if (!is_carried(name) || out->member.xattrs_length == TAR_XATTRS_MAX)
			continue;
		ssize_t n = fgetxattr(fd, name, out->xattrs + used, sizeof out->xattrs - used);
		if (n < 0)
			continue;
		out->member.xattrs[out->member.xattrs_length++] = (struct tar_xattr){name, out->xattrs + used, (size_t)n};
		used += (size_t)n;
	}
}

static void begin_member(struct archive_out *out, const struct stat *st, enum tar_type type)
{
	struct tar_member *m = &out->member;

	m->type = type;
	(void)snprintf(m->name, sizeof m->name, "%s", out->name);
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

static int end_member(struct archive_out *out)
{
	return tar_writer_member(&out->writer, &out->member, out->f);
}

// Exactly as many bytes as the header has promised, whatever happens to the file meanwhile.
static int write_content(struct archive_out *out, int fd, uint64_t size)
{
	for (uint64_t left = size; left > 0;) {
		size_t wanted = left < sizeof out->data ? (size_t)left : sizeof out->data;
		ssize_t n = read(fd, out->data, wanted);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			n = (ssize_t)wanted;
			memset(out->data, 0, wanted);
		}
		if (tar_writer_data(&out->writer, out->data, (size_t)n, out->f) != 0)
			return -1;
		left -= (uint64_t)n;
	}
	return tar_writer_pad(&out->writer, size, out->f);
}

static int write_file(struct archive_out *out, int parent, const char *base)
{
	struct stat st;
	int fd = openat(parent, base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC), result = -1;

	if (fd < 0)
		return errno == ENOENT || errno == ELOOP ? 0 : fail_errno(out->f, "opening %.300s", out->name);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(fd); // somebody has put something else there since
		return 0;
	}
	const char *first = st.st_nlink > 1 ? archive_links_name(&out->links, st.st_dev, st.st_ino, out->name) : NULL;
	begin_member(out, &st, first != NULL ? TAR_HARD_LINK : TAR_FILE);
	if (first != NULL) {
		(void)snprintf(out->member.link, sizeof out->member.link, "%s", first);
		result = end_member(out);
	} else {
		out->member.size = (uint64_t)st.st_size;
		read_xattrs(out, fd);
		result = end_member(out) == 0 ? write_content(out, fd, out->member.size) : -1;
	}
	close(fd);
	return result;
}

static int write_symlink(struct archive_out *out, int parent, const char *base, const struct stat *st)
{
	begin_member(out, st, TAR_SYMLINK);
	ssize_t n = readlinkat(parent, base, out->member.link, sizeof out->member.link - 1);
	if (n < 0)
		return 0;
	out->member.link[n] = '\0';
	return end_member(out);
}

static int write_special(struct archive_out *out, const struct stat *st, enum tar_type type)
{
	begin_member(out, st, type);
	return end_member(out);
}

int archive_member_other(struct archive_out *out, int parent, const char *base, const struct stat *st)
{
	switch (st->st_mode & S_IFMT) {
	case S_IFREG:
		return write_file(out, parent, base);
	case S_IFLNK:
		return write_symlink(out, parent, base, st);
	case S_IFCHR:
		return write_special(out, st, TAR_CHARACTER);
	case S_IFBLK:
		return write_special(out, st, TAR_BLOCK_DEVICE);
	case S_IFIFO:
		return write_special(out, st, TAR_FIFO);
	default:
		return 0; // a socket is nothing without its process
	}
}

int archive_member_directory(struct archive_out *out, int fd, const struct stat *st)
{
	begin_member(out, st, TAR_DIRECTORY);
	read_xattrs(out, fd);
	return end_member(out);
}

int archive_member_mark(struct archive_out *out)
{
	static const struct stat nothing;

	begin_member(out, &nothing, TAR_FILE);
	return end_member(out);
}
