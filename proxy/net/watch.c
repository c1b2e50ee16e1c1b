/* Watches: descriptors that somebody else owns and reads (loop.h). */
#include "proxy/net/loop_uv.h"

#include <assert.h>
#include <stdlib.h>

struct watch {
    uv_poll_t poll;
    void (*readable)(void *context);
    void *context;
};

static void watch_freed(uv_handle_t *handle)
{
    free(LIST_OWNER(handle, struct watch, poll));
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct watch *watch = LIST_OWNER(poll, struct watch, poll);
    (void)events;
    watch->readable(watch->context);
    /* On an error libuv stops polling; whoever owns the descriptor finds it out by reading. */
    if (status < 0 && !uv_is_closing((uv_handle_t *)poll))
        uv_poll_start(poll, UV_READABLE, on_readable);
}

struct watch *loop_watch(struct loop *loop, int fd, void (*readable)(void *context), void *context)
{
    struct watch *watch = malloc(sizeof(*watch));
    if (!watch)
        return NULL;
    if (uv_poll_init(loop_uv(loop), &watch->poll, fd) != 0) {
        free(watch);
        return NULL;
    }
    poll_set_freed_by(&watch->poll, watch_freed);
    watch->readable = readable;
    watch->context = context;
    int failed = uv_poll_start(&watch->poll, UV_READABLE, on_readable);
    assert(!failed);
    (void)failed;
    return watch;
}

void watch_free(struct watch **watch_ptr)
{
    struct watch *watch = *watch_ptr;
    *watch_ptr = NULL;
    if (watch)
        uv_close((uv_handle_t *)&watch->poll, watch_freed);
}
