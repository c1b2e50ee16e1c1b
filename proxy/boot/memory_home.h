/* The memory tier between two instances (cache/handover.h): on a thread of its own, so that no loop waits for it; what is to be done before and after, on
 * the control loop. */
#ifndef BOOT_MEMORY_HOME_H
#define BOOT_MEMORY_HOME_H

#include "cache/handover.h"
#include "proxy/net/loop.h"

#include <pthread.h>

struct memory_home {
    struct cache *cache; /* borrowed */
    struct mail   mail;
    pthread_t     thread;
    bool          is_busy; /* there is a thread, and nobody has joined it */
    bool          is_listing; /* that thread */
    _Atomic bool  is_off;  /* it is to end early */
    _Atomic bool  is_done;
    char         *list;    /* mapped; NULL: none */
    uint64_t      list_bytes;
    char         *slab;    /* mapped: the other's; NULL: none */
    uint64_t      slab_bytes;
    int           waiting; /* a list's descriptor that waits for the thread to end; −1: none */
    void        (*listed)(void);
    int64_t       took_ms;
    bool          is_listed;
    struct handover_counts counts;
    struct handover_report report;
};

void memory_home_init(struct memory_home *home, struct cache *cache, struct loop *loop);

/* All of these on the loop. Descriptors are taken. */

/* After cache_leave: lists what is in memory in that file; then, or if that cannot be, `listed` is called, maybe at once. */
void memory_home_list(struct memory_home *home, int list, void (*listed)(void));
/* The other has ended, or there is none: `listed` is not called any more. */
void memory_home_unlist(struct memory_home *home);
/* Takes over what another instance has listed, of its slab. Before the first client is let in. */
void memory_home_take(struct memory_home *home, int slab, int list);
/* The process is about to end. */
void memory_home_stop(struct memory_home *home);

#endif
