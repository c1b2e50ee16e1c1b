/* The disk tier's home: the control loop, which runs it whenever it asks for that, and at least every STORE_TICK_MS. */
#ifndef BOOT_STORE_HOME_H
#define BOOT_STORE_HOME_H

#include "cache/cache.h"
#include "proxy/net/loop.h"

struct store_home {
    struct store   *store; /* borrowed; NULL: there is no disk tier */
    struct loop    *loop;
    struct mail     mail;
    struct deadline tick;
    void (*drained)(void); /* NULL: it does not drain */
    bool            syncs_at_end, is_releasing, has_left, is_released;
    struct cache   *cache; /* borrowed; of a release */
};

/* On `loop`, before it runs. `io` is that loop's. */
void store_home_start(struct store_home *home, struct store *store, struct disk_io *io, struct loop *loop);
/* Nothing more is going to be stored: what waits is written, and, with `with_sync`, safe from a loss of power; then `drained` is called, maybe at once. */
void store_home_drain(struct store_home *home, bool with_sync, void (*drained)(void));
/* Another instance takes the directories: what waits is written, then the tier is left alone, and `released` is called, maybe at once. From then on
 * cache_has_left. Whether there is a disk tier or not. */
void store_home_release(struct store_home *home, struct cache *cache, void (*released)(void));
/* It does not after all, or has not been asked to. */
void store_home_resume(struct store_home *home);

#endif
