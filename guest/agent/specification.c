// SPDX-License-Identifier: Apache-2.0
#include "specification.h"

#include <stdlib.h>
#include <string.h>

#include "capability.h"
#include "member.h"
#include "rlimits.h"

static int refuse_string(const struct json *o, const char *key, const char *name, struct failure *f)
{
	const char *value = "";

	if (member_string(o, key, MEMBER_OPTIONAL, &value, f) < 0)
		return -1;
	return *value == '\0' ? 0 : fail(f, "unsupported", "%s is not supported", name);
}

static int check_hooks(const struct json *config, struct failure *f)
{
	const struct json *hooks = NULL;

	if (member_object(config, "hooks", MEMBER_OPTIONAL, &hooks, f) < 0)
		return -1;
	for (size_t i = 0; i < json_length(hooks); i++) {
		if (json_length(json_at(hooks, i)) > 0)
			return fail(f, "unsupported", "hooks.%.32s is not supported: hooks do not run in a VM", json_key(hooks, i));
	}
	return 0;
}

static int check_linux(const struct json *config, struct failure *f)
{
	const struct json *linux_part = NULL, *personality = NULL;
	const char *domain = "LINUX";

	if (member_object(config, "linux", MEMBER_OPTIONAL, &linux_part, f) < 0)
		return -1;
	if (json_type(json_get(linux_part, "intelRdt")) != JSON_NULL)
		return fail(f, "unsupported", "linux.intelRdt is not supported");
	if (member_object(linux_part, "personality", MEMBER_OPTIONAL, &personality, f) < 0 ||
	    member_string(personality, "domain", MEMBER_OPTIONAL, &domain, f) < 0)
		return -1;
	if (strcmp(domain, "LINUX") != 0 || json_length(json_get(personality, "flags")) > 0)
		return fail(f, "unsupported", "linux.personality other than LINUX is not supported");
	if (refuse_string(linux_part, "mountLabel", "linux.mountLabel", f) < 0)
		return -1;
	return 0;
}

static int check_user(const struct json *process, struct failure *f)
{
	const struct json *user = NULL;
	uint64_t mask = 0;

	if (member_object(process, "user", MEMBER_OPTIONAL, &user, f) < 0 ||
	    member_uint(user, "umask", MEMBER_OPTIONAL, 0777, &mask, f) < 0)
		return -1;
	return 0;
}

int specification_check_process(const struct json *process, struct failure *f)
{
	const struct json *arguments = NULL, *environment = NULL, *object = NULL;
	const char *directory = "/";
	struct capabilities capabilities;
	bool flag;

	if (member_strings(process, "args", &arguments, f) < 0 || member_strings(process, "env", &environment, f) < 0 ||
	    member_string(process, "cwd", MEMBER_OPTIONAL, &directory, f) < 0 ||
	    member_bool(process, "terminal", &flag, f) < 0 || member_bool(process, "noNewPrivileges", &flag, f) < 0 ||
	    member_object(process, "consoleSize", MEMBER_OPTIONAL, &object, f) < 0 || check_user(process, f) < 0 ||
	    member_object(process, "capabilities", MEMBER_OPTIONAL, &object, f) < 0)
		return -1;
	if (json_length(arguments) == 0)
		return fail(f, "invalid", "process.args must have at least one element");
	if (*directory != '/')
		return fail(f, "invalid", "process.cwd must be an absolute path");
	const struct json *adjustment = json_get(process, "oomScoreAdj");
	if (json_type(adjustment) != JSON_NULL && (!json_is_number(adjustment) || llabs(json_int(adjustment, 0)) > 1000))
		return fail(f, "invalid", "process.oomScoreAdj must be a number from -1000 to 1000");
	if (refuse_string(process, "selinuxLabel", "process.selinuxLabel", f) < 0 ||
	    refuse_string(process, "apparmorProfile", "process.apparmorProfile", f) < 0)
		return -1;
	if (json_type(json_get(process, "execCPUAffinity")) != JSON_NULL)
		return fail(f, "unsupported", "process.execCPUAffinity is not supported");
	if (capability_parse(json_get(process, "capabilities"), &capabilities, f) < 0)
		return -1;
	return rlimits_apply(0, process, f);
}

int specification_check(const struct json *config, struct failure *f)
{
	const struct json *process = NULL, *root = NULL, *mounts = NULL;
	const char *name = "";

	if (check_hooks(config, f) < 0 || check_linux(config, f) < 0 ||
	    member_object(config, "process", MEMBER_REQUIRED, &process, f) < 0 ||
	    member_object(config, "root", MEMBER_OPTIONAL, &root, f) < 0 || member_array(config, "mounts", &mounts, f) < 0 ||
	    member_string(config, "hostname", MEMBER_OPTIONAL, &name, f) < 0 ||
	    member_string(config, "domainname", MEMBER_OPTIONAL, &name, f) < 0)
		return -1;
	return specification_check_process(process, f);
}
