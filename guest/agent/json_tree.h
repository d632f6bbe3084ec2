// SPDX-License-Identifier: Apache-2.0
// The shape of a parsed value, for json.c and json_parse.c alone.
#ifndef HYPERCELL_JSON_TREE_H
#define HYPERCELL_JSON_TREE_H

#include "json.h"

struct json {
	enum json_type type;
	bool truth;
	bool negative; // of a number, with its magnitude
	char *key;     // set in members of objects
	size_t length; // members of an array or object
	union {
		uint64_t magnitude;
		char *string;
		struct json *items;
	};
};

// Frees what v points to, other than its key.
void json_clear(struct json *v);

#endif
