/* What requests of the old binary's connections make invalid (RFC 9111 §4.4) after another has taken over: that one is told, for what is stored is its now.
 *
 *     old proxy ──INVALIDATED──→ old supervisor ──upgrade.h's stream, after TAKE──→ new supervisor ──INVALIDATE──→ new proxy
 *
 * It takes a moment, and nobody waits for it: who needs to know that something is gone sends a PURGE, which the old one refuses then. Until TAKE it waits
 * with the old supervisor, for the new one understands nothing else before; when that fails it is forgotten, and the old cache has heeded it anyway. A
 * version that knows nothing of this closes its end.
 */
#ifndef BOOT_HEIR_H
#define BOOT_HEIR_H

#include "cache/cache.h"
#include "helpers/messages.h"

struct heir {
    int    to, from; /* −1: nobody is to be told, or tells us; owned */
    char  *waiting;  /* what is to be told when it may; malloc'ed */
    size_t waiting_bytes;
};

/* ---- the proxies ---- */

/* To the supervisor at `control`: what has the encoded key or, where there is a group, what is in that group of the key's origin. Any thread; never waits. */
void heir_tell(int control, struct bytes key, struct bytes group);
/* INVALIDATE. False: it is no key. */
bool heir_heed(struct cache *cache, const struct message_invalidated *about, struct bytes tail, struct wall_seconds now);

/* ---- the supervisors ---- */

void heir_init(struct heir *heir);
/* INVALIDATED. */
void heir_pass(struct heir *heir, const struct message_invalidated *about, struct bytes tail);
/* The new one may be told from now on, over `stream`, which is copied: what waits goes to it. */
void heir_open(struct heir *heir, int stream);
/* There is no new one after all. */
void heir_forget(struct heir *heir);

enum { HEIR_TAIL_MAX = 8192 };

/* The next of what the old one tells; *tail is in `buffer`. False: there is none now, or no more (then it is closed). */
bool heir_hear(struct heir *heir, struct message_invalidated *about, struct bytes *tail, char buffer[HEIR_TAIL_MAX]);

#endif
