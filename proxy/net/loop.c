/* See loop.h.
 *
 * DESIGN. Descriptors are ours (readiness.h); libuv has the clock, the timer and the wake-up from other threads, and is embedded: its backend is one of the
 * descriptors, and it runs, without waiting, when that is readable or a timer is due. What a turn does is all in `turn`. One repeating timer makes a turn at
 * least every LOOP_TICK_MS. Mail from the loop's own thread writes to no eventfd, since its delivery comes anyway; what is posted later than that is found
 * before the wait, which then is none.
 */
#include "proxy/net/loop_inside.h"
#include "proxy/net/mailbox.h"
#include "proxy/net/readiness.h"
#include "proxy/net/tls_loop.h"
#include "proxy/net/wheel.h"

#include "base/http_date.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <uv.h>

enum { TURN_END_HOOKS_MAX = 16 };

struct turn_end_hook {
    void (*call)(void *context);
    void *context;
};

struct loop {
    struct readiness readiness;
    uv_loop_t uv;
    uv_timer_t tick;
    struct polled backend; /* libuv's */
    unsigned number;
    struct wall_seconds wall, date_of; /* date_of: what `date` says */
    char date[HTTP_DATE_LEN];
    struct turn_end_hook hooks[TURN_END_HOOKS_MAX];
    unsigned hook_count;
    char *read_buffer;
    struct tls_loop *tls;       /* NULL: no TLS yet */
    struct monotonic_ms served; /* when an open connection last had something to do */
    struct wheel wheel;

    /* Any thread's */
    _Alignas(64) struct mailbox mailbox;
    uv_async_t wake;
    _Atomic bool stopping;
    _Atomic pthread_t thread; /* that runs the loop; 0 before */
};

struct readiness *loop_readiness(struct loop *loop)
{
    return &loop->readiness;
}

struct tls_loop **loop_tls(struct loop *loop)
{
    return &loop->tls;
}

void loop_note_served(struct loop *loop)
{
    loop->served = loop_now(loop);
}

struct monotonic_ms loop_served(const struct loop *loop)
{
    return loop->served;
}

struct mailbox *loop_mailbox(struct loop *loop)
{
    return &loop->mailbox;
}

void loop_wake(struct loop *loop)
{
    if (atomic_load_explicit(&loop->thread, memory_order_relaxed) != pthread_self())
        uv_async_send(&loop->wake);
}

static void on_wake(uv_async_t *wake)
{
    (void)wake; /* the turn looks into the mailbox */
}

static void on_tick(uv_timer_t *tick)
{
    (void)tick; /* the turn advances the wheel */
}

static void run_libuv(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_NOWAIT);
}

static void on_backend_ready(struct polled *backend, unsigned ready)
{
    (void)ready;
    run_libuv(backend->loop);
}

static void backend_left(struct polled *backend)
{
    (void)backend; /* it is libuv's */
}

static const struct polled_kind backend_kind = {on_backend_ready, backend_left};

static int longest_wait_ms(struct loop *loop)
{
    bool is_busy = !mailbox_is_empty(&loop->mailbox) || atomic_load_explicit(&loop->stopping, memory_order_relaxed);
    return is_busy ? 0 : uv_backend_timeout(&loop->uv);
}

static void turn(struct loop *loop)
{
    struct epoll_event events[READINESS_EVENTS_MAX];
    int count = readiness_wait(&loop->readiness, events, longest_wait_ms(loop));
    uv_update_time(&loop->uv);
    loop->wall = clock_wall();
    readiness_dispatch(events, count);
    readiness_look(&loop->readiness);
    if (uv_backend_timeout(&loop->uv) == 0)
        run_libuv(loop);
    mailbox_deliver(&loop->mailbox);
    wheel_advance(&loop->wheel, loop_now(loop));
    for (unsigned i = 0; i < loop->hook_count; i++)
        loop->hooks[i].call(loop->hooks[i].context);
    readiness_free_closed(&loop->readiness);
}

static bool loop_start_handles(struct loop *loop)
{
    if (uv_async_init(&loop->uv, &loop->wake, on_wake) != 0)
        return false;
    uv_timer_init(&loop->uv, &loop->tick);
    uv_timer_start(&loop->tick, on_tick, LOOP_TICK_MS, LOOP_TICK_MS);
    run_libuv(loop); /* which tells its backend what to wait for in a turn of its own only */
    polled_init(&loop->backend, loop, uv_backend_fd(&loop->uv), &backend_kind);
    return polled_ask_now(&loop->backend, READY_READ);
}

struct loop *loop_new(unsigned number)
{
    struct loop *loop = aligned_alloc(_Alignof(struct loop), sizeof(*loop));
    char *read_buffer = malloc(LOOP_READ_BUFFER_BYTES);
    bool has_libuv = loop && uv_loop_init(&loop->uv) == 0;
    if (!read_buffer || !has_libuv || !readiness_init(&loop->readiness)) {
        if (has_libuv)
            uv_loop_close(&loop->uv);
        free(loop);
        free(read_buffer);
        return NULL;
    }
    loop->number = number;
    loop->wall = clock_wall();
    loop->date_of = (struct wall_seconds){-1};
    loop->hook_count = 0;
    loop->read_buffer = read_buffer;
    loop->tls = NULL;
    loop->served = (struct monotonic_ms){INT64_MIN / 2};
    atomic_init(&loop->mailbox.newest, NULL);
    atomic_init(&loop->stopping, false);
    atomic_init(&loop->thread, 0);
    wheel_init(&loop->wheel, loop_now(loop));
    if (!loop_start_handles(loop))
        loop_free(&loop);
    return loop;
}

void loop_run(struct loop *loop)
{
    atomic_store_explicit(&loop->thread, pthread_self(), memory_order_relaxed);
    do
        turn(loop);
    while (!atomic_load_explicit(&loop->stopping, memory_order_acquire));
    atomic_store_explicit(&loop->thread, 0, memory_order_relaxed);
    atomic_store_explicit(&loop->stopping, false, memory_order_relaxed);
}

void loop_stop(struct loop *loop)
{
    atomic_store_explicit(&loop->stopping, true, memory_order_release);
    uv_async_send(&loop->wake);
}

static void close_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    uv_close(handle, NULL);
}

void loop_free(struct loop **loop_ptr)
{
    struct loop *loop = *loop_ptr;
    *loop_ptr = NULL;
    if (!loop)
        return;
    readiness_end(&loop->readiness);
    uv_walk(&loop->uv, close_handle, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    int busy = uv_loop_close(&loop->uv);
    assert(busy == 0);
    (void)busy;
    tls_loop_free(&loop->tls);
    free(loop->read_buffer);
    free(loop);
}

unsigned loop_number(const struct loop *loop)
{
    return loop->number;
}

struct monotonic_ms loop_now(const struct loop *loop)
{
    return (struct monotonic_ms){(int64_t)uv_now(&loop->uv)}; /* CLOCK_MONOTONIC, read by libuv when the wait is over */
}

struct wall_seconds loop_wall(const struct loop *loop)
{
    return loop->wall;
}

const char *loop_http_date(struct loop *loop)
{
    if (loop->date_of.s != loop->wall.s) {
        loop->date_of = loop->wall;
        http_date_format(loop->wall, loop->date);
    }
    return loop->date;
}

char *loop_read_buffer(struct loop *loop)
{
    return loop->read_buffer;
}

void loop_set_deadline(struct loop *loop, struct deadline *deadline, int64_t ms, void (*expired)(struct deadline *))
{
    deadline->expired = expired;
    wheel_set(&loop->wheel, deadline, monotonic_add(loop_now(loop), ms));
}

void loop_at_turn_end(struct loop *loop, void (*hook)(void *context), void *context)
{
    assert(loop->hook_count < TURN_END_HOOKS_MAX);
    loop->hooks[loop->hook_count++] = (struct turn_end_hook){hook, context};
}
