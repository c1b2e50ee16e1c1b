/* The writing of one directory's log: batches, and the segments they go to. The home loop's.
 *
 * DESIGN. One write is under way at a time, so that what is written is in order, and a failure concerns one known place:
 *
 *     queues ──depart──→ batch ──write──→ done: index, footer entries ──→ next
 *                          ╰ no room: footer → trailer → open the next segment (allocate, SEGMENT record) → batch
 *
 * A batch that fails leaves a hole, and tombstones for what it brought; the directory is bypassed, and its next batch, of tombstones alone, is the probe.
 * Wiping is a write like the others: an empty record in the place of the SEGMENT record. */
#ifndef CACHE_DISK_APPEND_H
#define CACHE_DISK_APPEND_H

#include "cache/disk/queue.h"

void append_init(struct directory *directory);
void append_free(struct directory *directory);
/* Begins what is to be done, if nothing is under way. */
void append_run(struct directory *directory);
/* Of a store that drains: nothing waits and nothing is under way, and all that was written is synced if it should be; or it cannot be written now. */
bool append_is_done(struct directory *directory);
/* The open one, or SEGMENT_NONE. */
uint32_t append_open_segment(const struct directory *directory);
/* Whether it must not be touched: a write is under way in it. */
bool append_is_busy(const struct directory *directory);
/* The open segment is open no more: its directory was condemned. */
void append_abandon(struct directory *directory);
/* Segments that can be opened, now or after a sync. */
uint32_t append_free_segments(const struct directory *directory);
/* The largest record that a segment takes. */
uint64_t record_max_bytes(const struct directory *directory);

#endif
