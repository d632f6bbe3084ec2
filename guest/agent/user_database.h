// SPDX-License-Identifier: Apache-2.0
// /etc/passwd and /etc/group of an image: passwd(5), group(5). Hostile: malformed lines are skipped.
#ifndef HYPERCELL_USER_DATABASE_H
#define HYPERCELL_USER_DATABASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { USER_DATABASE_MAX = 1 << 20 };

enum user_database_kind { USER_PASSWD, USER_GROUP };

struct user_database {
	enum user_database_kind kind;
	char *data;    // malloc'd
	size_t length; // of whole lines
};

// Bytes of the database, not ended by NUL.
struct user_text {
	const char *data;
	size_t length;
};

// One line: id is the uid or the group's gid. gid and home: passwd only; members: group only, comma-separated.
struct user_entry {
	struct user_text name, home, members;
	uint32_t id, gid;
};

// Reads the file inside `root`: a regular file, at most its first MiB (a line cut there is dropped); whatever
// else it is, or nothing at all, gives an empty database. Never blocks.
void user_database_read(int root, const char *path, enum user_database_kind kind, struct user_database *out);

void user_database_free(struct user_database *database);

// The next well-formed entry from *at (0 at first), with *at moved behind it; false at the end.
bool user_database_next(const struct user_database *database, size_t *at, struct user_entry *out);

// The first entry with this name or id.
bool user_database_by_name(const struct user_database *database, const char *name, struct user_entry *out);
bool user_database_by_id(const struct user_database *database, uint32_t id, struct user_entry *out);

bool user_text_equals(const struct user_text *text, const char *string);

// Is `name` in the group's comma-separated members?
bool user_entry_has_member(const struct user_entry *group, const struct user_text *name);

#endif
