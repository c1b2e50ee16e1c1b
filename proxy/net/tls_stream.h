/* The TLS side of one connection: what connection.c asks for, and what the tls_*.c files share. Nobody else includes it.
 *
 * Phases: shaking hands (ssl, handshake) → open. A server's open stream has no ssl: tls_record.h seals and opens. A client's keeps it, for session tickets
 * come at any time, and origins are few.
 *
 * Invariants: 1. `out` is sealed and not yet taken by the kernel: nothing is sealed while it is not empty, except what goes out together with it; 2. `in` is
 * sealed input that was received with what came before it; `plain` is opened and waits for the owner; 3. what a writev reported as written is in the kernel
 * or in `out`.
 */
#ifndef NET_TLS_STREAM_H
#define NET_TLS_STREAM_H

#include "base/error.h"
#include "base/spill.h"
#include "proxy/net/connection.h"
#include "proxy/net/tls.h"
#include "proxy/net/tls_loop.h"
#include "proxy/net/tls_record.h"

/* What only the handshake needs. */
struct tls_handshake {
    struct record_secrets secrets;
    struct tls_server    *server; /* a reference */
    bool                  http2;  /* may be chosen */
    bool                  name_unknown;
    bool                  began;  /* the first byte was looked at */
    bool                  paused; /* in the middle of a step */
    uint64_t              client_policy;
    char                  name[256]; /* SNI, lower case; "": none */
    char                  failure[160]; /* for the log */
};

struct tls_stream {
    struct list           link; /* in the loop's queue */
    struct connection    *connection;
    struct tls_loop      *loop;
    SSL                  *ssl;
    struct tls_client    *client;    /* a reference */
    struct tls_handshake *handshake; /* NULL: over */
    struct tls_records    records;
    struct spill         *in, *plain, *out;
    struct tls_facts     *facts;
    struct deadline       parting; /* of a connection that nobody owns any more */
    uint32_t              written_ms; /* the loop's time; wraps */
    int                   fd;
    uint8_t               small_left;  /* records that begin a burst, see tls_transfer.c */
    uint8_t               idle_records; /* that carried nothing, since the last that did */
    bool                  is_client;
    bool                  has_written; /* at written_ms */
    bool                  ended;    /* the peer said that it ends (close_notify), or the kernel did */
    bool                  broken;
    bool                  ends;     /* after what is written next, if all of it is taken */
    bool                  shut;     /* we said that we end; with `fins`, the FIN follows when `out` is empty */
    bool                  fins;
    bool                  parts;    /* its connection is closed but for `out` */
    bool                  holds;    /* `out` may wait for the first answer: session tickets */
    bool                  looks;    /* the owner is told "readable" once though nothing is known to have come */
};

/* TLS_PAUSES: there is more to calculate, but others have something to say meanwhile. */
enum tls_progress { TLS_OVER, TLS_GOES_ON, TLS_PAUSES, TLS_FAILED };

/* tls_stream.c; all take over the stream's descriptor's bytes, never the descriptor. NULL: no memory. */
struct tls_stream *tls_stream_accept(struct connection *connection, struct tls_server *server, bool http2, struct bytes already_read);
struct tls_stream *tls_stream_connect(struct connection *connection, struct tls_client *client, struct bytes name);
void               tls_stream_free(struct tls_stream **stream);
/* One step of the handshake, as far as what came leads. */
enum tls_progress  tls_stream_shake(struct tls_stream *stream, enum error *error);
/* Sends `out`. False: the connection is broken. */
bool               tls_stream_flush(struct tls_stream *stream);
/* Sends what was sealed into the loop's buffer, behind `out`; keeps the rest. False: broken. */
bool               tls_stream_send(struct tls_stream *stream);
/* Appends to what tls_stream_send sends. */
void               tls_stream_put(struct tls_stream *stream, const void *bytes, size_t length);
/* Something can be read though the kernel may have nothing. */
bool               tls_stream_has_input(const struct tls_stream *stream);
/* close_notify, sent. */
void               tls_stream_say_end(struct tls_stream *stream);
/* Likewise, of an open server's stream, into the loop's buffer, which has room for it: tls_stream_send sends it. */
void               tls_stream_put_end(struct tls_stream *stream);

/* tls_transfer.c, tls_transfer_ssl.c: as connection_read and connection_writev. */
ssize_t tls_stream_read(struct tls_stream *stream, void *buffer, size_t capacity);
ssize_t tls_stream_writev(struct tls_stream *stream, const struct iovec *iov, int count);
ssize_t tls_ssl_read(struct tls_stream *stream, void *buffer, size_t capacity);
ssize_t tls_ssl_writev(struct tls_stream *stream, const struct iovec *iov, int count);
/* Takes what may have come besides answers (session tickets). True: something else is there. */
bool    tls_ssl_has_input(struct tls_stream *stream);

/* tls_server.c, tls_client.c: NULL: no memory. */
SSL *tls_server_ssl(struct tls_server *server);
SSL *tls_client_ssl(struct tls_client *client, struct bytes name);
enum error tls_client_error(const SSL *ssl);

/* tls_bio.c: reads the loop's `input`, or the socket of a client; writes by tls_stream_put. NULL: no memory. */
BIO *tls_bio_new(struct tls_stream *stream);

/* connection.c */
void connection_tls_turn(struct connection *connection);

static inline struct tls_stream *tls_stream_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

#endif
