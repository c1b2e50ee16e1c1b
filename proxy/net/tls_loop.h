/* What the TLS streams of one loop share: buffers that idle connections do not own, and the queue of those that have something to do without the kernel
 * saying so: handshakes that wait for their turn, and input that was received with what came before it.
 *
 * Handshakes come last in a turn of the loop, in the order of their coming, one step at least (a step is what a client's flight leads to: of its ClientHello a
 * key exchange and a signature). While other connections have something to say, it is one, and a ClientHello's is made in three parts (tls_stream.c) where more
 * of them wait: what comes from others meanwhile is served before the next, and so a hit waits for a third of a step and not for a flood of them. Where there
 * are only handshakes, a turn does them for TLS_TURN_NS. Those that wait for long are not polled meanwhile.
 *
 * Handshakes that have begun come before those that have not: each has some 30 KB of OpenSSL's until it is over, and of many at once the heap would keep holes.
 */
#ifndef NET_TLS_LOOP_H
#define NET_TLS_LOOP_H

#include "base/bytes.h"
#include "proxy/net/loop.h"

#include <stdint.h>

enum {
    TLS_IN_BYTES = 80 * 1024,  /* more than a caller reads at once, sealed */
    TLS_OUT_BYTES = 66 * 1024, /* four whole records: what leaves in one send(2) */
    TLS_TURN_NS = 500 * 1000,
    TLS_BUSY_TURN_NS = 20 * 1000, /* less than a step that calculates: those that only find that something is missing share a turn */
    TLS_BUSY_MS = 100,            /* after what other connections had to say; they are served before they are slowed down by what a longer turn would save */
};

/* Of a ClientHello's step, in a crowd. The sanitizers know one stack a thread. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { TLS_STEP_PARTS = 1 };
#else
enum { TLS_STEP_PARTS = 3 };
#endif

struct tls_loop {
    struct loop *loop;
    struct mail  mail;
    struct list  queue;   /* of struct tls_stream: those that are open */
    struct list  begun;   /* likewise: whose handshake has something to do */
    struct list  waiting; /* likewise, and has not begun */
    uint64_t     spent_ns; /* on handshakes, this turn */
    uint8_t     *in, *out;
    struct bytes input;      /* of the step of a handshake that is being made; in `in` */
    size_t       out_length; /* between two sends of one stream */
    uint32_t     scarce_ms;  /* the loop's time at which the kernel took less than it had room for, if it ever did; wraps */
    bool         was_scarce;
};

struct tls_stream;

/* The loop's; made when first asked for. */
struct tls_loop *tls_loop_of(struct loop *loop);
void             tls_loop_free(struct tls_loop **tls);
/* The stream has something to do: connection_tls_turn is called before the loop waits for events again. */
void             tls_loop_enqueue(struct tls_loop *tls, struct tls_stream *stream);
/* Likewise, before all others, in the next turn: its step is half made. */
void             tls_loop_enqueue_first(struct tls_loop *tls, struct tls_stream *stream);
/* Whether other connections had something to say lately, and other handshakes wait. */
bool             tls_loop_is_crowded(const struct tls_loop *tls);
/* For how long a turn may make handshakes, where other connections had something to say so long ago. */
uint64_t         tls_turn_ns(int64_t served_ms_ago);
/* Whether another step of a handshake has its place in this turn. */
bool             tls_loop_has_time(const struct tls_loop *tls);
void             tls_loop_spend(struct tls_loop *tls, uint64_t from_ns);
uint64_t         tls_clock_ns(void);

#endif
