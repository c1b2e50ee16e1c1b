/* Which of the responses that are offered are worth their write.
 *
 * DESIGN. Measured in docs/EVICTION.md: a response is written at its second request. That is either a hit in memory, after the admission refused it when it
 * was listed (object->is_refused, which a hit looks at only while it counts hits: the hot path reads nothing else), or the end of another fill of a name
 * that a doorkeeper remembers. A directory whose log has not been full yet takes everything. What is on disk already is always replaced. */
#ifndef CACHE_DISK_ADMISSION_H
#define CACHE_DISK_ADMISSION_H

#include "cache/disk/queue.h"

void admission_init(struct store *store);
void admission_free(struct store *store);
/* What the doorkeeper knows it by: a variant or a slice must be known again under a selector that was made anew. Without the lock. */
uint64_t admission_name(const struct offer *offer);
/* With the store's lock held. */
bool admission_takes(struct store *store, const struct offer *offer, uint64_t name);
/* The home loop's: whether the directory's log is full may have changed. */
void admission_look(struct directory *directory);

#endif
