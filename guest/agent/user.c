// SPDX-License-Identifier: Apache-2.0
#include "user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "path.h"
#include "user_database.h"

// What docker takes: ids above are for the kernel's own use or negative in some C libraries.
static const unsigned long id_max = 0x7fffffff;

// Is it written as a number? *out is only set when it is also small enough; *range tells if it is not.
static bool is_number(const char *s, uint32_t *out, bool *range)
{
	char *end;

	*range = false;
	if (*s < '0' || *s > '9')
		return false;
	errno = 0;
	unsigned long n = strtoul(s, &end, 10);
	if (*end != '\0')
		return false;
	*range = errno == ERANGE || n > id_max;
	if (!*range)
		*out = (uint32_t)n;
	return true;
}

static int add_group(struct user *u, gid_t gid, struct failure *f)
{
	for (size_t i = 0; i < u->groups_length; i++) {
		if (u->groups[i] == gid)
			return 0;
	}
	if (u->groups_length == USER_GROUPS_MAX)
		return fail(f, "invalid", "more than %d groups", USER_GROUPS_MAX);
	u->groups[u->groups_length++] = gid;
	return 0;
}

static int out_of_range(const char *what, const char *name, struct failure *f)
{
	return fail(f, "invalid", "%s %s: uids and gids must be in range 0-2147483647", what, name);
}

static void set_home(struct user *out, const struct user_text *home)
{
	if (home->length > 0 && home->length < sizeof out->home)
		(void)snprintf(out->home, sizeof out->home, "%.*s", (int)home->length, home->data);
}

// The `user` half. *name is the matched entry's name, which decides about its groups; empty without one.
static int resolve_name(const struct user_database *passwd, const char *who, struct user *out, struct user_text *name,
			struct failure *f)
{
	struct user_entry entry;
	uint32_t number = 0;
	bool range, numeric = is_number(who, &number, &range);

	*name = (struct user_text){"", 0};
	if (numeric && range)
		return out_of_range("user", who, f);
	bool found = *who == '\0' ? user_database_by_id(passwd, 0, &entry)
		     : numeric	  ? user_database_by_id(passwd, number, &entry)
				  : user_database_by_name(passwd, who, &entry);
	if (found) {
		out->uid = entry.id;
		out->gid = entry.gid;
		*name = entry.name;
		set_home(out, &entry.home);
	} else if (numeric) {
		out->uid = number;
	} else if (*who != '\0') {
		return fail(f, "invalid", "unable to find user %s: no matching entries in passwd file", who);
	}
	return 0;
}

static int resolve_group(const struct user_database *group, const char *which, gid_t *gid, struct failure *f)
{
	struct user_entry entry;
	uint32_t number = 0;
	bool range, numeric = is_number(which, &number, &range);

	if (numeric && range)
		return out_of_range("group", which, f);
	if (numeric)
		*gid = number;
	else if (user_database_by_name(group, which, &entry))
		*gid = entry.id;
	else
		return fail(f, "invalid", "unable to find group %s: no matching entries in group file", which);
	return 0;
}

// Every group that lists `name` as a member.
static int add_memberships(const struct user_database *group, const struct user_text *name, struct user *out,
			   struct failure *f)
{
	struct user_entry entry;

	for (size_t at = 0; user_database_next(group, &at, &entry);) {
		if (user_entry_has_member(&entry, name) && add_group(out, entry.id, f) != 0)
			return -1;
	}
	return 0;
}

static int resolve_docker_string(const char *string, const struct user_database *passwd, const struct user_database *group,
				 struct user *out, struct failure *f)
{
	char who[512];
	struct user_text name;
	const char *colon = strchr(string, ':');
	size_t length = colon != NULL ? (size_t)(colon - string) : strlen(string);

	if (length >= sizeof who || strlen(string) >= 2 * sizeof who)
		return fail(f, "invalid", "user is too long");
	memcpy(who, string, length);
	who[length] = '\0';
	if (resolve_name(passwd, who, out, &name, f) != 0)
		return -1;
	if (colon != NULL && colon[1] != '\0') {
		if (resolve_group(group, colon + 1, &out->gid, f) != 0)
			return -1;
		return add_group(out, out->gid, f);
	}
	// Docker lists the primary group among the others too.
	if (add_group(out, out->gid, f) != 0)
		return -1;
	return name.length > 0 ? add_memberships(group, &name, out, f) : 0;
}

static int id_member(const struct json *user, const char *key, uint32_t *out, struct failure *f)
{
	const struct json *v = json_get(user, key);

	*out = 0;
	if (v == NULL || json_type(v) == JSON_NULL)
		return 0;
	int64_t n = json_int(v, -1);
	if (!json_is_number(v) || n < 0 || n > (int64_t)id_max)
		return fail(f, "invalid", "process.user.%s must be a number in range 0-2147483647", key);
	*out = (uint32_t)n;
	return 0;
}

static int resolve_numbers(const struct json *user, const struct user_database *passwd, struct user *out, struct failure *f)
{
	struct user_entry entry;

	if (id_member(user, "uid", &out->uid, f) != 0 || id_member(user, "gid", &out->gid, f) != 0)
		return -1;
	if (user_database_by_id(passwd, out->uid, &entry))
		set_home(out, &entry.home);
	return 0;
}

static int add_additional(const struct json *list, const struct user_database *group, struct user *out, struct failure *f)
{
	for (size_t i = 0; i < json_length(list); i++) {
		const struct json *v = json_at(list, i);
		const char *name = json_string(v, NULL);
		int64_t number = json_int(v, -1);
		gid_t gid = (gid_t)number;

		if (name != NULL) {
			if (resolve_group(group, name, &gid, f) != 0)
				return -1;
		} else if (!json_is_number(v) || number < 0 || number > (int64_t)id_max) {
			return fail(f, "invalid", "process.user.additionalGids must be numbers in range 0-2147483647");
		}
		if (add_group(out, gid, f) != 0)
			return -1;
	}
	return 0;
}

int user_resolve(int root, const struct json *user, struct user *out, struct failure *f)
{
	const char *string = json_string(json_get(user, "username"), "");
	struct user_database passwd, group;
	int result = -1;

	*out = (struct user){.home = "/"};
	if (user != NULL && json_type(user) != JSON_NULL && !json_is_object(user))
		return fail(f, "invalid", "process.user must be an object");
	user_database_read(root, "/etc/passwd", USER_PASSWD, &passwd);
	user_database_read(root, "/etc/group", USER_GROUP, &group);
	if (*string != '\0')
		result = resolve_docker_string(string, &passwd, &group, out, f);
	else
		result = resolve_numbers(user, &passwd, out, f);
	if (result == 0)
		result = add_additional(json_get(user, "additionalGids"), &group, out, f);
	user_database_free(&passwd);
	user_database_free(&group);
	return result;
}
