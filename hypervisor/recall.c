/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was translated once is taken up again when the same code is back in the same place (docs/adr/0013-zygotes.md).
 *
 * QEMU drops a translation when its guest writes where the code was, and keeps the room that it took until all are
 * dropped. Here they are put by instead, each with a copy of the code that it is of: a machine that starts once more, or
 * one that is forked of it, finds what its first start has translated. The copy decides; nothing else is trusted.
 *
 * Where several CPUs run at once (CF_PARALLEL), others may be about to jump to what is put by: there, nothing is.
 *
 * Part of QEMU, for which this is compiled: accel/tcg/recall.c.
 */
#include "qemu/osdep.h"
#include "block/block.h"
#include "exec/exec-all.h"
#include "exec/memory.h"
#include "hw/boards.h"
#include "qapi/error.h"
#include "qapi/qapi-commands-misc.h"
#include "qemu/qht.h"
#include "sysemu/runstate.h"
#include "tb-hash.h"
#include "tcg/tcg.h"
#include "internal.h"

enum {
    LONGEST = 512, /* half of what QEMU keeps free at the end of the room for translations; seldom is a block a tenth of it */
    VERSIONS = 4   /* of the code in one place; a program that goes on rewriting itself takes room and time of its own */
};

typedef struct Wanted {
    tb_page_addr_t place;
    target_ulong pc, cs_base;
    uint32_t flags, cflags, tracing;
    const uint8_t *code; /* as it is now, up to the end of its page */
    size_t size;
} Wanted;

static struct qht put_by;

static uint32_t flags_of_code(const TranslationBlock *tb)
{
    return tb_cflags(tb) & ~CF_INVALID;
}

static bool is_there(const TranslationBlock *tb, const Wanted *wanted)
{
    return tb_page_addr0(tb) == wanted->place && tb_pc(tb) == wanted->pc && tb->cs_base == wanted->cs_base &&
           tb->flags == wanted->flags && flags_of_code(tb) == wanted->cflags &&
           tb->trace_vcpu_dstate == wanted->tracing;
}

static bool is_wanted(const void *tb, const void *wanted)
{
    const TranslationBlock *found = tb;
    const Wanted *like = wanted;

    return is_there(found, like) && found->size <= like->size && memcmp(found->source, like->code, found->size) == 0;
}

static Wanted like(const TranslationBlock *tb)
{
    return (Wanted) {
        .place = tb_page_addr0(tb), .pc = tb_pc(tb), .cs_base = tb->cs_base, .flags = tb->flags,
        .cflags = flags_of_code(tb), .tracing = tb->trace_vcpu_dstate, .code = tb->source, .size = tb->size,
    };
}

/* Versions of the code in one place share this many entries. */
static uint32_t version(const TranslationBlock *tb)
{
    const uint8_t *code = tb->source;
    uint32_t sum = 0;

    for (size_t i = 0; i < tb->size; i++) {
        sum += code[i];
    }
    return sum % VERSIONS;
}

static bool same(const void *a, const void *b)
{
    Wanted wanted = like(a);

    return is_there(b, &wanted) && version(a) == version(b);
}

static uint32_t hash(const Wanted *wanted, uint32_t version)
{
    return tb_hash_func(wanted->place, wanted->pc, wanted->flags, wanted->cflags, wanted->tracing) + version;
}

static bool may_be_kept(tb_page_addr_t place, uint32_t cflags)
{
    return place != -1 && !(cflags & CF_PARALLEL);
}

void recall_init(void)
{
    qht_init(&put_by, same, 1 << 15, QHT_MODE_AUTO_RESIZE);
}

/* When all that was translated is dropped. */
void recall_nothing(void)
{
    qht_reset(&put_by);
}

static size_t up_to_the_end_of_its_page(tb_page_addr_t place)
{
    return -(place | TARGET_PAGE_MASK);
}

/* The code at @code, as it is now: what is translated and what is kept must be the same, whatever a device writes there
 * meanwhile. Good until the next call in this thread. */
void *recall_hold(tb_page_addr_t place, uint32_t cflags, void *code)
{
    static __thread uint8_t held[TARGET_PAGE_SIZE];

    return may_be_kept(place, cflags) ? memcpy(held, code, up_to_the_end_of_its_page(place)) : code;
}

/* Copy to @room the code of @tb, which begins at @code; how much was taken. One that goes on in a second page is never
 * recalled: what follows a page may be another one by then. */
size_t recall_keep_source(TranslationBlock *tb, void *room, const void *code)
{
    tb->source = NULL;
    if (!may_be_kept(tb_page_addr0(tb), tb_cflags(tb)) || tb_page_addr1(tb) != -1 || tb->size > LONGEST) {
        return 0;
    }
    tb->source = memcpy(room, code, tb->size);
    return tb->size;
}

/* @tb is of code that is no more, and nothing leads to it. Its page is locked, so that all of this is over when
 * everything is dropped. */
void recall_put_by(TranslationBlock *tb)
{
    Wanted wanted;
    uint32_t key;
    void *other = NULL;

    if (tb->source) {
        wanted = like(tb);
        key = hash(&wanted, version(tb));
        if (!qht_insert(&put_by, tb, key, &other) && qht_remove(&put_by, other, key)) {
            qht_insert(&put_by, tb, key, NULL);
        }
    }
}

/* What was put by of the code at @code, which the guest has at @place; NULL when there is none. It is still marked as
 * invalid. */
TranslationBlock *recall(CPUState *cpu, target_ulong pc, target_ulong cs_base, uint32_t flags, uint32_t cflags,
                         tb_page_addr_t place, const void *code)
{
    Wanted wanted = {
        .place = place, .pc = pc, .cs_base = cs_base, .flags = flags, .cflags = cflags,
        .tracing = *cpu->trace_dstate, .code = code, .size = up_to_the_end_of_its_page(place),
    };

    if (!may_be_kept(place, cflags)) {
        return NULL;
    }
    for (uint32_t i = 0; i < VERSIONS; i++) {
        uint32_t key = hash(&wanted, i);
        TranslationBlock *tb = qht_lookup_custom(&put_by, &wanted, key, is_wanted);

        if (tb && qht_remove(&put_by, tb, key)) {
            return tb;
        }
    }
    return NULL;
}

/* To before the first instruction. The memory is not only overwritten: whatever starts now gets pages that are new. */
void qmp_x_rewind(Error **errp)
{
    MemoryRegion *memory = current_machine->ram;
    uint64_t size = memory_region_size(memory);
    ram_addr_t start = memory_region_get_ram_addr(memory);

    if (!tcg_enabled() || runstate_is_running()) {
        error_setg(errp, "only an emulated machine that stands still can be rewound");
        return;
    }
    bdrv_drain_all();
    tb_invalidate_phys_range(start, start + size);
    if (ram_block_discard_range(memory->ram_block, 0, size) < 0) {
        error_setg(errp, "its memory cannot be given back");
        return;
    }
    qemu_system_reset(SHUTDOWN_CAUSE_SUBSYSTEM_RESET); /* which loads the kernel again */
}
