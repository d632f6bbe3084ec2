// SPDX-License-Identifier: Apache-2.0
// Any bytes, cut anywhere: the same frames come out, and whatever came before, a flush and a greeting are understood.
#include "../frame.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct frame_parser parser;
static uint64_t digest;
static unsigned syncs, hellos;

static void mix(uint64_t value)
{
	digest = (digest ^ value) * 0x100000001b3U;
}

static void on_sync(void *context)
{
	(void)context;
	syncs++;
	mix(1);
}

static void on_frame(void *context, const struct frame_header *h, const unsigned char *payload)
{
	(void)context;
	assert(h->length <= FRAME_PAYLOAD_MAX && (h->type != FRAME_DATA || h->length <= FRAME_DATA_MAX));
	hellos += h->type == FRAME_HELLO;
	mix(h->length);
	mix(h->type);
	mix(h->id);
	mix(h->offset);
	for (size_t i = 0; i < h->length; i++)
		mix(payload[i]);
}

static uint64_t feed(const uint8_t *data, size_t size, size_t step)
{
	parser.sink = (struct frame_sink){.on_sync = on_sync, .on_frame = on_frame};
	frame_parser_reset(&parser);
	digest = 0xcbf29ce484222325U;
	for (size_t at = 0; at < size; at += step)
		frame_parser_feed(&parser, data + at, step < size - at ? step : size - at);
	frame_parser_settle(&parser);
	return digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned char zeros[FRAME_PAYLOAD_MAX + FRAME_HEADER_SIZE];
	unsigned char hello[FRAME_SYNC_SIZE + FRAME_HEADER_SIZE];

	uint64_t whole = feed(data, size, size == 0 ? 1 : size);
	assert(feed(data, size, 1) == whole && feed(data, size, 17) == whole);
	if (size % 16 != 0)
		return 0; // the rest costs a mebibyte
	frame_parser_feed(&parser, zeros, sizeof zeros);
	syncs = hellos = 0;
	memcpy(hello, frame_sync, FRAME_SYNC_SIZE);
	frame_encode(&(struct frame_header){.type = FRAME_HELLO}, hello + FRAME_SYNC_SIZE);
	frame_parser_feed(&parser, hello, sizeof hello);
	assert(syncs == 1 && hellos == 1);
	return 0;
}
