/* Fields that are the same as in the section before.
 *
 * DESIGN. Requests that come in one read are much alike: but for the path, their fields are entries of HPACK's table, and nghttp2 shows each entry as one and the
 * same buffer. So a field whose name and value are the buffers of the field at this place of the section before need not be checked, identified and copied again:
 * it still is in the block (h2_head.h), as long as all fields before it were the same as well.
 * References keep the buffers from being other fields' meanwhile. They are held within one read: no session holds any while it is idle.
 */
#ifndef CLIENT_H2_REPEATS_H
#define CLIENT_H2_REPEATS_H

#include "proxy/client/h2_head.h"

#include <nghttp2/nghttp2.h>

enum { H2_REPEATS_MAX = 32 };

/* A worker's; zeroed at first. */
struct h2_repeats {
    const struct h2_block *of; /* whose fields they are */
    unsigned next, count;      /* of the section that is coming; that are known */
    struct h2_repeat {
        nghttp2_rcbuf       *name, *value; /* references */
        struct h2_block_mark mark;
    } at[H2_REPEATS_MAX];
};

/* A section begins in `block`, which is cleared. */
void h2_repeats_begin(struct h2_repeats *repeats, const struct h2_block *block);
/* If the field is known, it is in the block now: what it is charged. 0: it is not. */
static inline uint32_t h2_repeats_take(struct h2_repeats *repeats, struct h2_block *block, const nghttp2_rcbuf *name, const nghttp2_rcbuf *value,
                                   const struct config *config)
{
    const struct h2_repeat *repeat = &repeats->at[repeats->next];
    if (repeats->next == repeats->count || repeat->name != name || repeat->value != value || !h2_block_repeat(block, &repeat->mark, config))
        return 0;
    repeats->next++;
    return repeat->mark.charge_bytes;
}
/* A field that was not known was added to the block: what is known behind this place is not there any more. */
void h2_repeats_note(struct h2_repeats *repeats, const struct h2_block *block, nghttp2_rcbuf *name, nghttp2_rcbuf *value);
/* Forgets all. */
void h2_repeats_end(struct h2_repeats *repeats);

#endif
