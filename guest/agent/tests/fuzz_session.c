// SPDX-License-Identifier: Apache-2.0
// A hostile host: what it says goes through the port, the channel, the requests and the streams of a whole agent, from which
// only that is taken out what touches the machine: no process is started, no cgroup, mount or network made.
//
// The input is lines: a JSON object is a REQUEST; `D` stream eof offset bytes… is DATA; `W` stream limit acknowledged is a
// WINDOW; `!` greets anew; `~` is written as it is. Numbers are the codes of single characters.
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../cgroup.h"
#include "../channel.h"
#include "../container.h"
#include "../container_of.h"
#include "../files.h"
#include "../frame.h"
#include "../input.h"
#include "../job.h"
#include "../launch.h"
#include "../loop.h"
#include "../network.h"
#include "../protect.h"
#include "../shutdown.h"
#include "../sysctl.h"

enum { PASSES = 4, SIZE_MAX_INPUT = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// --- The machine, taken out.

// A child as the agent sees it: pipes, with bytes in them, whose other ends are closed or (of stdin, sometimes) full.
static int make_end(uint32_t stream, int mine, bool keep)
{
	int fds[2];

	if (stream == 0)
		return -1;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	if (mine == 0)
		assert(write(fds[1], "what it says", 12) == 12);
	if (!keep)
		(void)close(fds[1 - mine]);
	else
		(void)fcntl(fds[mine], F_SETPIPE_SZ, 4096);
	return fds[mine];
}

int launch(struct process *p, struct launch *l, struct failure *f)
{
	bool keep = l->container->id[0] == 'k';
	int in = make_end(p->ids.in, 1, keep);

	p->pid = 1 << 30;
	if (process_connect(p, in, make_end(p->ids.out, 0, false), make_end(p->ids.err, 0, false), f) < 0)
		return -1;
	p->prepared = true;
	p->status = l->config != NULL ? PROCESS_CREATED : PROCESS_RUNNING;
	return 0;
}

int process_release(struct process *p, struct failure *f)
{
	(void)f;
	p->status = PROCESS_RUNNING;
	return 0;
}

int process_signal(struct process *p, int signal, struct failure *f)
{
	if (p->status == PROCESS_EXITED)
		return fail(f, "busy", "it has ended");
	process_exited(p, 3, signal == 1 ? 0 : signal);
	container_process_ended(p);
	return 0;
}

int job_start(struct request *r, struct job_call *call, struct failure *f)
{
	struct stream *s = stream_find(call->input);

	if (call->descriptor >= 0)
		(void)close(call->descriptor);
	if (call->container != NULL && call->container->id[0] == 'j')
		return fail(f, "internal", "no job");
	if (s != NULL)
		input_free(CONTAINER_OF(s, struct input, stream));
	request_reply_empty(r);
	return 0;
}

void job_kill_all(const struct container *c)
{
	(void)c;
}

int shutdown_machine(struct request *r, const struct json *body, struct failure *f)
{
	(void)body;
	(void)f;
	request_reply_empty(r);
	return 0;
}

int rootfs_mount(const char *id, const struct json *root, struct rootfs *out, struct failure *f)
{
	(void)root;
	out->path[0] = '/';
	return *id == 'm' ? fail(f, "not-found", "no disk") : 0;
}

int rootfs_unmount(struct rootfs *rootfs, struct failure *f)
{
	(void)rootfs;
	(void)f;
	return 0;
}

int files_write(const char *directory, const struct json *list, struct failure *f)
{
	(void)directory;
	(void)list;
	(void)f;
	return 0;
}

void files_remove(const char *directory)
{
	(void)directory;
}

int cgroup_create(const char *id, const struct json *resources, struct failure *f)
{
	(void)id;
	(void)resources;
	(void)f;
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

int cgroup_update(int cgroup, const struct json *resources, struct failure *f)
{
	(void)cgroup;
	(void)resources;
	(void)f;
	return 0;
}

// What is left in it ends when it is killed, as in a machine.
int cgroup_kill(int cgroup, struct failure *f)
{
	(void)f;
	for (struct container *c = containers; c != NULL; c = c->next) {
		for (struct process *p = c->init; c->cgroup == cgroup && p != NULL; p = p->next) {
			if (p->status != PROCESS_EXITED)
				process_exited(p, 0, 9);
		}
	}
	return 0;
}

int cgroup_signal(int cgroup, int signal, struct failure *f)
{
	(void)cgroup;
	(void)signal;
	(void)f;
	return 0;
}

int cgroup_remove(const char *id, struct failure *f)
{
	return *id == 'r' ? fail(f, "busy", "cgroup") : 0;
}

uint64_t cgroup_oom_kills(int cgroup)
{
	static uint64_t kills;

	(void)cgroup;
	return ++kills / 64;
}

void protect_from_fork_bombs(int cgroup, const struct json *resources)
{
	(void)cgroup;
	(void)resources;
}

int sysctl_apply(const struct json *values, const struct sysctl_scope *scope, struct failure *f)
{
	(void)values;
	(void)scope;
	(void)f;
	return 0;
}

int network_configure(const struct json *interfaces, struct failure *f)
{
	(void)interfaces;
	(void)f;
	return 0;
}

int mkdir(const char *path, mode_t mode)
{
	(void)path;
	(void)mode;
	return 0;
}

int rmdir(const char *path)
{
	(void)path;
	return 0;
}

int sethostname(const char *name, size_t n)
{
	(void)name;
	(void)n;
	return 0;
}

int clock_settime(clockid_t clock, const struct timespec *now)
{
	(void)clock;
	(void)now;
	return 0;
}

int reboot(int how)
{
	(void)how;
	abort();
}

// --- The host.

static int host = -1;
static unsigned passes;
static struct later again;

static void run_again(struct later *l)
{
	if (++passes < PASSES)
		later_do(l);
	else
		loop_stop();
}

// Lets the agent work; what it says must be frames that a guest may send.
static void let_it_work(void)
{
	static unsigned char answer[1 << 20];
	static size_t filled;

	passes = 0;
	again.run = run_again;
	later_do(&again);
	assert(loop_run() == 0);
	ssize_t n;
	while ((n = read(host, answer + filled, sizeof answer - filled)) > 0)
		filled += (size_t)n;
	size_t at = 0;
	while (filled - at >= FRAME_HEADER_SIZE) {
		if (memcmp(answer + at, frame_sync, FRAME_SYNC_SIZE) == 0) {
			at += FRAME_SYNC_SIZE;
			continue;
		}
		const unsigned char *h = answer + at;
		size_t length = h[0] | (size_t)h[1] << 8 | (size_t)h[2] << 16 | (size_t)h[3] << 24;
		assert(length <= FRAME_PAYLOAD_MAX && h[4] >= FRAME_WELCOME && h[4] <= FRAME_WINDOW && h[6] == 0 && h[7] == 0);
		assert(h[4] != FRAME_DATA || length <= FRAME_DATA_MAX);
		if (filled - at - FRAME_HEADER_SIZE < length)
			break;
		at += FRAME_HEADER_SIZE + length;
	}
	// A greeting cuts off a frame that is not written yet: only whole conversations are judged.
	filled = 0;
}

static void say(const void *data, size_t n)
{
	if (write(host, data, n) < 0)
		let_it_work();
}

static void say_frame(struct frame_header header, const void *payload, size_t n)
{
	unsigned char bytes[FRAME_HEADER_SIZE];

	header.length = (uint32_t)n;
	frame_encode(&header, bytes);
	say(bytes, sizeof bytes);
	say(payload, n);
}

static void greet(void)
{
	static const char hello[] = "{\"versions\":[1],\"nonce\":\"00000000000000000000000000000000\",\"features\":[]}";

	say(frame_sync, FRAME_SYNC_SIZE);
	say_frame((struct frame_header){.type = FRAME_HELLO}, hello, sizeof hello - 1);
}

static void say_line(const uint8_t *line, size_t n, uint32_t number)
{
	unsigned char acknowledged[8];

	if (n > 0 && line[0] == '{') {
		say_frame((struct frame_header){.type = FRAME_REQUEST, .id = number}, line, n);
	} else if (n >= 4 && line[0] == 'D') {
		say_frame((struct frame_header){.type = FRAME_DATA, .id = line[1], .flags = line[2] & 1, .offset = line[3]}, line + 4,
			  n - 4);
	} else if (n >= 4 && line[0] == 'W') {
		frame_write_u64(acknowledged, line[3]);
		say_frame((struct frame_header){.type = FRAME_WINDOW, .id = line[1], .offset = (uint64_t)line[2] << (line[2] & 63)},
			  acknowledged, sizeof acknowledged);
	} else if (n > 0 && line[0] == '!') {
		greet();
	} else if (n > 0) {
		say(line + 1, n - 1);
	}
}

static void begin(void)
{
	int ends[2];

	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert(null >= 0 && loop_init() == 0 && channel_init(ends[0]) == 0);
	host = ends[1];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned char zeros[FRAME_PAYLOAD_MAX + FRAME_HEADER_SIZE];
	uint32_t number = 0;

	if (host < 0)
		begin();
	if (size > SIZE_MAX_INPUT)
		return -1;
	greet();
	while (size > 0) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t n = end == NULL ? size : (size_t)(end - data);
		say_line(data, n, ++number);
		let_it_work();
		size -= end == NULL ? n : n + 1;
		data += end == NULL ? n : n + 1;
	}
	while (containers != NULL) {
		for (struct process *p = containers->init; p != NULL; p = p->next)
			p->status = PROCESS_EXITED;
		(void)container_destroy(containers, NULL);
	}
	// Whatever was said, the next host is heard, at the latest when it has filled up a half-read frame.
	uint32_t before = channel_generation();
	greet();
	let_it_work();
	if (channel_generation() == before) {
		for (size_t at = 0; at < sizeof zeros; at += 16384) {
			say(zeros, at + 16384 < sizeof zeros ? 16384 : sizeof zeros - at);
			let_it_work();
		}
		greet();
		let_it_work();
	}
	assert(channel_generation() != before && channel_greeted());
	return 0;
}
