// SPDX-License-Identifier: Apache-2.0
#include "user_database.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "path.h"

enum { FIELDS_MAX = 7 };

// Looks at what it is before opening it for reading: opening a device can already do something.
static int open_regular(int root, const char *path)
{
	struct stat st;
	int fd = path_open(root, path, O_PATH, 0);
	bool regular = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);

	if (fd >= 0)
		close(fd);
	fd = regular ? path_open(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0) : -1;
	if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static size_t read_all(int fd, char *data, size_t size)
{
	size_t used = 0;

	while (used < size) {
		ssize_t n = read(fd, data + used, size - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	return used;
}

void user_database_read(int root, const char *path, enum user_database_kind kind, struct user_database *out)
{
	*out = (struct user_database){.kind = kind};
	int fd = open_regular(root, path);
	if (fd < 0)
		return;
	out->data = malloc(USER_DATABASE_MAX + 1);
	if (out->data != NULL)
		out->length = read_all(fd, out->data, USER_DATABASE_MAX);
	close(fd);
	// The last line may lack its newline, unless it is the bound that cut it.
	if (out->data != NULL && out->length < USER_DATABASE_MAX)
		out->data[out->length++] = '\n';
	while (out->length > 0 && out->data[out->length - 1] != '\n')
		out->length--;
}

void user_database_free(struct user_database *database)
{
	free(database->data);
	*database = (struct user_database){0};
}

static bool parse_id(const struct user_text *text, uint32_t *out)
{
	uint64_t n = 0;

	if (text->length == 0 || text->length > 10)
		return false;
	for (size_t i = 0; i < text->length; i++) {
		if (text->data[i] < '0' || text->data[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(text->data[i] - '0');
	}
	*out = (uint32_t)n;
	return n <= INT32_MAX;
}

static size_t split(const char *line, size_t length, struct user_text fields[FIELDS_MAX])
{
	size_t n = 0;

	for (;;) {
		const char *colon = memchr(line, ':', length);
		size_t field = colon != NULL ? (size_t)(colon - line) : length;
		fields[n++] = (struct user_text){line, field};
		if (colon == NULL || n == FIELDS_MAX)
			return n;
		line += field + 1;
		length -= field + 1;
	}
}

// passwd: name:password:uid:gid:gecos:home:shell   group: name:password:gid:members
static bool parse(enum user_database_kind kind, const char *line, size_t length, struct user_entry *out)
{
	struct user_text fields[FIELDS_MAX];
	size_t n = memchr(line, '\0', length) == NULL ? split(line, length, fields) : 0;

	if (n < 3 || fields[0].length == 0 || !parse_id(&fields[2], &out->id))
		return false;
	out->name = fields[0];
	out->home = out->members = (struct user_text){"", 0};
	out->gid = 0;
	if (kind == USER_GROUP) {
		if (n > 3)
			out->members = fields[3];
		return true;
	}
	if (n > 5)
		out->home = fields[5];
	return n > 3 && parse_id(&fields[3], &out->gid);
}

bool user_database_next(const struct user_database *database, size_t *at, struct user_entry *out)
{
	while (*at < database->length) {
		const char *line = database->data + *at, *end = memchr(line, '\n', database->length - *at);
		size_t length = end != NULL ? (size_t)(end - line) : database->length - *at;
		*at += length + 1;
		if (parse(database->kind, line, length, out))
			return true;
	}
	return false;
}

bool user_text_equals(const struct user_text *text, const char *string)
{
	return strlen(string) == text->length && memcmp(text->data, string, text->length) == 0;
}

bool user_database_by_name(const struct user_database *database, const char *name, struct user_entry *out)
{
	for (size_t at = 0; user_database_next(database, &at, out);) {
		if (user_text_equals(&out->name, name))
			return true;
	}
	return false;
}

bool user_database_by_id(const struct user_database *database, uint32_t id, struct user_entry *out)
{
	for (size_t at = 0; user_database_next(database, &at, out);) {
		if (out->id == id)
			return true;
	}
	return false;
}

bool user_entry_has_member(const struct user_entry *group, const struct user_text *name)
{
	const char *at = group->members.data;
	size_t left = group->members.length;

	for (;;) {
		const char *comma = memchr(at, ',', left);
		size_t length = comma != NULL ? (size_t)(comma - at) : left;
		if (length == name->length && memcmp(at, name->data, length) == 0)
			return true;
		if (comma == NULL)
			return false;
		at += length + 1;
		left -= length + 1;
	}
}
