// SPDX-License-Identifier: Apache-2.0
#include "container.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cgroup.h"
#include "container_of.h"
#include "event.h"
#include "files.h"
#include "job.h"
#include "log.h"
#include "member.h"

struct container *containers;

struct container *container_find(const char *id)
{
	struct container *c = containers;

	while (c != NULL && strcmp(c->id, id) != 0)
		c = c->next;
	return c;
}

struct container *container_named(const struct json *body, struct failure *f)
{
	const char *id = NULL;

	if (member_name(body, "container", &id, f) < 0)
		return NULL;
	struct container *c = container_find(id);
	if (c == NULL)
		(void)fail(f, "not-found", "no container %s", id);
	return c;
}

struct process *container_process_named(const struct json *body, struct failure *f)
{
	struct container *c = container_named(body, f);
	const char *id = NULL;

	if (c == NULL || member_name(body, "process", &id, f) < 0)
		return NULL;
	for (struct process *p = c->init; p != NULL; p = p->next) {
		if (strcmp(p->id, id) == 0)
			return p;
	}
	(void)fail(f, "not-found", "container %s has no process %s", c->id, id);
	return NULL;
}

bool container_is_alive(const struct container *c)
{
	return c->init->status != PROCESS_EXITED;
}

const char *container_status(const struct container *c)
{
	switch (c->init->status) {
	case PROCESS_EXITED:
		return "stopped";
	case PROCESS_STARTING:
	case PROCESS_RUNNING:
		return cgroup_is_frozen(c->cgroup) ? "paused" : "running";
	default:
		return "created";
	}
}

uint64_t container_check_memory(struct container *c)
{
	uint64_t kills = cgroup_oom_kills(c->cgroup);

	if (kills > c->oom_kills)
		event_container_oom(c->id);
	c->oom_kills = kills;
	return kills;
}

static void memory_changed(struct watch *w, uint32_t events)
{
	char ignored[512];

	(void)events;
	// Reading takes the notice away; the count may come from another file.
	if (pread(w->fd, ignored, sizeof ignored, 0) < 0)
		(void)watch_set(w, 0);
	(void)container_check_memory(CONTAINER_OF(w, struct container, memory_events));
}

void container_watch_memory(struct container *c)
{
	c->memory_events = (struct watch){.ready = memory_changed, .fd = cgroup_open_memory_events(c->cgroup)};
	if (c->memory_events.fd >= 0)
		(void)watch_set(&c->memory_events, EPOLLPRI | EPOLLET);
}

static void close_descriptor(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

int container_destroy(struct container *c, struct failure *f)
{
	struct failure first = {0}, later;
	char directory[sizeof CONTAINER_DIRECTORY + NAME_SIZE + 1];

	for (struct container **at = &containers; *at != NULL; at = &(*at)->next) {
		if (*at == c) {
			*at = c->next;
			break;
		}
	}
	while (c->init != NULL)
		process_free(c->init);
	(void)watch_set(&c->memory_events, 0);
	close_descriptor(c->memory_events.fd);
	close_descriptor(c->mount_namespace);
	close_descriptor(c->network_namespace);
	int result = 0;
	if (c->cgroup >= 0) {
		result = cgroup_remove(c->id, &first);
		close_descriptor(c->cgroup);
	}
	if (*c->root.path != '\0' && rootfs_unmount(&c->root, result < 0 ? &later : &first) < 0)
		result = -1;
	if (*c->files != '\0')
		files_remove(c->files);
	(void)snprintf(directory, sizeof directory, "%s/%s", CONTAINER_DIRECTORY, c->id);
	(void)rmdir(directory);
	seccomp_free(&c->filter);
	free(c);
	if (result < 0 && f != NULL)
		*f = first;
	return result;
}

static bool is_finished(const struct container *c)
{
	for (const struct process *p = c->init; p != NULL; p = p->next) {
		if (p->status != PROCESS_EXITED)
			return false;
	}
	return c->jobs == 0;
}

static void go_on_deleting(struct container *c)
{
	struct failure f;

	if (!c->deleting || !is_finished(c))
		return;
	struct request *r = c->deleter;
	if (container_destroy(c, &f) < 0) {
		log_event(LOG_WARNING, "%s", f.message);
		if (r != NULL)
			request_fail(r, &f);
	} else if (r != NULL) {
		request_reply_empty(r);
	}
}

void container_delete(struct container *c, struct request *r)
{
	c->deleting = true;
	c->deleter = r;
	(void)cgroup_kill(c->cgroup, NULL);
	job_kill_all(c);
	go_on_deleting(c);
}

void container_job_ended(struct container *c)
{
	c->jobs--;
	go_on_deleting(c);
}

// It never ran: says why to who asked for it, and leaves nothing of it, unless it was a container once.
static void forget_failed(struct process *p)
{
	struct container *c = p->container;
	struct request *waiting = p->waiting;
	struct failure f = p->failure;

	p->waiting = NULL;
	if (p != c->init)
		process_free(p);
	else if (!p->prepared)
		container_delete(c, c->deleter);
	if (waiting != NULL)
		request_fail(waiting, &f);
}

void container_process_ended(struct process *p)
{
	struct container *c = p->container;
	bool is_init = p == c->init, gone = p->failed && is_init && !p->prepared;

	if (is_init)
		(void)cgroup_kill(c->cgroup, NULL);
	if (p->failed)
		forget_failed(p);
	if (!gone)
		go_on_deleting(c);
}
