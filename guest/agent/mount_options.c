// SPDX-License-Identifier: Apache-2.0
#include "mount_options.h"

#include <linux/mount.h>
#include <string.h>

// Newer than some kernel headers.
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

static const struct attribute {
	const char *name;
	uint64_t set, clear;
} attributes[] = {
	{"ro", MOUNT_ATTR_RDONLY, 0},
	{"rw", 0, MOUNT_ATTR_RDONLY},
	{"nosuid", MOUNT_ATTR_NOSUID, 0},
	{"suid", 0, MOUNT_ATTR_NOSUID},
	{"nodev", MOUNT_ATTR_NODEV, 0},
	{"dev", 0, MOUNT_ATTR_NODEV},
	{"noexec", MOUNT_ATTR_NOEXEC, 0},
	{"exec", 0, MOUNT_ATTR_NOEXEC},
	{"nodiratime", MOUNT_ATTR_NODIRATIME, 0},
	{"diratime", 0, MOUNT_ATTR_NODIRATIME},
	{"nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0},
	{"symfollow", 0, MOUNT_ATTR_NOSYMFOLLOW},
	// All bits clear is relatime, the kernel's default.
	{"noatime", MOUNT_ATTR_NOATIME, 0},
	{"atime", 0, MOUNT_ATTR__ATIME},
	{"relatime", 0, MOUNT_ATTR__ATIME},
	{"norelatime", 0, 0},
	{"strictatime", MOUNT_ATTR_STRICTATIME, 0},
	{"nostrictatime", 0, MOUNT_ATTR__ATIME},
};

static const struct propagation {
	const char *name;
	uint64_t value;
} propagations[] = {
	{"private", MS_PRIVATE},
	{"shared", MS_SHARED},
	{"slave", MS_SLAVE},
	{"unbindable", MS_UNBINDABLE},
};

// What a new mount has anyway, or what only some file systems of hosts know.
static const char *const ignored[] = {"defaults", "async", "loud",      "silent",     "nomand",
				      "acl",	  "noacl", "iversion", "noiversion", "nolazytime"};

static bool apply_attribute(const char *name, struct mount_change *change)
{
	for (size_t i = 0; i < sizeof attributes / sizeof attributes[0]; i++) {
		const struct attribute *a = &attributes[i];
		if (strcmp(name, a->name) != 0)
			continue;
		// The last word on an attribute counts.
		uint64_t touched = a->set | a->clear;
		if ((touched & MOUNT_ATTR__ATIME) != 0)
			touched |= MOUNT_ATTR__ATIME;
		change->set = (change->set & ~touched) | a->set;
		change->clear = (change->clear & ~touched) | a->clear;
		return true;
	}
	return false;
}

bool mount_options_propagation(const char *name, struct mount_change *out)
{
	for (int recursive = 0; recursive < 2; recursive++) {
		for (size_t i = 0; i < sizeof propagations / sizeof propagations[0]; i++) {
			if (strcmp(name + recursive, propagations[i].name) != 0)
				continue;
			*out = (struct mount_change){
				.propagation = propagations[i].value, .recursive = recursive != 0};
			return true;
		}
		if (name[0] != 'r')
			break;
	}
	return false;
}

static bool is_ignored(const char *name)
{
	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) {
		if (strcmp(name, ignored[i]) == 0)
			return true;
	}
	return false;
}

static bool apply_verb(const char *name, struct mount_options *out)
{
	static const char subpath[] = "subpath=";

	if (strcmp(name, "bind") == 0)
		out->bind = true;
	else if (strcmp(name, "rbind") == 0)
		out->bind = out->bind_recursive = true;
	else if (strcmp(name, "remount") == 0)
		out->remount = true;
	else if (strcmp(name, "tmpcopyup") == 0)
		out->copy_up = true;
	else if (strcmp(name, "copy") == 0)
		out->copy = true;
	else if (strncmp(name, subpath, sizeof subpath - 1) == 0)
		out->subpath = name + sizeof subpath - 1;
	else
		return false;
	return true;
}

static int parse_one(const char *name, struct mount_options *out, struct failure *f)
{
	struct mount_change propagation;

	if (strcmp(name, "idmap") == 0 || strcmp(name, "ridmap") == 0)
		return fail(f, "unsupported", "mount option %s", name);
	if (mount_options_propagation(name, &propagation)) {
		if (out->propagations == PROPAGATIONS_MAX)
			return fail(f, "invalid", "more than %d propagation options", PROPAGATIONS_MAX);
		out->propagation[out->propagations++] = propagation;
		return 0;
	}
	if (apply_verb(name, out) || apply_attribute(name, &out->one) || is_ignored(name) || *name == '\0')
		return 0;
	if (name[0] == 'r' && apply_attribute(name + 1, &out->recursive))
		return 0;
	if (strncmp(name, "mode=", 5) == 0)
		out->has_mode = true;
	text_printf(&out->data, "%s%s", out->data.length > 0 ? "," : "", name);
	return 0;
}

int mount_options_parse(const struct json *options, struct mount_options *out, struct failure *f)
{
	*out = (struct mount_options){.recursive.recursive = true, .subpath = ""};
	if (options != NULL && json_type(options) != JSON_NULL && !json_is_array(options))
		return fail(f, "invalid", "mount options must be an array");
	for (size_t i = 0; i < json_length(options); i++) {
		const char *name = json_string(json_at(options, i), NULL);
		if (name == NULL)
			return fail(f, "invalid", "mount options must be strings");
		if (parse_one(name, out, f) != 0)
			return -1;
	}
	if (out->data.failed)
		return fail(f, "invalid", "mount options are too long");
	out->read_only = (out->one.set & MOUNT_ATTR_RDONLY) != 0;
	return 0;
}

void mount_options_free(struct mount_options *o)
{
	text_free(&o->data);
}
