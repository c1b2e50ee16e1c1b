/* Bytes that must wait: heads that came in part, response bytes that the kernel did not take. Most connections never have one. */
#ifndef BASE_SPILL_H
#define BASE_SPILL_H

#include "base/bytes.h"

struct spill {
    size_t start, end, capacity;
    char at[];
};

/* Creates or grows it. */
void spill_append(struct spill **spill, struct bytes bytes);
/* Takes `count` bytes off the front; frees (and nulls) it when nothing is left. */
void spill_drop(struct spill **spill, size_t count);
void spill_free(struct spill **spill);
/* BYTES_NONE for NULL. */
struct bytes spill_bytes(const struct spill *spill);

#endif
