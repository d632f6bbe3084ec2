// SPDX-License-Identifier: Apache-2.0
#include "layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive_member.h"
#include "upper.h"

static const char whiteout[] = ".wh.", opaque[] = ".wh..wh..opq";

// A name of the layer: the path, without its slash, cut off before its last component if `base` is to stand there.
static int set_name(struct archive_out *out, const struct upper_change *change, const char *prefix, const char *base)
{
	size_t length = change->length - 1;
	int n = snprintf(out->name, sizeof out->name, "%.*s%s%s", (int)length, change->path + 1, prefix, base);

	return n < (int)sizeof out->name ? 0 : fail(out->f, "invalid", "a path below %.200s is too long", out->name);
}

static int write_whiteout(struct archive_out *out, const struct upper_change *change)
{
	struct upper_change parent = *change;

	parent.length -= strlen(change->base);
	return set_name(out, &parent, whiteout, change->base) != 0 ? -1 : archive_member_mark(out);
}

static int write_directory(struct archive_out *out, const struct upper_change *change)
{
	struct stat st;
	int fd = change->base != NULL
			 ? openat(change->parent, change->base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
			 : change->parent;

	if (fd < 0)
		return errno == ENOENT || errno == ELOOP || errno == ENOTDIR ? 0
									     : fail_errno(out->f, "opening %.300s", out->name);
	int result = fstat(fd, &st) != 0 ? fail_errno(out->f, "reading %.300s", out->name) : 0;
	if (result == 0)
		result = set_name(out, change, "/", "") != 0 ? -1 : archive_member_directory(out, fd, &st);
	if (change->base != NULL)
		(void)close(fd);
	return result;
}

static int write_change(void *visitor, const struct upper_change *change, struct failure *f)
{
	struct archive_out *out = visitor;
	struct stat st;

	if (change->kind == 'D')
		return write_whiteout(out, change);
	if (change->base == NULL)
		return write_directory(out, change);
	if (strncmp(change->base, whiteout, sizeof whiteout - 1) == 0)
		return fail(f, "invalid", "%.300s cannot be in a layer: its name is that of a whiteout", change->path);
	if (set_name(out, change, "", "") != 0)
		return -1;
	if (fstatat(change->parent, change->base, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : fail_errno(f, "reading %.300s", out->name);
	return S_ISDIR(st.st_mode) ? write_directory(out, change)
				   : archive_member_other(out, change->parent, change->base, &st);
}

static int write_opaque(void *visitor, const struct upper_change *change, struct failure *f)
{
	struct archive_out *out = visitor;

	(void)f;
	return set_name(out, change, "/", opaque) != 0 ? -1 : archive_member_mark(out);
}

int layer_write(int upper, int lower, int out, struct failure *f)
{
	static const struct upper_visitor how = {
		.changed = write_change,
		.every_file = true,
		.made_anew = write_opaque,
	};
	struct archive_out *archive = calloc(1, sizeof *archive);

	if (archive == NULL)
		return fail_errno(f, "layer");
	archive->f = f;
	tar_writer_init(&archive->writer, out);
	int result = upper_walk(upper, lower, &how, archive, f);
	if (result == 0)
		result = tar_writer_end(&archive->writer, f);
	archive_links_free(&archive->links);
	free(archive);
	return result;
}
