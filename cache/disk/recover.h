/* The start: from what lies in the directories to an index. The home loop's; a slice of it at each store_run.
 *
 * DESIGN. In three phases:
 *   headers  the first and the last record of every segment: which are in use, their order, which are sealed, and which may have records of purges.
 *            From here on new segments can be opened, with sequence numbers above all that were found.
 *   purges   of the few segments that have any: into the table of purges. From here on what is in the index is served.
 *   entries  segment by segment, the *youngest first*: what is found under a name first is the right one, and the tombstones that concern a record have
 *            been read before it. So nothing that is out of date is served at any moment, and the start need not wait for the end.
 * What is offered meanwhile is younger than all of it; what is forgotten meanwhile is remembered as dead (dead.h).
 *
 * A directory that cannot be read is bypassed, and recovered later, by a pass of its own. Where tombstones or purges were lost to damage, and where a
 * segment cannot be read for good, nothing older in its directory can be trusted: it is condemned. */
#ifndef CACHE_DISK_RECOVER_H
#define CACHE_DISK_RECOVER_H

#include "cache/disk/store_state.h"

void recover_init(struct store *store);
void recover_free(struct store *store);
void recover_run(struct store *store);
bool recover_is_active(const struct store *store);

#endif
