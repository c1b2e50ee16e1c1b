/* Watches: descriptors that somebody else owns and reads (loop.h). */
#include "proxy/net/loop.h"
#include "proxy/net/readiness.h"

#include <stdlib.h>

struct watch {
    struct polled polled;
    void (*readable)(void *context);
    void *context;
};

/* An error is readable too: whoever owns the descriptor finds it out by reading. */
static void on_ready(struct polled *polled, unsigned ready)
{
    struct watch *watch = LIST_OWNER(polled, struct watch, polled);
    (void)ready;
    watch->readable(watch->context);
}

static void freed(struct polled *polled)
{
    free(LIST_OWNER(polled, struct watch, polled));
}

static const struct polled_kind watch_kind = {on_ready, freed};

struct watch *loop_watch(struct loop *loop, int fd, void (*readable)(void *context), void *context)
{
    struct watch *watch = malloc(sizeof(*watch));
    if (!watch)
        return NULL;
    watch->readable = readable;
    watch->context = context;
    polled_init(&watch->polled, loop, fd, &watch_kind);
    if (!polled_ask_now(&watch->polled, READY_READ)) {
        list_remove(&watch->polled.link);
        free(watch);
        return NULL;
    }
    return watch;
}

void watch_free(struct watch **watch_ptr)
{
    struct watch *watch = *watch_ptr;
    *watch_ptr = NULL;
    if (watch)
        polled_leave(&watch->polled);
}
