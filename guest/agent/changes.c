// SPDX-License-Identifier: Apache-2.0
#include "changes.h"

#include <stdlib.h>
#include <string.h>

#include "upper.h"
#include "write_all.h"

enum { BUFFER_SIZE = 65536 };

struct records {
	int out;
	size_t used;
	char buffer[BUFFER_SIZE];
};

static int flush(struct records *r, struct failure *f)
{
	if (write_all(r->out, r->buffer, r->used) != 0)
		return fail_errno(f, "writing the changes");
	r->used = 0;
	return 0;
}

static int write_record(void *visitor, const struct upper_change *change, struct failure *f)
{
	struct records *r = visitor;

	if (r->used + change->length + 2 > sizeof r->buffer && flush(r, f) != 0)
		return -1;
	r->buffer[r->used] = change->kind;
	memcpy(r->buffer + r->used + 1, change->path, change->length);
	r->buffer[r->used + 1 + change->length] = '\0';
	r->used += change->length + 2;
	return 0;
}

int changes_write(int upper, int lower, int out, struct failure *f)
{
	static const struct upper_visitor how = {.changed = write_record};
	struct records *r = calloc(1, sizeof *r);

	if (r == NULL)
		return fail_errno(f, "changes");
	r->out = out;
	int result = upper_walk(upper, lower, &how, r, f) == 0 ? flush(r, f) : -1;
	free(r);
	return result;
}
