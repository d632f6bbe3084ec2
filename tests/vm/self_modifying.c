// SPDX-License-Identifier: Apache-2.0
// Writes code over code that has run, and is satisfied when what runs is always what was written last. The same bytes
// come back to the same place again and again: by the address at which they run, by another, and by another page.
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, ROUNDS = 3000 };

// mov $number, %eax; ret
static void write_code(volatile uint8_t *place, uint32_t number)
{
	place[0] = 0xb8;
	for (int i = 0; i < 4; i++)
		place[1 + i] = (uint8_t)(number >> 8 * i);
	place[5] = 0xc3;
}

static uint32_t run(void *place)
{
	return ((uint32_t(*)(void))place)();
}

static int check(const char *how, int round, uint32_t wanted, uint32_t found)
{
	if (wanted != found)
		printf("%s, round %d: %u instead of %u\n", how, round, (unsigned)found, (unsigned)wanted);
	return wanted == found;
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
	if (well)
		puts("as written");
	return !well;
}
