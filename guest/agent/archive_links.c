// SPDX-License-Identifier: Apache-2.0
#include "archive_links.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_MAX = 1 << 16 };

struct archive_link {
	dev_t device;
	ino_t inode;
	char *name; // NULL: free
};

static struct archive_link *find(struct archive_link *slots, size_t capacity, dev_t device, ino_t inode)
{
	uint64_t hash = ((uint64_t)inode ^ (uint64_t)device << 32) * UINT64_C(0x9e3779b97f4a7c15);
	size_t at = (size_t)(hash >> 32) & (capacity - 1);

	while (slots[at].name != NULL && (slots[at].inode != inode || slots[at].device != device))
		at = (at + 1) & (capacity - 1);
	return &slots[at];
}

static int grow(struct archive_links *links)
{
	size_t capacity = links->capacity == 0 ? 256 : links->capacity * 2;
	struct archive_link *slots = calloc(capacity, sizeof *slots);

	if (slots == NULL)
		return -1;
	for (size_t i = 0; i < links->capacity; i++) {
		if (links->slots[i].name != NULL)
			*find(slots, capacity, links->slots[i].device, links->slots[i].inode) = links->slots[i];
	}
	free(links->slots);
	links->slots = slots;
	links->capacity = capacity;
	return 0;
}

const char *archive_links_name(struct archive_links *links, dev_t device, ino_t inode, const char *name)
{
	if (links->length * 2 >= links->capacity && (links->length >= LENGTH_MAX || grow(links) != 0))
		return links->capacity > 0 ? find(links->slots, links->capacity, device, inode)->name : NULL;
	struct archive_link *slot = find(links->slots, links->capacity, device, inode);
	if (slot->name != NULL)
		return slot->name;
	*slot = (struct archive_link){device, inode, strdup(name)};
	links->length += slot->name != NULL;
	return NULL;
}

void archive_links_free(struct archive_links *links)
{
	for (size_t i = 0; i < links->capacity; i++)
		free(links->slots[i].name);
	free(links->slots);
	*links = (struct archive_links){0};
}
