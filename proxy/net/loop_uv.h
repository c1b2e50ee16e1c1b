/* What proxy/net's own files know of a loop: that it is a libuv loop. */
#ifndef NET_LOOP_UV_H
#define NET_LOOP_UV_H

#include "proxy/net/loop.h"

#include <uv.h>

uv_loop_t *loop_uv(struct loop *loop);
/* Where the loop keeps what its TLS streams share; NULL in it until there is one (tls_loop.h). */
struct tls_loop;
struct tls_loop **loop_tls(struct loop *loop);

/* `data` of each uv_poll_t is the uv_close_cb that frees its owner: loop_free closes with it what is left. */
static inline uv_close_cb poll_freed_by(const uv_handle_t *handle)
{
    return (uv_close_cb)(uintptr_t)handle->data;
}

static inline void poll_set_freed_by(uv_poll_t *poll, uv_close_cb freed)
{
    poll->data = (void *)(uintptr_t)freed;
}

static inline struct loop *loop_of_poll(const uv_poll_t *poll)
{
    return (struct loop *)poll->loop->data;
}

#endif
