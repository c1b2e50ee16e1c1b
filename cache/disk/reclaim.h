/* Making room: the oldest segment of a directory is emptied. The home loop's.
 *
 * DESIGN. A few segments are kept free. When there are fewer, the oldest is listed (listing.h), and each record in it that the index still has there is
 * either moved, if it was hit since it was written or is hot in memory, or leaves the index. At most half of a segment's bytes are moved, so that one
 * that is emptied makes room for more than itself. Moved records go through the queue like all others: from memory where they are there, else they are
 * read into pages of the slab; a few at a time. When nothing is left, the segment is condemned: wiped, synced, free.
 *
 * What is moved was compared with the purges up to then, and says so in its record; so a record of purges is not needed any more when its segment's turn
 * comes: all records older than it are gone or were moved. */
#ifndef CACHE_DISK_RECLAIM_H
#define CACHE_DISK_RECLAIM_H

#include "cache/disk/store_state.h"

void reclaim_init(struct directory *directory);
void reclaim_free(struct directory *directory);
void reclaim_run(struct directory *directory);
/* A segment is being emptied. */
bool reclaim_is_active(const struct directory *directory);
/* As many segments. */
uint32_t reclaim_kept_free(const struct directory *directory);

#endif
