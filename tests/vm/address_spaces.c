// SPDX-License-Identifier: Apache-2.0
// Satisfied when each process runs what lies at an address in its own address space, and the kernel what it has put
// there last: of other processes, of pages that are gone, of filters that it has forgotten, nothing is run.
#define _GNU_SOURCE
#include <linux/filter.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest_code.h"

enum { PAGE = 4096, ROUNDS = 400, PROCESSES = 3, FILTERS = 2000, PACKET = 64 };

static const int all = PROT_READ | PROT_WRITE | PROT_EXEC;
static sigjmp_buf away;

static int check(const char *what, unsigned round, uint32_t wanted, uint32_t found)
{
	if (wanted != found)
		printf("%s, round %u: %u instead of %u\n", what, round, (unsigned)found, (unsigned)wanted);
	return wanted == found;
}

// Runs its own code when it is its turn, and passes the turn on.
static int take_turns(void *place, uint32_t number, int from, int to)
{
	char turn = 0;
	int well = mmap(place, PAGE, all, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == place;

	if (well)
		write_code(place, number);
	for (unsigned i = 0; well && i < ROUNDS; i++) {
		well = read(from, &turn, 1) == 1 && check("in turn", i, number, run(place)) && write(to, &turn, 1) == 1;
	}
	return well;
}

static int processes(void)
{
	void *place = mmap(NULL, PAGE, all, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int pipes[PROCESSES][2], status, well = place != MAP_FAILED;

	for (int i = 0; i < PROCESSES; i++)
		well = well && pipe(pipes[i]) == 0;
	for (int i = 0; well && i < PROCESSES; i++) {
		if (fork() == 0) {
			well = take_turns(place, 100 + (uint32_t)i, pipes[i][0], pipes[(i + 1) % PROCESSES][1]);
			(void)fflush(stdout);
			_exit(!well);
		}
	}
	well = well && write(pipes[0][1], "", 1) == 1;
	for (int i = 0; i < PROCESSES; i++)
		(void)(close(pipes[i][0]), close(pipes[i][1]));
	while (wait(&status) > 0)
		well = well && status == 0;
	return well;
}

static void leave(int number)
{
	siglongjmp(away, number);
}

// Whether `place` cannot be run.
static int refused(void *place)
{
	if (sigsetjmp(away, 1) != 0)
		return 1;
	(void)run(place);
	return 0;
}

static int pages(void)
{
	uint8_t *place = mmap(NULL, PAGE, all, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int well = place != MAP_FAILED;

	(void)signal(SIGSEGV, leave);
	for (unsigned i = 0; well && i < ROUNDS; i++) {
		write_code(place, i);
		well = check("a page", i, i, run(place)) && mprotect(place, PAGE, PROT_READ) == 0 &&
		       check("not to be run", i, 1, (uint32_t)refused(place)) && munmap(place, PAGE) == 0 &&
		       check("gone", i, 1, (uint32_t)refused(place)) &&
		       mmap(place, PAGE, all, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == place;
	}
	(void)signal(SIGSEGV, SIG_DFL);
	return well;
}

// The kernel makes code of a filter, at an address where another's was: this one lets `length` bytes of a packet pass.
static int filter(int ends[2], unsigned round, uint32_t length)
{
	struct sock_filter code[64];
	struct sock_fprog program = {.filter = code};
	char packet[PACKET] = "";

	while (program.len < round % 60) // a filter of another size has another address, and shifts the next
		code[program.len++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_IMM, round);
	code[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, length);
	return setsockopt(ends[1], SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0 &&
	       write(ends[0], packet, sizeof packet) == sizeof packet &&
	       check("a filter", round, length, (uint32_t)read(ends[1], packet, sizeof packet)) &&
	       setsockopt(ends[1], SOL_SOCKET, SO_DETACH_FILTER, &program, sizeof program) == 0;
}

static int filters(void)
{
	int ends[2], well = socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0;

	for (unsigned i = 0; well && i < FILTERS; i++)
		well = filter(ends, i, 1 + i % PACKET);
	return well;
}

int main(void)
{
	if (processes() && pages() && filters() && processes())
		puts("each its own");
	return 0;
}
