/* What proxy/net's own files know of a loop beyond loop.h. */
#ifndef NET_LOOP_INSIDE_H
#define NET_LOOP_INSIDE_H

#include "proxy/net/loop.h"

struct readiness;
struct tls_loop;

struct readiness *loop_readiness(struct loop *loop);
/* Where the loop keeps what its TLS streams share; NULL in it until there is one (tls_loop.h). */
struct tls_loop **loop_tls(struct loop *loop);
/* An open connection has something to do: notes the time; and when that was last. */
void                loop_note_served(struct loop *loop);
struct monotonic_ms loop_served(const struct loop *loop);

#endif
