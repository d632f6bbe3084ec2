// SPDX-License-Identifier: Apache-2.0
#include "shutdown.h"

#include <errno.h>
#include <signal.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "container.h"
#include "container_of.h"
#include "disk.h"
#include "loop.h"
#include "member.h"

static const uint64_t DEFAULT_TIMEOUT_MS = 5000;
static const uint64_t TIMEOUT_MAX_MS = 60000;
// For the answer to reach the host.
static const uint64_t GRACE_NS = 5000000;

static struct timer grace;
static uint64_t timeout_ms;

// Waits until no process but the agent is left. Nothing else matters any more: it may block.
static void end_processes(void)
{
	uint64_t deadline = loop_now_ns() + timeout_ms * 1000000U;
	struct timespec moment = {.tv_nsec = 20000000};
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	for (;;) {
		(void)kill(-1, SIGKILL);
		pid_t pid = waitpid(-1, NULL, WNOHANG);
		if (pid < 0 && errno == ECHILD)
			return;
		if (loop_now_ns() > deadline)
			return;
		if (pid == 0)
			(void)sigtimedwait(&child, NULL, &moment);
	}
}

static void shut_down(struct timer *t)
{
	(void)t;
	end_processes();
	for (struct container *c = containers; c != NULL; c = c->next) {
		if (c->mount_namespace >= 0)
			(void)close(c->mount_namespace);
		if (*c->root.path != '\0')
			(void)rootfs_unmount(&c->root, NULL);
	}
	disk_release_all();
	sync();
	(void)reboot(RB_AUTOBOOT);
}

int shutdown_machine(struct request *r, const struct json *body, struct failure *f)
{
	timeout_ms = DEFAULT_TIMEOUT_MS;
	if (member_uint(body, "timeout_ms", MEMBER_OPTIONAL, TIMEOUT_MAX_MS, &timeout_ms, f) < 0)
		return -1;
	grace.fired = shut_down;
	timer_set(&grace, GRACE_NS);
	request_reply_empty(r);
	return 0;
}
