// SPDX-License-Identifier: Apache-2.0
// Writes code over code that has run, and is satisfied when what runs is always what was written last. The same bytes
// come back to the same place again and again: by the address at which they run, by another, by another page, and from
// another processor while they are about to run.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest_code.h"

enum { PAGE = 4096, ROUNDS = 3000, CONTENTS = 60000, LONG = 160 };

static int check(const char *how, int round, uint32_t wanted, uint32_t found)
{
	if (wanted != found)
		printf("%s, round %d: %u instead of %u\n", how, round, (unsigned)found, (unsigned)wanted);
	return wanted == found;
}

// What was asked of the other processor, what it has answered, and with what.
static atomic_uint asked, answered, said;

static void *run_when_asked(void *place)
{
	for (unsigned last = 0, now;; last = now) {
		uint32_t a = 0, b, c = 0, d;

		while ((now = atomic_load(&asked)) == last)
			;
		__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d) : : "memory"); // as who runs new code must
		atomic_store(&said, run(place));
		atomic_store(&answered, now);
	}
	return NULL;
}

static void put(uint8_t *place, uint32_t number)
{
	__atomic_store_n((uint32_t *)(place + 1), number, __ATOMIC_SEQ_CST);
}

static uint32_t answer(void)
{
	while (atomic_load(&answered) != atomic_load(&asked))
		;
	return atomic_load(&said);
}

// A write that comes while another processor translates may be seen or not; what is written after that must be.
static int race(uint8_t *page)
{
	uint8_t *place = page + 3; // so that the number is aligned
	pthread_t other;
	int well;

	write_code(place, 0);
	for (int i = 0; i < LONG; i++) // more to translate: add $1, %ecx
		memcpy(place + 5 + 3 * i, "\x83\xc1\x01", 3);
	place[5 + 3 * LONG] = 0xc3;
	well = pthread_create(&other, NULL, run_when_asked, place) == 0;
	for (int i = 0; well && i < ROUNDS; i++) {
		uint32_t number = 4 * (uint32_t)i;

		put(place, number);
		atomic_fetch_add(&asked, 1);
		for (volatile int pause = i * 37 % 600; pause > 0; pause--)
			;
		put(place, number + 1);
		answer();
		put(place, number + 2);
		atomic_fetch_add(&asked, 1);
		well = check("after a race", i, number + 2, answer());
		put(place, number + 1);
		atomic_fetch_add(&asked, 1);
		well = well && check("again after a race", i, number + 1, answer());
	}
	return well;
}

int main(void)
{
	const int all = PROT_READ | PROT_WRITE | PROT_EXEC;
	int file = memfd_create("code", 0), well = file >= 0 && ftruncate(file, 2 * PAGE) == 0;
	uint8_t *code = mmap(NULL, 2 * PAGE, all, MAP_SHARED, file, 0);
	uint8_t *other = mmap(NULL, 2 * PAGE, all, MAP_SHARED, file, 0);
	uint8_t *window = mmap(NULL, PAGE, all, MAP_SHARED, file, 0);

	well = well && code != MAP_FAILED && other != MAP_FAILED && window != MAP_FAILED;
	for (int i = 0; well && i < ROUNDS; i++) {
		uint32_t number = (uint32_t)i % 3;

		write_code(code, number);
		well = check("where it runs", i, number, run(code));
		write_code(other, number + 10);
		well = well && check("from elsewhere", i, number + 10, run(code));
		code[1] = (uint8_t)(number + 20); // one byte of a translation's many
		well = well && check("in part", i, number + 20, run(code)) && check("seen there", i, number + 20, run(other));
		write_code(code + PAGE - 3, number + 30); // over two pages
		well = well && check("over two pages", i, number + 30, run(code + PAGE - 3));
	}
	for (int i = 0; well && i < ROUNDS / 10; i++) {
		write_code(code, 40);
		write_code(code + PAGE, 41);
		well = mmap(window, PAGE, all, MAP_SHARED | MAP_FIXED, file, i % 2 * PAGE) == window &&
		       check("behind another page", i, 40 + (uint32_t)i % 2, run(window));
	}
	for (uint32_t i = 0; well && i < CONTENTS; i++) { // hardly any comes back
		write_code(code, i);
		well = check("in many forms", (int)i, i, run(code));
	}
	if (well && sysconf(_SC_NPROCESSORS_ONLN) > 1)
		well = race(mmap(NULL, PAGE, all, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (well)
		puts("as written");
	return !well;
}
