/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was translated once is taken up again when the same code is back in the same place (docs/adr/0013-zygotes.md).
 *
 * QEMU drops a translation when its guest writes where the code was, and keeps the room that it took until all are
 * dropped. Here they are put by instead, each with a copy of the code that it is of: a machine that starts once more, or
 * one that is forked of it, finds what its first start has translated. The copy decides; nothing else is trusted.
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

/* Half of what QEMU keeps free at the end of the room for translations; a block is seldom a tenth of it. */
enum { LONGEST = 512 };

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

static bool is_wanted(const TranslationBlock *tb, const Wanted *wanted)
{
    return tb_page_addr0(tb) == wanted->place && tb_pc(tb) == wanted->pc && tb->cs_base == wanted->cs_base &&
           tb->flags == wanted->flags && flags_of_code(tb) == wanted->cflags &&
           tb->trace_vcpu_dstate == wanted->tracing && tb->size <= wanted->size &&
           memcmp(tb->source, wanted->code, tb->size) == 0;
}

static bool matches(const void *tb, const void *wanted)
{
    return is_wanted(tb, wanted);
}

static Wanted like(const TranslationBlock *tb)
{
    return (Wanted) {
        .place = tb_page_addr0(tb), .pc = tb_pc(tb), .cs_base = tb->cs_base, .flags = tb->flags,
        .cflags = flags_of_code(tb), .tracing = tb->trace_vcpu_dstate, .code = tb->source, .size = tb->size,
    };
}

static bool same(const void *a, const void *b)
{
    const TranslationBlock *one = a, *other = b;
    Wanted wanted = like(one);

    return one->size == other->size && is_wanted(other, &wanted);
}

static uint32_t hash(const Wanted *wanted)
{
    return tb_hash_func(wanted->place, wanted->pc, wanted->flags, wanted->cflags, wanted->tracing);
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

/* Copy to @room the code of @tb, which begins at @code; how much was taken. One that goes on in a second page is never
 * recalled: what follows a page may be another one by then. */
size_t recall_keep_source(TranslationBlock *tb, void *room, const void *code)
{
    tb->source = NULL;
    if (tb_page_addr0(tb) == -1 || tb_page_addr1(tb) != -1 || tb->size > LONGEST) {
        return 0;
    }
    tb->source = memcpy(room, code, tb->size);
    return tb->size;
}

/* @tb is of code that is no more, and nothing leads to it. */
void recall_put_by(TranslationBlock *tb)
{
    Wanted wanted;

    if (tb->source) {
        wanted = like(tb);
        qht_insert(&put_by, tb, hash(&wanted), NULL);
    }
}

/* What was put by of the code at @code, which the guest has at @place; NULL when there is none. */
TranslationBlock *recall(CPUState *cpu, target_ulong pc, target_ulong cs_base, uint32_t flags, uint32_t cflags,
                         tb_page_addr_t place, const void *code)
{
    TranslationBlock *tb;
    Wanted wanted = {
        .place = place, .pc = pc, .cs_base = cs_base, .flags = flags, .cflags = cflags,
        .tracing = *cpu->trace_dstate, .code = code, .size = -(place | TARGET_PAGE_MASK),
    };

    if (place == -1) {
        return NULL;
    }
    tb = qht_lookup_custom(&put_by, &wanted, hash(&wanted), matches);
    if (!tb || !qht_remove(&put_by, tb, hash(&wanted))) { /* or another CPU was quicker */
        return NULL;
    }
    qatomic_set(&tb->cflags, flags_of_code(tb));
    return tb;
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
