/* Who was asked for before: admission of what is asked for a second time (Einziger et al., TinyLFU: the doorkeeper).
 *
 * DESIGN. Sets of DOORKEEPER_WAYS fingerprints, the newest first; what is pushed out of its set is forgotten. So it ages by itself, and remembers about as
 * many of the last names as it has places, in four bytes each. A wrong fingerprint admits something that need not have been. Locks: its owner's. */
#ifndef CACHE_DISK_DOORKEEPER_H
#define CACHE_DISK_DOORKEEPER_H

#include <stdbool.h>
#include <stdint.h>

enum { DOORKEEPER_WAYS = 4, DOORKEEPER_SETS_MIN = 256 };

struct doorkeeper;

/* For about so many names, but no less than DOORKEEPER_SETS_MIN * DOORKEEPER_WAYS. */
struct doorkeeper *doorkeeper_new(uint64_t names);
void               doorkeeper_free(struct doorkeeper **doorkeeper);
/* Whether it was asked this before, as far as it remembers; from now on it was. */
bool doorkeeper_ask(struct doorkeeper *doorkeeper, uint64_t hash);

#endif
