/* See h2_repeats.h. */
#include "proxy/client/h2_repeats.h"

static void forget_from(struct h2_repeats *repeats, unsigned first)
{
    while (repeats->count > first) {
        struct h2_repeat *last = &repeats->at[--repeats->count];
        nghttp2_rcbuf_decref(last->name);
        nghttp2_rcbuf_decref(last->value);
    }
}

void h2_repeats_begin(struct h2_repeats *repeats, const struct h2_block *block)
{
    if (repeats->of != block)
        forget_from(repeats, 0);
    repeats->of = block;
    repeats->next = 0;
}

/* Whether this section's fields are known without a gap. */
static bool is_contiguous(const struct h2_repeats *repeats, const struct h2_block *block)
{
    uint32_t before = repeats->count > 0 ? repeats->at[repeats->count - 1].mark.count : 0;
    return repeats->of == block && block->count == before + 1;
}

void h2_repeats_note(struct h2_repeats *repeats, const struct h2_block *block, nghttp2_rcbuf *name, nghttp2_rcbuf *value)
{
    forget_from(repeats, repeats->next);
    if (repeats->count == H2_REPEATS_MAX || block->error != ERROR_OK || !is_contiguous(repeats, block))
        return;
    uint32_t charge = (uint32_t)(nghttp2_rcbuf_get_buf(name).len + nghttp2_rcbuf_get_buf(value).len + H2_FIELD_CHARGE_BYTES);
    nghttp2_rcbuf_incref(name);
    nghttp2_rcbuf_incref(value);
    repeats->at[repeats->count++] = (struct h2_repeat){name, value, h2_block_mark(block, charge)};
    repeats->next = repeats->count;
}

void h2_repeats_end(struct h2_repeats *repeats)
{
    forget_from(repeats, 0);
    repeats->of = NULL;
    repeats->next = 0;
}
