// SPDX-License-Identifier: Apache-2.0
#include "archive_links.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1024, LENGTH_MAX = 1 << 16 };

struct archive_link {
	struct archive_link *next;
	dev_t device;
	ino_t inode;
	char name[];
};

static struct archive_link **bucket_of(struct archive_links *links, dev_t device, ino_t inode)
{
	uint64_t hash = ((uint64_t)inode ^ (uint64_t)device << 32) * UINT64_C(0x9e3779b97f4a7c15);

	return &links->buckets[hash >> 32 & (BUCKETS - 1)];
}

const char *archive_links_name(struct archive_links *links, dev_t device, ino_t inode, const char *name)
{
	if (links->buckets == NULL)
		links->buckets = calloc(BUCKETS, sizeof(struct archive_link *));
	if (links->buckets == NULL)
		return NULL;
	struct archive_link **bucket = bucket_of(links, device, inode);
	for (const struct archive_link *link = *bucket; link != NULL; link = link->next) {
		if (link->inode == inode && link->device == device)
			return link->name;
	}
	size_t size = strlen(name) + 1;
	struct archive_link *link = links->length < LENGTH_MAX ? malloc(sizeof *link + size) : NULL;
	if (link == NULL)
		return NULL;
	link->next = *bucket;
	link->device = device;
	link->inode = inode;
	memcpy(link->name, name, size);
	*bucket = link;
	links->length++;
	return NULL;
}

void archive_links_free(struct archive_links *links)
{
	for (size_t i = 0; links->buckets != NULL && i < BUCKETS; i++) {
		while (links->buckets[i] != NULL) {
			struct archive_link *link = links->buckets[i];
			links->buckets[i] = link->next;
			free(link);
		}
	}
	free(links->buckets);
	*links = (struct archive_links){0};
}
