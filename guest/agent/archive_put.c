// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "archive.h"
#include "archive_path.h"
#include "archive_times.h"
#include "path.h"
#include "remove.h"
#include "tar.h"
#include "write_all.h"

struct unpack {
	struct tar_reader reader;
	struct tar_member member;
	struct archive_times times; // of directories, set when all is in them
	char top[PATH_MAX];         // the canonical directory into which it is unpacked
	char path[PATH_MAX];        // of the member: `top` and its cleaned name
	int root;
	const struct archive_put *how;
	struct failure *f;
};

static int failed(struct unpack *u, const char *what)
{
	const char *name = u->member.name;

	// What the archive, or the place it is to go to, is to blame for.
	if (errno == EROFS || errno == ENOTDIR || errno == EISDIR || errno == ELOOP || errno == ENAMETOOLONG)
		return fail(u->f, "invalid", "%s %.300s: %s", what, name, strerror(errno));
	return fail_errno(u->f, "%s %.300s", what, name);
}

// A member's name as a path below `top`: "./a//b/" -> "<top>/a/b". A name that leaves it is an attack, or a mistake.
static int resolve(const struct unpack *u, const char *name, char out[PATH_MAX])
{
	char clean[PATH_MAX];
	int depth = 0;

	for (const char *at = name; *at != '\0';) {
		at += strspn(at, "/");
		size_t n = strcspn(at, "/");
		if (n == 2 && at[0] == '.' && at[1] == '.')
			depth--;
		else if (n > 0 && !(n == 1 && at[0] == '.'))
			depth++;
		if (depth < 0)
			return fail(u->f, "invalid", "tar: member %.200s is outside of the directory", name);
		at += n;
	}
	if (path_clean(name, clean, sizeof clean) != 0)
		return fail(u->f, "invalid", "tar: the name of a member is too long");
	const char *top = strcmp(u->top, "/") == 0 ? "" : u->top, *below = strcmp(clean, "/") == 0 && *top != '\0' ? "" : clean;
	if (snprintf(out, PATH_MAX, "%s%s", top, below) >= PATH_MAX)
		return fail(u->f, "invalid", "tar: the name of a member is too long");
	return 0;
}

// Opens the directory that holds `path`, made if it is missing, and points *base at the last component (writable: in
// path).
static int open_parent(const struct unpack *u, char path[PATH_MAX], const char **base)
{
	char *slash = strrchr(path, '/');

	*base = slash + 1;
	*slash = '\0';
	int fd = path_create(u->root, path, true);
	*slash = '/';
	return fd;
}

static void set_xattrs(const struct unpack *u, int fd)
{
	for (size_t i = 0; i < u->member.xattrs_length; i++) {
		const struct tar_xattr *x = &u->member.xattrs[i];
		// overlayfs' own are not for a tar to say: they could make anything appear in the merged tree.
		if (strncmp(x->name, "trusted.overlay.", 16) == 0 || strncmp(x->name, "user.overlay.", 13) == 0)
			continue;
		// As tar: a file system that cannot keep one is no reason to fail.
		(void)fsetxattr(fd, x->name, x->value, x->size, 0);
	}
}

static struct timespec time_of(const struct tar_member *m)
{
	return (struct timespec){.tv_sec = (time_t)m->mtime, .tv_nsec = (long)m->mtime_nsec};
}

// Owner first, as a change of it takes set-user-ID and file capabilities away.
static int set_attributes(struct unpack *u, int fd)
{
	if (fchown(fd, u->member.uid, u->member.gid) != 0)
		return failed(u, "setting the owner of");
	set_xattrs(u, fd);
	return fchmod(fd, u->member.mode) == 0 ? 0 : failed(u, "setting the mode of");
}

// `keep`: a file that is there and stays, as it is mounted in its place (/etc/hosts); it gets the content.
static int put_file(struct unpack *u, int parent, const char *base, bool keep)
{
	const struct timespec times[2] = {time_of(&u->member), time_of(&u->member)};
	const unsigned char *data;
	int64_t n;
	int flags = keep ? O_TRUNC | O_NONBLOCK | O_NOCTTY : O_CREAT | O_EXCL;
	int fd = openat(parent, base, flags | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600), result = 0;

	if (fd < 0)
		return failed(u, "creating");
	while (result == 0 && (n = tar_reader_data(&u->reader, &data, u->f)) != 0) {
		if (n < 0)
			result = -1;
		else if (write_all(fd, data, (size_t)n) != 0)
			result = failed(u, "writing");
	}
	if (result == 0)
		result = set_attributes(u, fd);
	if (result == 0 && futimens(fd, times) != 0)
		result = failed(u, "setting the time of");
	close(fd);
	return result;
}

static int put_directory(struct unpack *u, int parent, const char *base)
{
	if (mkdirat(parent, base, 0700) != 0 && errno != EEXIST)
		return failed(u, "creating");
	int fd = openat(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return failed(u, "opening");
	int result = set_attributes(u, fd);
	close(fd);
	if (result == 0)
		archive_times_add(&u->times, u->path, time_of(&u->member));
	return result;
}

static int put_hard_link(struct unpack *u, int parent, const char *base)
{
	char target[PATH_MAX];
	const char *target_base;

	if (resolve(u, u->member.link, target) != 0)
		return -1;
	if (strcmp(target, u->top) == 0 || strcmp(target, "/") == 0)
		return fail(u->f, "invalid", "tar: hard link %.200s to a directory", u->member.name);
	char *slash = strrchr(target, '/');
	target_base = slash + 1;
	*slash = '\0';
	int fd = path_open(u->root, target, O_PATH | O_DIRECTORY, 0);
	int result = fd >= 0 && linkat(fd, target_base, parent, base, 0) == 0 ? 0 : -1;
	if (result != 0)
		fail(u->f, errno == ENOENT ? "invalid" : "internal", "tar: hard link %.200s to %.200s: %s", u->member.name,
		     u->member.link, strerror(errno));
	if (fd >= 0)
		close(fd);
	return result;
}

// Symlinks, devices and fifos: made with their mode at once (the umask is 0), and never opened.
static int put_special(struct unpack *u, int parent, const char *base)
{
	const struct tar_member *m = &u->member;
	const struct timespec times[2] = {time_of(m), time_of(m)};
	mode_t kind = m->type == TAR_CHARACTER ? S_IFCHR : m->type == TAR_BLOCK_DEVICE ? S_IFBLK : S_IFIFO;
	int made = m->type == TAR_SYMLINK
			   ? symlinkat(m->link, parent, base)
			   : mknodat(parent, base, kind | m->mode, kind == S_IFIFO ? 0 : makedev(m->major, m->minor));

	if (made != 0)
		return failed(u, "creating");
	if (fchownat(parent, base, m->uid, m->gid, AT_SYMLINK_NOFOLLOW) != 0)
		return failed(u, "setting the owner of");
	return utimensat(parent, base, times, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : failed(u, "setting the time of");
}

// Makes room as docker does: directories are merged, everything else is replaced. *keep: see put_file.
static int make_room(struct unpack *u, int parent, const char *base, bool *keep)
{
	struct stat st;
	const char *name = u->member.name;
	bool directory = u->member.type == TAR_DIRECTORY;

	if (fstatat(parent, base, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : failed(u, "looking at");
	bool there = S_ISDIR(st.st_mode);
	if (u->how->no_overwrite_dir_non_dir && there && !directory)
		return fail(u->f, "invalid", "cannot overwrite directory \"%.200s\" with non-directory", name);
	if (u->how->no_overwrite_dir_non_dir && !there && directory)
		return fail(u->f, "invalid", "cannot overwrite non-directory \"%.200s\" with directory", name);
	if (there && directory)
		return 0;
	if (remove_tree(parent, base) == 0)
		return 0;
	*keep = errno == EBUSY && u->member.type == TAR_FILE && S_ISREG(st.st_mode);
	return *keep ? 0 : failed(u, "replacing");
}

static int put_at(struct unpack *u, int parent, const char *base)
{
	bool keep = false;

	if (u->how->chown) {
		u->member.uid = u->how->uid;
		u->member.gid = u->how->gid;
	}
	if (make_room(u, parent, base, &keep) != 0)
		return -1;
	switch (u->member.type) {
	case TAR_FILE:
		return put_file(u, parent, base, keep);
	case TAR_DIRECTORY:
		return put_directory(u, parent, base);
	case TAR_HARD_LINK:
		return put_hard_link(u, parent, base);
	default:
		return put_special(u, parent, base);
	}
}

static int put_member(struct unpack *u)
{
	const char *base;

	if (resolve(u, u->member.name, u->path) != 0)
		return -1;
	// The directory itself, as in "./": it is there, and stays as it is.
	if (strcmp(u->path, u->top) == 0)
		return u->member.type == TAR_DIRECTORY ? 0 : fail(u->f, "invalid", "tar: a member in place of the directory");
	int parent = open_parent(u, u->path, &base);
	if (parent < 0)
		return failed(u, "making the directory of");
	int result = put_at(u, parent, base);
	close(parent);
	return result;
}

static int unpack(struct unpack *u)
{
	int result;

	while ((result = tar_reader_next(&u->reader, &u->member, u->f)) > 0) {
		int put = put_member(u);
		tar_member_free(&u->member);
		if (put != 0)
			return -1;
	}
	if (result == 0) {
		archive_times_apply(&u->times, u->root);
		tar_reader_drain(&u->reader);
	}
	return result;
}

int archive_put(int root, const char *path, int in, const struct archive_put *how, struct failure *f)
{
	struct archive_path parsed;

	if (archive_path_parse(path, &parsed, f) != 0)
		return -1;
	int directory = path_open(root, parsed.clean, O_PATH | O_DIRECTORY, 0);
	if (directory < 0)
		return archive_path_failed(parsed.clean, f);
	close(directory);
	struct unpack *u = calloc(1, sizeof *u);
	if (u == NULL)
		return fail_errno(f, "archive");
	u->root = root;
	u->how = how;
	u->f = f;
	tar_reader_init(&u->reader, in);
	mode_t mask = umask(0);
	int result = path_canonical(root, parsed.clean, u->top, sizeof u->top) == 0 ? unpack(u)
										     : archive_path_failed(parsed.clean, f);
	(void)umask(mask);
	archive_times_free(&u->times);
	free(u);
	return result;
}
