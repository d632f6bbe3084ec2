// SPDX-License-Identifier: Apache-2.0
#include "create.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cgroup.h"
#include "container.h"
#include "files.h"
#include "launch.h"
#include "protect.h"
#include "member.h"
#include "path.h"
#include "specification.h"

// Both streams and terminal of the request, for a process that is being made.
static int read_streams(const struct json *body, struct process *p, struct failure *f)
{
	p->terminal = json_bool(json_get(p->process, "terminal"), false);
	if (member_u32(body, "stdin", MEMBER_OPTIONAL, &p->ids.in, f) < 0 ||
	    member_u32(body, "stdout", MEMBER_OPTIONAL, &p->ids.out, f) < 0 ||
	    member_u32(body, "stderr", MEMBER_OPTIONAL, &p->ids.err, f) < 0)
		return -1;
	if (p->terminal && p->ids.err != 0)
		return fail(f, "invalid", "a process with a terminal has no stderr of its own");
	// Checked here as well, because those of a terminal are made later.
	const uint32_t ids[] = {p->ids.in, p->ids.out, p->ids.err};
	for (size_t i = 0; i < 3; i++) {
		if (ids[i] == 0)
			continue;
		if (stream_check(ids[i], f) < 0)
			return -1;
		if (ids[i] == ids[(i + 1) % 3])
			return fail(f, "invalid", "stream %u is there twice", ids[i]);
	}
	return 0;
}

static int read_size(const struct json *body, struct launch *l, struct failure *f)
{
	const struct json *size = json_get(l->process, "consoleSize");

	if (member_u32(size, "height", MEMBER_OPTIONAL, &l->rows, f) < 0 ||
	    member_u32(size, "width", MEMBER_OPTIONAL, &l->columns, f) < 0 ||
	    member_u32(body, "rows", MEMBER_OPTIONAL, &l->rows, f) < 0 ||
	    member_u32(body, "columns", MEMBER_OPTIONAL, &l->columns, f) < 0)
		return -1;
	return 0;
}

static int make_cgroup(struct container *c, const struct json *config, struct failure *f)
{
	const struct json *resources = NULL;

	if (member_object(json_get(config, "linux"), "resources", MEMBER_OPTIONAL, &resources, f) < 0)
		return -1;
	c->cgroup = cgroup_create(c->id, resources, f);
	if (c->cgroup < 0)
		return -1;
	protect_from_fork_bombs(c->cgroup, resources);
	container_watch_memory(c);
	return 0;
}

static int open_namespace(pid_t pid, const char *name, int *out, struct failure *f)
{
	char path[64];

	(void)snprintf(path, sizeof path, "/proc/%d/ns/%s", pid, name);
	*out = open(path, O_RDONLY | O_CLOEXEC);
	// A process that has ended has none. It failed, and has said why.
	if (*out < 0 && (errno == ENOENT || errno == ESRCH))
		return 0;
	return *out < 0 ? fail_errno(f, "open %s", path) : 0;
}

// What outlives init: a stopped container can still be read, until it is deleted.
static int open_namespaces(struct container *c, struct failure *f)
{
	if (open_namespace(c->init->pid, "mnt", &c->mount_namespace, f) < 0)
		return -1;
	if ((c->namespaces & CLONE_NEWNET) == 0)
		return 0;
	return open_namespace(c->init->pid, "net", &c->network_namespace, f);
}

static int start_init(struct container *c, struct process *init, const struct json *body, struct launch *l,
		      struct failure *f)
{
	const struct json *linux_part = json_get(l->config, "linux");
	const struct json *root = NULL;
	char directory[sizeof CONTAINER_DIRECTORY + NAME_SIZE + 1];

	if (namespaces_parse(l->config, &l->namespaces, f) < 0 || read_streams(body, init, f) < 0 ||
	    read_size(body, l, f) < 0 || member_object(body, "root", MEMBER_REQUIRED, &root, f) < 0 ||
	    member_array(body, "files", &l->files, f) < 0 ||
	    seccomp_compile(json_get(linux_part, "seccomp"), &c->filter, f) < 0)
		return -1;
	c->namespaces = l->namespaces.create | l->namespaces.join;
	(void)snprintf(directory, sizeof directory, "%s/%s", CONTAINER_DIRECTORY, c->id);
	if (mkdir(directory, 0711) < 0 && errno != EEXIST)
		return fail_errno(f, "make %s", directory);
	if (make_cgroup(c, l->config, f) < 0)
		return -1;
	if (rootfs_mount(c->id, root, &c->root, f) < 0) {
		c->root = (struct rootfs){0};
		return -1;
	}
	if (rootfs_add_volumes(&c->root, json_get(l->config, "mounts"), f) < 0)
		return -1;
	if (json_length(l->files) > 0) {
		(void)snprintf(c->files, sizeof c->files, "%s/files", directory);
		if (files_write(c->files, l->files, f) < 0)
			return -1;
	}
	return launch(init, l, f);
}

static struct container *new_container(const char *id, struct failure *f)
{
	struct container *c = NULL;

	if (container_find(id) != NULL)
		(void)fail(f, "exists", "container %s exists", id);
	else if ((c = calloc(1, sizeof *c)) == NULL)
		(void)fail(f, "internal", "out of memory");
	if (c == NULL)
		return NULL;
	(void)strncpy(c->id, id, sizeof c->id - 1);
	c->cgroup = c->mount_namespace = c->network_namespace = c->memory_events.fd = -1;
	c->next = containers;
	containers = c;
	return c;
}

int create_container(struct request *r, const struct json *body, struct failure *f)
{
	const char *id = NULL;
	struct launch l = {0};

	if (member_name(body, "container", &id, f) < 0 ||
	    member_object(body, "config", MEMBER_REQUIRED, &l.config, f) < 0 || specification_check(l.config, f) < 0)
		return -1;
	l.container = new_container(id, f);
	if (l.container == NULL)
		return -1;
	l.process = json_get(l.config, "process");
	struct process *init = process_new(l.container, "init", f);
	if (init != NULL) {
		init->process = l.process;
		init->spec = request_take_body(r);
	}
	if (init == NULL || start_init(l.container, init, body, &l, f) < 0) {
		(void)container_destroy(l.container, NULL);
		return -1;
	}
	init->waiting = r;
	if (open_namespaces(l.container, f) < 0)
		process_give_up(init, f);
	return 0;
}

int create_process(struct request *r, const struct json *body, struct failure *f)
{
	const char *id = NULL;
	struct launch l = {.container = container_named(body, f)};

	if (l.container == NULL || member_name(body, "process", &id, f) < 0 ||
	    member_object(body, "spec", MEMBER_REQUIRED, &l.process, f) < 0 ||
	    specification_check_process(l.process, f) < 0)
		return -1;
	const char *status = container_status(l.container);
	if (strcmp(status, "running") != 0 || l.container->deleting)
		return fail(f, "busy", "container %s is %s", l.container->id, status);
	struct process *p = process_new(l.container, id, f);
	if (p == NULL)
		return -1;
	p->process = l.process;
	p->spec = request_take_body(r);
	if (read_streams(body, p, f) < 0 || read_size(body, &l, f) < 0 || launch(p, &l, f) < 0) {
		process_free(p);
		return -1;
	}
	p->waiting = r;
	return 0;
}
