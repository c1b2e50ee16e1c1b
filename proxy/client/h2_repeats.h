/* Fields that are the same as in the section before.
 *
 * DESIGN. A client's requests are much alike: but for the path, their fields are entries of HPACK's table, and entries are known by their numbers (h2_decoder.h).
 * So a field whose entry is that of the field at this place of the section before need not be checked, identified and copied again: it still is in the block
 * (h2_head.h), as long as all fields before it were the same as well. Who reads a section of another connection into the block begins anew.
 */
#ifndef CLIENT_H2_REPEATS_H
#define CLIENT_H2_REPEATS_H

#include "proxy/client/h2_head.h"

struct h2_decoder;

enum { H2_REPEATS_MAX = 32 };

/* A worker's; zeroed at first. */
struct h2_repeats {
    const struct h2_block   *of;      /* whose fields they are */
    const struct h2_decoder *entries; /* whose entries */
    unsigned next, count;             /* of the section that is coming; that are known */
    struct h2_repeat {
        uint64_t             entry;
        struct h2_block_mark mark;
    } at[H2_REPEATS_MAX];
};

/* A section begins in `block`, which is cleared. */
static inline void h2_repeats_begin(struct h2_repeats *repeats, const struct h2_block *block, const struct h2_decoder *decoder)
{
    if (repeats->of != block || repeats->entries != decoder)
        repeats->count = 0;
    repeats->of = block;
    repeats->entries = decoder;
    repeats->next = 0;
}

/* If the field is known, it is in the block now: what it is charged. 0: it is not. `entry`: not 0. */
static inline uint32_t h2_repeats_take(struct h2_repeats *repeats, struct h2_block *block, uint64_t entry, const struct config *config)
{
    const struct h2_repeat *repeat = &repeats->at[repeats->next];
    if (repeats->next == repeats->count || repeat->entry != entry || !h2_block_repeat(block, &repeat->mark, config))
        return 0;
    repeats->next++;
    return repeat->mark.charge_bytes;
}

/* A field that was not known was added to the block, which has others than pseudo-headers now: what is known behind this place is not there any more.
 * `entry`: 0: it is none. */
void h2_repeats_note(struct h2_repeats *repeats, const struct h2_block *block, uint64_t entry, uint32_t charge_bytes);
/* The decoder, or the block, goes. */
void h2_repeats_end(struct h2_repeats *repeats);

#endif
