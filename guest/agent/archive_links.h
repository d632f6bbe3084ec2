// SPDX-License-Identifier: Apache-2.0
// Files with several names: which name a tar has already stored an inode under.
#ifndef HYPERCELL_ARCHIVE_LINKS_H
#define HYPERCELL_ARCHIVE_LINKS_H

#include <stddef.h>
#include <sys/types.h>

// A zeroed struct is empty. Bounded: what is beyond is simply not remembered, and gets stored twice.
struct archive_links {
	struct archive_link **buckets;
	size_t length;
};

// The name under which this inode was stored; NULL, and remembers `name`, if it is new.
const char *archive_links_name(struct archive_links *links, dev_t device, ino_t inode, const char *name);

void archive_links_free(struct archive_links *links);

#endif
