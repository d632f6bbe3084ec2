// SPDX-License-Identifier: Apache-2.0
// An overlay's upper directory and its lower one, made by hand in the scratch directory, and what is written of them.
#ifndef HYPERCELL_TESTS_LAYERS_H
#define HYPERCELL_TESTS_LAYERS_H

#include <limits.h>
#include <stdbool.h>
#include <sys/xattr.h>

#include "../failure.h"
#include "expect.h"
#include "scratch.h"

static struct failure failure;

// Has `write` write into the file `name`; -1 for a directory that is not there.
static int write_layers(int (*write)(int upper, int lower, int out, struct failure *f), const char *name, bool with_upper,
			bool with_lower)
{
	char path[PATH_MAX];
	int upper = with_upper ? open_scratch("upper") : -1, lower = with_lower ? open_scratch("lower") : -1;

	(void)snprintf(path, sizeof path, "%s/%s", scratch, name);
	int out = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	failure = (struct failure){0};
	int result = write(upper, lower, out, &failure);
	close(out);
	if (upper >= 0)
		close(upper);
	if (lower >= 0)
		close(lower);
	return result;
}

static void begin(const char *lower)
{
	shell("rm -rf upper lower; mkdir upper lower; cd lower; %s", lower);
}

static void make_opaque(const char *path)
{
	char name[PATH_MAX];

	(void)snprintf(name, sizeof name, "%s/upper/%s", scratch, path);
	EXPECT(setxattr(name, "trusted.overlay.opaque", "y", 1, 0) == 0);
}

#endif
