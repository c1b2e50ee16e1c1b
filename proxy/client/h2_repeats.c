/* See h2_repeats.h. */
#include "proxy/client/h2_repeats.h"

/* Whether this section's fields are known without a gap. */
static bool is_contiguous(const struct h2_repeats *repeats, const struct h2_block *block)
{
    uint32_t before = repeats->count > 0 ? repeats->at[repeats->count - 1].mark.count : 0;
    return block->count == before + 1;
}

void h2_repeats_note(struct h2_repeats *repeats, const struct h2_block *block, uint64_t entry, uint32_t charge_bytes)
{
    repeats->count = repeats->next;
    if (entry == 0 || repeats->count == H2_REPEATS_MAX || block->error != ERROR_OK || !is_contiguous(repeats, block))
        return;
    repeats->at[repeats->count++] = (struct h2_repeat){entry, h2_block_mark(block, charge_bytes)};
    repeats->next = repeats->count;
}

void h2_repeats_end(struct h2_repeats *repeats)
{
    repeats->of = NULL;
    repeats->count = 0;
}
