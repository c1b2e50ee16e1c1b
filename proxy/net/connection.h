/* A stream connection on a loop: TCP or Unix, plain or with TLS. Readiness-based: the owner is told that it can read or write and does so itself,
 * into and from memory of its choosing. No call here keeps the caller's memory, and none on a plain connection allocates once it is made.
 *
 * Phases: (connecting →) open → closing → freed by the loop. After connection_close no callback comes.
 */
#ifndef NET_CONNECTION_H
#define NET_CONNECTION_H

#include "base/error.h"
#include "proxy/net/loop.h"
#include "proxy/net/tls.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

struct connection;

union socket_address {
    struct sockaddr         any;
    struct sockaddr_in      in;
    struct sockaddr_in6     in6;
    struct sockaddr_storage storage;
};

/* "127.0.0.1" / "::1" / "unix:"; no port. Returns the length written. */
size_t socket_address_format(const union socket_address *address, char *out, size_t size);

struct connection_events {
    /* Level-triggered while wanted. The owner may close the connection from inside. */
    void (*readable)(void *owner);
    void (*writable)(void *owner);
    /* Connecting and TLS handshakes only: ERROR_OK, or why not (ORIGIN_REFUSED, ORIGIN_UNREACHABLE, TLS_…, ORIGIN_TLS_…). */
    void (*connected)(void *owner, enum error error);
    /* May be NULL. While nothing is wanted: the peer reset the connection. A FIN alone is not told: a half-closed client still gets its response. */
    void (*broken)(void *owner);
};

/* Takes an accepted, non-blocking socket. NULL: it could not be polled, and is closed. */
struct connection *connection_adopt(struct loop *loop, int fd, const struct connection_events *events, void *owner);
/* Begins to connect; `connected` follows, never from inside. NULL: no descriptor left. No timeout of its own. */
struct connection *connection_connect(struct loop *loop, const union socket_address *to, socklen_t length,
                                      const struct connection_events *events, void *owner);

/* An open connection goes on with TLS, as the server: the handshake runs by itself, a few in each turn of the loop, and `connected` follows, never from
 * inside. Until then nothing may be read or written; how long it may take is the owner's affair. `http2`: "h2" is offered besides "http/1.1".
 * `already_read`: what was received of it; copied. Afterwards reading and writing are as before: what was decrypted, or came with what was, counts as
 * readable; what was encrypted and is not taken by the kernel is kept, and is then sent even if the connection is closed (within a bound), but not if it
 * is reset. False: no memory. When `connected` brings TLS_PLAIN_HTTP, nothing was sent, and the connection is a plain one again. */
bool connection_start_tls(struct connection *connection, struct tls_server *server, bool http2, struct bytes already_read);
/* Likewise as a client of the server of that name, which is asked for (SNI) and, as the settings of `client` say, verified. An end of the stream without
 * close_notify reads as CONNECTION_ERROR. */
bool connection_start_tls_client(struct connection *connection, struct tls_client *client, struct bytes server_name);
/* NULL: plain, or the handshake is not over. Valid as long as the connection. */
const struct tls_facts *connection_tls(const struct connection *connection);
/* In `connected` only: OpenSSL's words for what failed; "": none. */
const char *connection_tls_failure(const struct connection *connection);

void connection_set_owner(struct connection *connection, const struct connection_events *events, void *owner);

enum { WANT_NOTHING = 0, WANT_READ = 1, WANT_WRITE = 2 };

/* Which callbacks are wanted from now on. Costs a system call only when it changes what the kernel was told: what is wanted no more is told when it
 * happens all the same. Starts as WANT_NOTHING. */
void connection_want(struct connection *connection, unsigned wants);
unsigned connection_wants(const struct connection *connection);

enum { CONNECTION_EOF = 0, CONNECTION_AGAIN = -1, CONNECTION_ERROR = -2 };

/* Bytes read, or one of the above. One recv(2). */
ssize_t connection_read(struct connection *connection, void *buffer, size_t capacity);
/* As connection_read, but they are still there to be read. Not with TLS. */
ssize_t connection_peek(struct connection *connection, void *buffer, size_t capacity);
/* Bytes written (possibly fewer than asked), CONNECTION_AGAIN or CONNECTION_ERROR. One sendmsg(2)/send(2). */
ssize_t connection_writev(struct connection *connection, const struct iovec *iov, int count);
/* `more`: more follows at once (MSG_MORE). */
ssize_t connection_write(struct connection *connection, const void *bytes, size_t length, bool more);

/* What is written next is the last, if all of it is taken: with TLS its end (close_notify) goes with it. Then nothing more may be written, and the connection is
 * to be shut down or closed as ever. */
void connection_expect_end(struct connection *connection);
/* No more from us (close_notify, TCP FIN); reading goes on. */
void connection_shutdown(struct connection *connection);
/* Nulls. Whatever the kernel still holds of what was written is sent. */
void connection_close(struct connection **connection);
/* Connections that were closed and still send what was kept, of all loops: a process that ends before they do cuts them off. Any thread. */
unsigned connections_parting(void);
/* Nulls. The peer sees a reset: it must not mistake what it got for a whole (RFC 9112 §8). */
void connection_reset(struct connection **connection);

int  connection_fd(const struct connection *connection);
struct loop *connection_loop(const struct connection *connection);
void connection_peer(const struct connection *connection, union socket_address *address);
/* Whether the kernel has unread bytes, an end of file or an error for us: a kept origin connection in that state must not be reused. */
bool connection_has_input(const struct connection *connection);
/* Bytes written that the peer's kernel has not taken yet; with TLS as they are sent. */
size_t connection_queued_bytes(const struct connection *connection);

#endif
