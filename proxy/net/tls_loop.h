/* What the TLS streams of one loop share: buffers that idle connections do not own, and the queue of those that have something to do without the kernel
 * saying so: handshakes that wait for their turn, and input that was received with what came before it.
 *
 * A turn of the loop does handshakes for TLS_TURN_NS, one at least: a flood of them delays a hit by that much and one operation, not by all of them.
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
};

struct tls_loop {
    struct loop *loop;
    struct mail  mail;
    struct list  queue; /* of struct tls_stream */
    uint64_t     spent_ns; /* on handshakes, this turn */
    uint8_t     *in, *out;
    struct bytes input;      /* of the step of a handshake that is being made; in `in` */
    size_t       out_length; /* between two sends of one stream */
};

struct tls_stream;

/* The loop's; made when first asked for. */
struct tls_loop *tls_loop_of(struct loop *loop);
void             tls_loop_free(struct tls_loop **tls);
/* The stream has something to do: connection_tls_turn is called before the loop waits for events again. */
void             tls_loop_enqueue(struct tls_loop *tls, struct tls_stream *stream);
bool             tls_loop_has_time(const struct tls_loop *tls);
void             tls_loop_spend(struct tls_loop *tls, uint64_t from_ns);
uint64_t         tls_clock_ns(void);

#endif
