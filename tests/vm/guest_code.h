// SPDX-License-Identifier: Apache-2.0
// Code that a program writes for itself to run.
#include <stdint.h>

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
