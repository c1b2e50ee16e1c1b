/* Which tombstones and purges are on disk, and who waits for that. See store.h.
 *
 * DESIGN. Each that is to be logged has a *position*, counted over the whole store. A directory has logged a position when it has nothing that waits or is
 * under way, or when what it wrote last was everything that it had at that position. One that is bypassed, or is going to be emptied, keeps nobody waiting. */
#ifndef CACHE_DISK_LOGGED_H
#define CACHE_DISK_LOGGED_H

#include "cache/disk/store_state.h"

/* With the store's lock held: one more waits in the directory. `is_urgent`: to be written at once; the caller wakes the home loop. */
static inline void logged_note(struct directory *directory, bool is_urgent)
{
    atomic_fetch_add_explicit(&directory->store->log_position, 1, memory_order_relaxed);
    directory->is_urgent |= is_urgent;
}

/* With the store's lock held. */
bool logged_has(const struct directory *directory, uint64_t position);
/* Wakes those whose wait may have ended; without the lock. */
void logged_wake(struct store *store);

#endif
