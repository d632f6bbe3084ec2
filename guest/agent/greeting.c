// SPDX-License-Identifier: Apache-2.0
#include "greeting.h"

#include <string.h>
#include <sys/utsname.h>

#include "json.h"
#include "machine.h"

enum { VERSION = 1, NONCE_LENGTH = 32 };

static const char features[] =
	"[\"exec\",\"archive\",\"stats\",\"seccomp\",\"pause\",\"update\",\"network\",\"clock\",\"sync\",\"changes\",\"volumes\",\"binds\"]";

static bool refuse(struct text *reply, const char *code, const char *message)
{
	text_printf(reply, "{\"code\":\"%s\",\"message\":\"%s\"}", code, message);
	return false;
}

static bool offers_version(const struct json *versions)
{
	for (size_t i = 0; i < json_length(versions); i++) {
		if (json_int(json_at(versions, i), 0) == VERSION)
			return true;
	}
	return false;
}

static bool answer(const struct json *hello, struct text *reply)
{
	const char *nonce = json_string(json_get(hello, "nonce"), "");
	struct utsname names;

	if (strlen(nonce) != NONCE_LENGTH || strspn(nonce, "0123456789abcdef") != NONCE_LENGTH)
		return refuse(reply, "invalid", "nonce must be 32 hexadecimal digits");
	if (!json_is_array(json_get(hello, "versions")))
		return refuse(reply, "invalid", "versions must be an array");
	if (!offers_version(json_get(hello, "versions")))
		return refuse(reply, "unsupported", "this agent speaks version 1 of the protocol");
	(void)uname(&names);
	text_printf(reply, "{\"version\":%d,\"nonce\":\"%s\",\"agent\":\"%s\",\"features\":%s,\"kernel\":", VERSION, nonce,
		    AGENT_VERSION, features);
	text_json_string(reply, names.release);
	text_printf(reply, ",\"arch\":\"%s\",\"boot_id\":\"%s\",\"fresh\":%s}", names.machine, machine_boot_id(),
		    machine_is_configured() ? "false" : "true");
	return true;
}

bool greeting_answer(const char *hello, size_t n, struct text *reply)
{
	char error[128];
	struct json *root = json_parse(hello, n, error);
	bool agreed = root == NULL ? refuse(reply, "invalid", "HELLO must be a JSON object") : answer(root, reply);

	json_free(root);
	return agreed;
}
