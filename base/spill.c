/* See spill.h. */
#include "base/spill.h"

#include <assert.h>
#include <stdlib.h>

enum { SPILL_MIN_BYTES = 512 };

static struct spill *spill_with_room(struct spill *spill, size_t bytes)
{
    size_t used = spill ? spill->end - spill->start : 0;
    if (spill && spill->capacity - spill->end >= bytes)
        return spill;
    if (spill && spill->capacity - used >= bytes && spill->start >= used) {
        memcpy(spill->at, spill->at + spill->start, used);
        spill->start = 0;
        spill->end = used;
        return spill;
    }
    size_t capacity = used ? 2 * spill->capacity : SPILL_MIN_BYTES;
    if (capacity < used + bytes) /* often there is nothing more to come */
        capacity = used + bytes;
    struct spill *larger = malloc(sizeof(*larger) + capacity);
    assert(larger);
    *larger = (struct spill){.end = used, .capacity = capacity};
    if (used)
        memcpy(larger->at, spill->at + spill->start, used);
    free(spill);
    return larger;
}

void spill_append(struct spill **spill, struct bytes bytes)
{
    if (!bytes.len)
        return;
    *spill = spill_with_room(*spill, bytes.len);
    memcpy((*spill)->at + (*spill)->end, bytes.at, bytes.len);
    (*spill)->end += bytes.len;
}

void spill_drop(struct spill **spill, size_t count)
{
    if (!count)
        return;
    (*spill)->start += count;
    assert((*spill)->start <= (*spill)->end);
    if ((*spill)->start == (*spill)->end)
        spill_free(spill);
}

void spill_free(struct spill **spill)
{
    free(*spill);
    *spill = NULL;
}

struct bytes spill_bytes(const struct spill *spill)
{
    return spill ? bytes_from(spill->at + spill->start, spill->end - spill->start) : BYTES_NONE;
}
