/* Names that recovery must not find in what is older: those of tombstones that it has read, and those forgotten since the start.
 * Locks: its owner's. */
#ifndef CACHE_DISK_DEAD_H
#define CACHE_DISK_DEAD_H

#include <stdint.h>

struct dead;

struct dead *dead_new(void);
void         dead_free(struct dead **dead);
/* Records of that name in segments up to this sequence are out of date. */
void dead_add(struct dead *dead, uint64_t hash, uint64_t sequence);
/* The sequence up to which it is dead; 0: it is not. */
uint64_t dead_find(const struct dead *dead, uint64_t hash);

#endif
