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

bool tls_loop_has_time(const struct tls_loop *tls)
{
    return tls->spent_ns < TLS_TURN_NS;
}

void tls_loop_spend(struct tls_loop *tls, uint64_t from_ns)
{
    tls->spent_ns += tls_clock_ns() - from_ns;
}

void tls_loop_enqueue(struct tls_loop *tls, struct tls_stream *stream)
{
    if (list_is_linked(&stream->link))
        return;
    list_push_back(&tls->queue, &stream->link);
    mail_post(&tls->mail);
}

/* Those that come to the queue meanwhile have the next turn, and so have handshakes when this turn's time is up. */
static void deliver(struct mail *mail)
{
    struct tls_loop *tls = LIST_OWNER(mail, struct tls_loop, mail);
    struct list present;
    list_init(&present);
    for (struct list *node; (node = list_pop_front(&tls->queue)) != NULL;)
        list_push_back(&present, node);
    for (struct list *node; (node = list_pop_front(&present)) != NULL;)
        connection_tls_turn(LIST_OWNER(node, struct tls_stream, link)->connection);
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
