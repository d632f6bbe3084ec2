// SPDX-License-Identifier: Apache-2.0
// Members of a JSON object from the host, with their types checked. A missing or null member that is not
// required leaves *out as it was; a wrong one fails with "invalid", naming the member.
#ifndef HYPERCELL_MEMBER_H
#define HYPERCELL_MEMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "failure.h"
#include "json.h"

enum member_presence { MEMBER_OPTIONAL, MEMBER_REQUIRED };

int member_string(const struct json *o, const char *key, enum member_presence p, const char **out, struct failure *f);
int member_uint(const struct json *o, const char *key, enum member_presence p, uint64_t max, uint64_t *out,
		struct failure *f);
int member_u32(const struct json *o, const char *key, enum member_presence p, uint32_t *out, struct failure *f);
int member_bool(const struct json *o, const char *key, bool *out, struct failure *f);
int member_object(const struct json *o, const char *key, enum member_presence p, const struct json **out,
		  struct failure *f);
int member_array(const struct json *o, const char *key, const struct json **out, struct failure *f);
// Every element is a string.
int member_strings(const struct json *o, const char *key, const struct json **out, struct failure *f);
// 1 to 64 of [a-zA-Z0-9_.-], and neither "." nor "..".
int member_name(const struct json *o, const char *key, const char **out, struct failure *f);

#endif
