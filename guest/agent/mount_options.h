// SPDX-License-Identifier: Apache-2.0
// The option strings of an OCI mount (runtime-spec config.md, "Linux mount options").
#ifndef HYPERCELL_MOUNT_OPTIONS_H
#define HYPERCELL_MOUNT_OPTIONS_H

#include <stdbool.h>

#include "failure.h"
#include "json.h"
#include "mount_api.h"
#include "text.h"

enum { PROPAGATIONS_MAX = 4 };

struct mount_options {
	bool bind, bind_recursive, remount, copy_up, copy, read_only, has_mode;
	struct mount_change one;       // of this mount
	struct mount_change recursive; // of this mount and those below it ("rro" …)
	struct mount_change propagation[PROPAGATIONS_MAX]; // in the order given
	unsigned propagations;
	const char *subpath; // "" or of the array
	struct text data; // for the file system, comma-separated
};

// Parses an array of strings (NULL: none). idmap and ridmap are `unsupported`. Free with mount_options_free, also
// after -1.
int mount_options_parse(const struct json *options, struct mount_options *out, struct failure *f);
void mount_options_free(struct mount_options *o);

// "rslave" and its like -> a change; false if it is no propagation.
bool mount_options_propagation(const char *name, struct mount_change *out);

#endif
