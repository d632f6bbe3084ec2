// SPDX-License-Identifier: Apache-2.0
// Any bytes: either refused, or a tree whose every accessor is safe and that survives being written and read again.
#include "../json.h"

#include <assert.h>
#include <string.h>

#include "../text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_value(const struct json *v, struct text *t)
{
	(void)json_int(v, 0);
	(void)json_uint(v, 0);
	switch (json_type(v)) {
	case JSON_STRING:
		text_json_string(t, json_string(v, NULL));
		break;
	case JSON_NUMBER:
		text_printf(t, "%lld", (long long)json_int(v, 0));
		break;
	case JSON_BOOL:
		text_printf(t, json_bool(v, false) ? "true" : "false");
		break;
	case JSON_NULL:
		text_printf(t, "null");
		break;
	default:
		text_printf(t, json_is_array(v) ? "[" : "{");
		for (size_t i = 0; i < json_length(v); i++) {
			if (i > 0)
				text_printf(t, ",");
			if (json_is_object(v)) {
				assert(json_get(v, json_key(v, i)) == json_at(v, i));
				text_json_string(t, json_key(v, i));
				text_printf(t, ":");
			}
			write_value(json_at(v, i), t);
		}
		text_printf(t, json_is_array(v) ? "]" : "}");
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char error[128] = "";
	struct json *v = json_parse((const char *)data, size, error);
	struct text t = {0};

	if (v == NULL) {
		assert(*error != '\0' && memchr(error, '\0', sizeof error) != NULL);
		return 0;
	}
	write_value(v, &t);
	if (!t.failed) {
		struct json *again = json_parse(t.data, t.length, error);
		assert(again != NULL && json_type(again) == json_type(v) && json_length(again) == json_length(v));
		json_free(again);
	}
	text_free(&t);
	json_free(v);
	return 0;
}
