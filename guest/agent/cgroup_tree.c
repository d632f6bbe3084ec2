// SPDX-License-Identifier: Apache-2.0
#include "cgroup_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "path.h"

// Every level of a walk holds a descriptor; cgroup.max.depth is not ours alone to set.
enum { DEPTH_MAX = 128 };

uint64_t cgroup_tree_number(int cgroup, const char *file, const char *key)
{
	char content[4096];
	size_t length = strlen(key);

	if (path_read(cgroup, file, content, sizeof content) < 0)
		return 0;
	for (const char *line = content; *line != '\0'; line += strcspn(line, "\n"), line += *line == '\n') {
		if (strncmp(line, key, length) == 0 && line[length] == ' ')
			return strtoull(line + length + 1, NULL, 10);
	}
	return 0;
}

// The next directory of an open listing that is a cgroup, opened; -1 at the end. Its name goes to *name.
static int next_child(DIR *listing, const char **name)
{
	const struct dirent *entry;

	while ((entry = readdir(listing)) != NULL) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		int fd = openat(dirfd(listing), entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0) {
			*name = entry->d_name;
			return fd;
		}
	}
	return -1;
}

// A listing that leaves the descriptor itself and its position alone.
static DIR *list(int cgroup)
{
	int fd = openat(cgroup, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *listing = fd >= 0 ? fdopendir(fd) : NULL;

	if (listing == NULL && fd >= 0)
		close(fd);
	return listing;
}

static void own_processes(int cgroup, void (*visit)(int, pid_t, void *), void *argument)
{
	int fd = openat(cgroup, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	FILE *file = fd >= 0 ? fdopen(fd, "r") : NULL;
	int pid;

	if (file == NULL) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while (fscanf(file, "%d", &pid) == 1) {
		if (pid > 0)
			visit(cgroup, pid, argument);
	}
	(void)fclose(file);
}

static void walk(int cgroup, void (*visit)(int, pid_t, void *), void *argument, int depth)
{
	own_processes(cgroup, visit, argument);
	DIR *listing = depth < DEPTH_MAX ? list(cgroup) : NULL;
	if (listing == NULL)
		return;
	const char *name;
	for (int child; (child = next_child(listing, &name)) >= 0; close(child))
		walk(child, visit, argument, depth + 1);
	(void)closedir(listing);
}

void cgroup_tree_processes(int cgroup, void (*visit)(int, pid_t, void *), void *argument)
{
	walk(cgroup, visit, argument, 0);
}

static void remove_children(int cgroup, int depth)
{
	DIR *listing = depth < DEPTH_MAX ? list(cgroup) : NULL;

	if (listing == NULL)
		return;
	const char *name;
	for (int child; (child = next_child(listing, &name)) >= 0;) {
		remove_children(child, depth + 1);
		close(child);
		(void)unlinkat(cgroup, name, AT_REMOVEDIR);
	}
	(void)closedir(listing);
}

void cgroup_tree_remove_children(int cgroup)
{
	remove_children(cgroup, 0);
}
