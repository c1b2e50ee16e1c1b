/* See tls_loop.h. */
#include "proxy/net/tls_loop.h"
#include "proxy/net/loop_inside.h"
#include "proxy/net/tls_stream.h"

#include <stdlib.h>

uint64_t tls_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t tls_turn_ns(int64_t served_ms_ago)
{
    return served_ms_ago < TLS_BUSY_MS ? TLS_BUSY_TURN_NS : TLS_TURN_NS;
}

static uint64_t turn_ns(const struct tls_loop *tls)
{
    return tls_turn_ns(loop_now(tls->loop).ms - loop_served(tls->loop).ms);
}

bool tls_loop_is_crowded(const struct tls_loop *tls)
{
    return turn_ns(tls) == TLS_BUSY_TURN_NS && !(list_is_empty(&tls->begun) && list_is_empty(&tls->waiting));
}

bool tls_loop_has_time(const struct tls_loop *tls)
{
    return tls->spent_ns < turn_ns(tls);
}

void tls_loop_spend(struct tls_loop *tls, uint64_t from_ns)
{
    tls->spent_ns += tls_clock_ns() - from_ns;
}

void tls_loop_enqueue(struct tls_loop *tls, struct tls_stream *stream)
{
    if (list_is_linked(&stream->link))
        return;
    list_push_back(!stream->handshake ? &tls->queue : stream->ssl ? &tls->begun : &tls->waiting, &stream->link);
    mail_post(&tls->mail);
}

void tls_loop_enqueue_first(struct tls_loop *tls, struct tls_stream *stream)
{
    list_remove(&stream->link);
    list_push_front(&tls->begun, &stream->link);
    tls->spent_ns = TLS_TURN_NS;
    mail_post(&tls->mail);
}

static void take_all(struct list *from, struct list *to)
{
    list_init(to);
    for (struct list *node; (node = list_pop_front(from)) != NULL;)
        list_push_back(to, node);
}

static void turn_of_first(struct list *list)
{
    connection_tls_turn(LIST_OWNER(list_pop_front(list), struct tls_stream, link)->connection);
}

static void turn_of_each(struct list *list)
{
    while (!list_is_empty(list))
        turn_of_first(list);
}

static struct list *next_handshakes(struct tls_loop *tls)
{
    return !list_is_empty(&tls->begun) ? &tls->begun : !list_is_empty(&tls->waiting) ? &tls->waiting : NULL;
}

/* Open streams, handshakes, and those that these have opened: their request has usually come along. Who comes back to the queue meanwhile has the next turn, and
 * so have handshakes when this turn's time is up. */
static void deliver(struct mail *mail)
{
    struct tls_loop *tls = LIST_OWNER(mail, struct tls_loop, mail);
    struct list present, later, opened;
    take_all(&tls->queue, &present);
    turn_of_each(&present);
    take_all(&tls->queue, &later);
    for (struct list *next; (next = next_handshakes(tls)) != NULL && tls_loop_has_time(tls);)
        turn_of_first(next);
    take_all(&tls->queue, &opened);
    turn_of_each(&opened);
    for (struct list *node; (node = list_pop_front(&later)) != NULL;)
        list_push_back(&tls->queue, node);
    if (next_handshakes(tls) || !list_is_empty(&tls->queue))
        mail_post(&tls->mail);
}

static void on_turn_end(void *context)
{
    struct tls_loop *tls = context;
    tls->spent_ns = 0;
}

struct tls_loop *tls_loop_of(struct loop *loop)
{
    struct tls_loop **slot = loop_tls(loop);
    if (*slot)
        return *slot;
    struct tls_loop *tls = calloc(1, sizeof(*tls));
    uint8_t *in = malloc(TLS_IN_BYTES), *out = malloc(TLS_OUT_BYTES);
    if (!tls || !in || !out)
        abort();
    tls->loop = loop;
    tls->in = in;
    tls->out = out;
    list_init(&tls->queue);
    list_init(&tls->begun);
    list_init(&tls->waiting);
    mail_init(&tls->mail, loop, deliver);
    loop_at_turn_end(loop, on_turn_end, tls);
    return *slot = tls;
}

void tls_loop_free(struct tls_loop **tls)
{
    if (!*tls)
        return;
    free((*tls)->in);
    free((*tls)->out);
    free(*tls);
    *tls = NULL;
}
