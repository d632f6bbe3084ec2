// SPDX-License-Identifier: Apache-2.0
#include "upper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "archive_names.h"

enum {
	DEPTH_MAX = 1024, // every level holds three descriptors
	CAPABILITY_SIZE = 64,
};

// A directory on the way from the root to where the walk is.
struct level {
	struct level *parent;
	size_t length; // of its path
	int depth;
	int upper, lower; // lower is -1 where there was no such directory
	bool told;
	bool opaque; // nothing of the lower directory shines through
};

struct walk {
	const struct upper_visitor *how;
	void *visitor;
	char path[PATH_MAX]; // "" for the root
	struct failure *f;
};

// --- Telling

static int tell_directory(struct walk *w, const struct level *level, int (*told)(void *, const struct upper_change *, struct failure *))
{
	struct upper_change change = {.kind = 'C', .path = w->path, .length = level->length, .parent = level->upper};

	return told(w->visitor, &change, w->f);
}

// A directory in which something was changed is modified itself, and told of first.
static int tell_level(struct walk *w, struct level *level)
{
	if (level->told)
		return 0;
	level->told = true;
	return tell_level(w, level->parent) != 0 ? -1 : tell_directory(w, level, w->how->changed);
}

static int tell(struct walk *w, char kind, struct level *parent, const char *base)
{
	struct upper_change change = {
		.kind = kind,
		.path = w->path,
		.length = strlen(w->path),
		.parent = parent->upper,
		.base = base,
	};

	return tell_level(w, parent) != 0 ? -1 : w->how->changed(w->visitor, &change, w->f);
}

// --- Comparing

// What dockerd makes in each container's first layer where the image has it not, for others to be mounted upon.
static bool is_made_by_runtime(const char *path, const struct stat *st)
{
	static const char *const directories[] = {"/dev", "/dev/pts", "/dev/shm", "/etc", "/proc", "/sys"};
	static const char *const files[] = {"/dev/console", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"};

	for (size_t i = 0; S_ISDIR(st->st_mode) && i < sizeof directories / sizeof directories[0]; i++) {
		if (strcmp(path, directories[i]) == 0)
			return true;
	}
	for (size_t i = 0; S_ISREG(st->st_mode) && st->st_size == 0 && i < sizeof files / sizeof files[0]; i++) {
		if (strcmp(path, files[i]) == 0)
			return true;
	}
	return false;
}

// Some tools write whole seconds only: then the rest says nothing.
static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && (a->tv_nsec == b->tv_nsec || a->tv_nsec == 0 || b->tv_nsec == 0);
}

static bool same_stat(const struct stat *a, const struct stat *b)
{
	return a->st_mode == b->st_mode && a->st_uid == b->st_uid && a->st_gid == b->st_gid && a->st_rdev == b->st_rdev &&
	       (S_ISDIR(a->st_mode) || (a->st_size == b->st_size && same_time(&a->st_mtim, &b->st_mtim)));
}

// Of a regular file; -1 if it has none.
static ssize_t read_capability(int directory, const char *name, char out[CAPABILITY_SIZE])
{
	int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : fgetxattr(fd, "security.capability", out, CAPABILITY_SIZE);

	if (fd >= 0)
		(void)close(fd);
	return n;
}

static bool same_capability(const struct level *level, const char *name)
{
	char ours[CAPABILITY_SIZE], theirs[CAPABILITY_SIZE];
	ssize_t n = read_capability(level->upper, name, ours);

	return n == read_capability(level->lower, name, theirs) && (n <= 0 || memcmp(ours, theirs, (size_t)n) == 0);
}

// What the lower directory has by this name. 1, or 0 if nothing.
static int stat_lower(const struct level *level, const char *name, struct stat *st)
{
	return level->lower >= 0 && fstatat(level->lower, name, st, AT_SYMLINK_NOFOLLOW) == 0;
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

static bool is_opaque(int directory)
{
	char value = '\0';

	return fgetxattr(directory, "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
}

// --- The walk

static int walk_level(struct walk *w, struct level *level);

// Appends to the path; the caller cuts it off again.
static int enter_name(struct walk *w, const struct level *level, const char *name)
{
	size_t length = strlen(name);

	if (level->length + length + 2 > sizeof w->path)
		return fail(w->f, "invalid", "a path below %.200s is too long", w->path);
	w->path[level->length] = '/';
	memcpy(w->path + level->length + 1, name, length + 1);
	return 0;
}

static int walk_directory(struct walk *w, struct level *parent, const char *name, bool told, bool was_directory)
{
	struct level level = {
		.parent = parent,
		.length = strlen(w->path),
		.depth = parent->depth + 1,
		.lower = -1,
		.told = told,
	};

	if (level.depth > DEPTH_MAX)
		return fail(w->f, "invalid", "%.200s is more than %d levels deep", w->path, DEPTH_MAX);
	level.upper = openat(parent->upper, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (level.upper < 0) // somebody has taken it away, or put something else there
		return errno == ENOENT || errno == ELOOP || errno == ENOTDIR ? 0 : fail_errno(w->f, "opening %.300s", w->path);
	if (was_directory)
		level.lower = openat(parent->lower, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int result = was_directory && level.lower < 0 ? fail_errno(w->f, "opening the image's %.300s", w->path) : 0;
	level.opaque = parent->opaque || is_opaque(level.upper);
	if (result == 0)
		result = walk_level(w, &level);
	if (level.lower >= 0)
		(void)close(level.lower);
	(void)close(level.upper);
	return result;
}

static bool is_same(const struct walk *w, const struct level *level, const char *name, const struct stat *new,
		    const struct stat *old)
{
	if (w->how->every_file && !S_ISDIR(new->st_mode))
		return false;
	return same_stat(new, old) && (!S_ISREG(new->st_mode) || same_capability(level, name));
}

static int walk_entry(struct walk *w, struct level *level, const char *name)
{
	struct stat new, old;

	if (fstatat(level->upper, name, &new, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : fail_errno(w->f, "reading %.300s", w->path);
	bool known = stat_lower(level, name, &old);
	if (is_whiteout(&new))
		return known ? tell(w, 'D', level, name) : 0;
	bool same = known ? is_same(w, level, name, &new, &old) : is_made_by_runtime(w->path, &new);
	if (!same && tell(w, known ? 'C' : 'A', level, name) != 0)
		return -1;
	return S_ISDIR(new.st_mode) ? walk_directory(w, level, name, !same, known && S_ISDIR(old.st_mode)) : 0;
}

// What an opaque directory hides, and has not got itself.
static int walk_hidden(struct walk *w, struct level *level, const char *name)
{
	struct stat st;

	if (fstatat(level->upper, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	return errno == ENOENT ? tell(w, 'D', level, name) : fail_errno(w->f, "reading %.300s", w->path);
}

typedef int walker(struct walk *w, struct level *level, const char *name);

static int visit_names(struct walk *w, struct level *level, const struct archive_names *names, walker *visit)
{
	for (size_t i = 0; i < names->length; i++) {
		int result = enter_name(w, level, names->names[i]);
		if (result == 0)
			result = visit(w, level, names->names[i]);
		w->path[level->length] = '\0';
		if (result != 0)
			return -1;
	}
	return 0;
}

static int walk_names(struct walk *w, struct level *level, int directory, walker *visit)
{
	struct archive_names names = {0};
	int again = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0, more = -1;
	DIR *listing = again >= 0 ? fdopendir(again) : NULL;

	while (listing != NULL && result == 0 && (more = archive_names_read(&names, listing)) > 0)
		result = visit_names(w, level, &names, visit);
	if (more < 0)
		result = fail_errno(w->f, "reading %.300s", w->path);
	archive_names_free(&names);
	if (listing != NULL)
		(void)closedir(listing);
	else if (again >= 0)
		(void)close(again);
	return result;
}

// It hides a lower one, of which nobody need look at anything then.
static int tell_made_anew(struct walk *w, struct level *level)
{
	if (level->lower < 0)
		return 0;
	(void)close(level->lower);
	level->lower = -1;
	return tell_level(w, level) != 0 ? -1 : tell_directory(w, level, w->how->made_anew);
}

static int walk_level(struct walk *w, struct level *level)
{
	if (level->opaque && w->how->made_anew != NULL && tell_made_anew(w, level) != 0)
		return -1;
	if (walk_names(w, level, level->upper, walk_entry) != 0)
		return -1;
	return level->opaque && level->lower >= 0 ? walk_names(w, level, level->lower, walk_hidden) : 0;
}

int upper_walk(int upper, int lower, const struct upper_visitor *how, void *visitor, struct failure *f)
{
	struct level root = {.upper = upper, .lower = lower, .told = true};

	if (upper < 0)
		return 0;
	struct walk *w = calloc(1, sizeof *w);
	if (w == NULL)
		return fail_errno(f, "changes");
	w->how = how;
	w->visitor = visitor;
	w->f = f;
	int result = walk_level(w, &root);
	free(w);
	return result;
}
