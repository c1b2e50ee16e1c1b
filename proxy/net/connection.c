/* See connection.h.
 *
 * DESIGN. `wants` is what the owner wants, `polled.asked` what the kernel is asked for (readiness.h); they are made equal lazily. A want that was dropped is
 * told only when it happens all the same: a client that waits for its response usually sends nothing, and then a whole exchange costs no epoll_ctl. When
 * bytes or a FIN do come unwanted, only errors are polled for from then on, so that a reset is still noticed; and nothing at all should that spin.
 *
 * With TLS (tls_stream.h) there are two more reasons to do something: the handshake, and encrypted bytes that the kernel did not take, are this module's
 * affair and not the owner's; and what OpenSSL or we hold makes a connection readable without the kernel, by way of the loop's queue (tls_loop.h).
 */
#include "proxy/net/connection.h"
#include "proxy/net/loop_inside.h"
#include "proxy/net/readiness.h"
#include "proxy/net/tls_stream.h"

#include "base/bytes.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { GATHERED_MAX_BYTES = 4096 };

_Static_assert((int)WANT_READ == (int)READY_READ && (int)WANT_WRITE == (int)READY_WRITE, "one is asked for as the other");

struct connection {
    struct polled polled; /* its fd is -1 once closed */
    const struct connection_events *events;
    void *owner;
    struct tls_stream *tls; /* NULL: plain */
    uint8_t wants;
    bool connecting;
    uint8_t refused; /* enum error: connect failed at once, and is reported with the first event */
};

/* A connection that was closed with encrypted bytes left is kept that long for them. */
enum { PARTING_MS = 10 * 1000 };

/* What inet_ntop does with printf: each line of the access log has one. */
static struct bytes format_ipv4(const struct in_addr *ip, char text[INET_ADDRSTRLEN])
{
    const unsigned char *octets = (const unsigned char *)&ip->s_addr;
    char *at = bytes_put_decimal(text, octets[0]);
    for (unsigned i = 1; i < 4; i++) {
        *at++ = '.';
        at = bytes_put_decimal(at, octets[i]);
    }
    return bytes_from(text, (size_t)(at - text));
}

size_t socket_address_format(const union socket_address *address, char *out, size_t size)
{
    char text[INET6_ADDRSTRLEN];
    struct bytes name = BYTES("unix:");
    if (address->any.sa_family == AF_INET)
        name = format_ipv4(&address->in.sin_addr, text);
    else if (address->any.sa_family == AF_INET6)
        name = bytes_from_string(inet_ntop(AF_INET6, &address->in6.sin6_addr, text, sizeof(text)));
    size_t length = name.len < size ? name.len : size;
    memcpy(out, name.at, length);
    return length;
}

static bool is_closed(const struct connection *connection)
{
    return connection->polled.fd < 0;
}

static bool is_shaking_hands(const struct connection *connection)
{
    return connection->tls && connection->tls->handshake;
}

static void ask(struct connection *connection, unsigned ready)
{
    polled_ask(&connection->polled, ready);
}

/* What the kernel should be asked for, all reasons together. */
static unsigned needs_of(const struct connection *connection)
{
    const struct tls_stream *tls = connection->tls;
    if (!tls)
        return connection->wants;
    return (tls->handshake ? WANT_READ : connection->wants) | (tls->out && !tls->holds ? WANT_WRITE : 0);
}

static void ask_needs(struct connection *connection)
{
    unsigned needs = needs_of(connection);
    if (needs & ~(unsigned)connection->polled.asked)
        ask(connection, needs);
}

static bool is_broken(const struct connection *connection)
{
    struct pollfd state = {.fd = connection->polled.fd};
    return poll(&state, 1, 0) == 1 && (state.revents & (POLLERR | POLLHUP));
}

static void on_connected(struct connection *connection)
{
    enum error error = connection->refused;
    int failure = 0;
    socklen_t length = sizeof(failure);
    connection->connecting = false;
    if (error == ERROR_OK) {
        getsockopt(connection->polled.fd, SOL_SOCKET, SO_ERROR, &failure, &length);
        error = failure == 0 ? ERROR_OK : failure == ECONNREFUSED ? ERROR_ORIGIN_REFUSED : ERROR_ORIGIN_UNREACHABLE;
    }
    connection->events->connected(connection->owner, error);
    if (!is_closed(connection))
        connection_want(connection, connection->wants);
}

/* Something came that nobody wants now. `is_news`: the owner was told nothing of this event. */
static void settle_unwanted(struct connection *connection, bool is_news)
{
    if (needs_of(connection)) {
        ask(connection, needs_of(connection));
    } else if (is_broken(connection)) {
        ask(connection, 0);
        if (is_news && connection->events->broken)
            connection->events->broken(connection->owner);
    } else {
        ask(connection, connection->polled.asked == READY_ERRORS ? 0 : READY_ERRORS);
    }
}

/* ---- TLS: events ------------------------------------------------------------------------------------------------------------------------ */

static void tls_shake(struct connection *connection)
{
    enum error error;
    struct tls_stream *tls = connection->tls;
    enum tls_progress progress = tls_stream_shake(tls, &error);
    if (progress == TLS_PAUSES) {
        tls_loop_enqueue_first(tls->loop, tls);
        return;
    }
    if (progress == TLS_GOES_ON) {
        ask_needs(connection);
        return;
    }
    if (progress == TLS_OVER) {
        connection->wants = WANT_NOTHING;
        ask(connection, WANT_READ);
        tls_loop_enqueue(tls->loop, tls); /* for what came behind the handshake, and what it still has to send */
    } else if (error == ERROR_TLS_PLAIN_HTTP) {
        connection->tls = NULL;
    }
    connection->events->connected(connection->owner, error);
    if (error == ERROR_TLS_PLAIN_HTTP)
        tls_stream_free(&tls);
}

/* Something may be readable without the kernel saying so. */
static void tls_watch_input(struct connection *connection)
{
    if ((connection->wants & WANT_READ) && tls_stream_has_input(connection->tls))
        tls_loop_enqueue(connection->tls->loop, connection->tls);
}

static void tls_readable(struct connection *connection)
{
    connection->events->readable(connection->owner);
    if (!is_closed(connection) && connection->tls)
        tls_watch_input(connection);
}

void connection_tls_turn(struct connection *connection)
{
    if (is_shaking_hands(connection)) {
        tls_shake(connection);
        return;
    }
    if ((connection->wants & WANT_READ) && tls_stream_has_input(connection->tls))
        tls_readable(connection);
    if (is_closed(connection) || !connection->tls || !connection->tls->holds)
        return;
    tls_stream_flush(connection->tls);
    ask_needs(connection);
}

/* The kernel has room again: first for what we hold. False: it has none left for the owner. */
static bool tls_flush(struct connection *connection, bool failed)
{
    struct tls_stream *tls = connection->tls;
    return !tls->out || (tls_stream_flush(tls) && !tls->out) || tls->broken || failed;
}

static void on_tls_ready(struct connection *connection, bool failed, unsigned ready)
{
    if (is_shaking_hands(connection)) {
        bool has_waited = list_is_linked(&connection->tls->link); /* for its turn, since another turn of the loop */
        if ((ready & READY_WRITE) && connection->tls->out)
            tls_stream_flush(connection->tls);
        if (failed || (ready & READY_READ))
            tls_loop_enqueue(connection->tls->loop, connection->tls);
        ask(connection, has_waited ? WANT_NOTHING : needs_of(connection));
        return;
    }
    loop_note_served(connection->polled.loop);
    unsigned needs = needs_of(connection);
    ready = failed ? WANT_READ | WANT_WRITE : ready;
    bool unwanted = failed || (ready & ~needs), is_news = !(ready & needs);
    bool has_room = (ready & WANT_WRITE) && tls_flush(connection, failed);
    if (ready & connection->wants & WANT_READ)
        tls_readable(connection);
    if (!is_closed(connection) && has_room && (connection->wants & WANT_WRITE))
        connection->events->writable(connection->owner);
    if (!is_closed(connection) && (unwanted || (ready & ~needs_of(connection))))
        settle_unwanted(connection, is_news);
}

static void on_ready(struct polled *polled, unsigned ready)
{
    struct connection *connection =
        LIST_OWNER(polled, struct connection, polled); /* lives until this turn of the loop ends, closed or not */
    bool failed = ready & READY_ERRORS;
    if (connection->connecting) {
        on_connected(connection);
        return;
    }
    if (connection->tls) {
        on_tls_ready(connection, failed, ready);
        return;
    }
    loop_note_served(polled->loop);
    ready = failed ? WANT_READ | WANT_WRITE : ready;
    bool unwanted = failed || (ready & ~(unsigned)connection->wants), is_news = !(ready & connection->wants);
    if (ready & connection->wants & WANT_READ)
        connection->events->readable(connection->owner);
    if (!is_closed(connection) && (ready & connection->wants & WANT_WRITE))
        connection->events->writable(connection->owner);
    if (!is_closed(connection) && unwanted)
        settle_unwanted(connection, is_news);
}

static void connection_freed(struct polled *polled)
{
    struct connection *connection = LIST_OWNER(polled, struct connection, polled);
    if (!is_closed(connection))
        close(connection->polled.fd); /* loop_free found it open */
    tls_stream_free(&connection->tls);
    free(connection);
}

static const struct polled_kind connection_kind = {on_ready, connection_freed};

static struct connection *connection_new(struct loop *loop, int fd, const struct connection_events *events, void *owner)
{
    struct connection *connection = malloc(sizeof(*connection));
    if (!connection) {
        close(fd);
        return NULL;
    }
    polled_init(&connection->polled, loop, fd, &connection_kind);
    connection->events = events;
    connection->owner = owner;
    connection->tls = NULL;
    connection->wants = WANT_NOTHING;
    connection->connecting = false;
    connection->refused = ERROR_OK;
    return connection;
}

struct connection *connection_adopt(struct loop *loop, int fd, const struct connection_events *events, void *owner)
{
    struct connection *connection = connection_new(loop, fd, events, owner);
    if (connection)
        connection->polled.is_new = true;
    return connection;
}

struct connection *connection_connect(struct loop *loop, const union socket_address *to, socklen_t length,
                                      const struct connection_events *events, void *owner)
{
    static const int on = 1;
    int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return NULL;
    if (to->any.sa_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    bool failed = connect(fd, &to->any, length) != 0 && errno != EINPROGRESS;
    bool refused = errno == ECONNREFUSED;
    struct connection *connection = connection_new(loop, fd, events, owner);
    if (!connection)
        return NULL;
    if (failed) /* reported by the loop: a socket that is not connected polls as hung up at once */
        connection->refused = refused ? ERROR_ORIGIN_REFUSED : ERROR_ORIGIN_UNREACHABLE;
    connection->connecting = true;
    ask(connection, WANT_WRITE);
    return connection;
}

void connection_set_owner(struct connection *connection, const struct connection_events *events, void *owner)
{
    connection->events = events;
    connection->owner = owner;
}

void connection_want(struct connection *connection, unsigned wants)
{
    connection->wants = (uint8_t)wants;
    if (connection->tls) {
        ask_needs(connection);
        if (!is_shaking_hands(connection))
            tls_watch_input(connection);
        return;
    }
    if (!connection->connecting && (wants & ~(unsigned)connection->polled.asked))
        ask(connection, wants);
}

unsigned connection_wants(const struct connection *connection)
{
    return connection->wants;
}

static ssize_t outcome(ssize_t result)
{
    if (result >= 0)
        return result;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? CONNECTION_AGAIN : CONNECTION_ERROR;
}

ssize_t connection_read(struct connection *connection, void *buffer, size_t capacity)
{
    if (connection->tls)
        return tls_stream_read(connection->tls, buffer, capacity);
    return outcome(recv(connection->polled.fd, buffer, capacity, 0)); /* a socket's own call: read(2) goes by way of the file */
}

ssize_t connection_peek(struct connection *connection, void *buffer, size_t capacity)
{
    return outcome(recv(connection->polled.fd, buffer, capacity, MSG_PEEK | MSG_DONTWAIT));
}

/* What is kept is ours to send. */
static ssize_t tls_writev(struct connection *connection, const struct iovec *iov, int count)
{
    ssize_t written = tls_stream_writev(connection->tls, iov, count);
    if (connection->tls->out)
        ask_needs(connection);
    return written == 0 ? CONNECTION_AGAIN : written;
}

/* Copies the pieces together, if all of them fit. Returns their bytes; 0: they do not. */
static size_t gather(const struct iovec *iov, int count, char *out, size_t capacity)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += iov[i].iov_len;
    if (bytes > capacity)
        return 0;
    for (int i = 0; i < count; i++)
        out = bytes_put(out, bytes_from(iov[i].iov_base, iov[i].iov_len));
    return bytes;
}

ssize_t connection_writev(struct connection *connection, const struct iovec *iov, int count)
{
    if (connection->tls)
        return tls_writev(connection, iov, count);
    /* A small response costs less copied here than as a list that the kernel copies, checks and walks. */
    char small[GATHERED_MAX_BYTES];
    size_t bytes = gather(iov, count, small, sizeof(small));
    if (bytes > 0)
        return outcome(send(connection->polled.fd, small, bytes, MSG_NOSIGNAL));
    /* sendmsg is a writev that can be told not to raise SIGPIPE. */
    struct msghdr message = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
    return outcome(sendmsg(connection->polled.fd, &message, MSG_NOSIGNAL));
}

ssize_t connection_write(struct connection *connection, const void *bytes, size_t length, bool more)
{
    const struct iovec iov = {(void *)bytes, length};
    if (connection->tls)
        return tls_writev(connection, &iov, 1);
    return outcome(send(connection->polled.fd, bytes, length, MSG_NOSIGNAL | (more ? MSG_MORE : 0)));
}

void connection_expect_end(struct connection *connection)
{
    if (connection->tls)
        connection->tls->ends = true;
}

void connection_shutdown(struct connection *connection)
{
    struct tls_stream *tls = connection->tls;
    if (!tls) {
        shutdown(connection->polled.fd, SHUT_WR);
        return;
    }
    tls_stream_say_end(tls);
    if (!tls->out) {
        shutdown(connection->polled.fd, SHUT_WR);
        return;
    }
    tls->fins = true;
    ask_needs(connection);
}

static _Atomic unsigned parting; /* of all loops */

unsigned connections_parting(void)
{
    return atomic_load_explicit(&parting, memory_order_relaxed);
}

static void close_now(struct connection *connection)
{
    if (connection->tls && connection->tls->parts)
        atomic_fetch_sub_explicit(&parting, 1, memory_order_relaxed);
    tls_stream_free(&connection->tls);
    polled_close(&connection->polled);
}

/* ---- TLS: parting ----------------------------------------------------------------------------------------------------------------------- */

static void part(void *owner)
{
    struct connection *connection = owner;
    if (connection->tls->broken || !connection->tls->out)
        close_now(connection);
}

static void part_late(struct deadline *deadline)
{
    close_now(LIST_OWNER(deadline, struct tls_stream, parting)->connection);
}

static const struct connection_events parting_events = {.writable = part, .broken = part};

/* Whether the connection stays for a while, owned by nobody, to send what it keeps. */
static bool begin_parting(struct connection *connection)
{
    struct tls_stream *tls = connection->tls;
    if (tls->broken || tls->handshake || connection->connecting)
        return false;
    if (!tls->ended)
        tls_stream_say_end(tls);
    if (!tls->out || tls->broken || !tls_stream_flush(tls) || !tls->out)
        return false;
    tls->parts = true;
    atomic_fetch_add_explicit(&parting, 1, memory_order_relaxed);
    connection_set_owner(connection, &parting_events, connection);
    connection_want(connection, WANT_WRITE);
    loop_set_deadline(connection_loop(connection), &tls->parting, PARTING_MS, part_late);
    return true;
}

void connection_close(struct connection **connection_ptr)
{
    struct connection *connection = *connection_ptr;
    *connection_ptr = NULL;
    if (connection && !(connection->tls && begin_parting(connection)))
        close_now(connection);
}

void connection_reset(struct connection **connection_ptr)
{
    static const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    struct connection *connection = *connection_ptr;
    *connection_ptr = NULL;
    if (!connection)
        return;
    setsockopt(connection->polled.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close_now(connection);
}

/* ---- TLS: from outside ------------------------------------------------------------------------------------------------------------------ */

bool connection_start_tls(struct connection *connection, struct tls_server *server, bool http2, struct bytes already_read)
{
    connection->tls = tls_stream_accept(connection, server, http2, already_read);
    if (!connection->tls)
        return false;
    ask_needs(connection);
    if (already_read.len > 0)
        tls_loop_enqueue(connection->tls->loop, connection->tls);
    return true;
}

bool connection_start_tls_client(struct connection *connection, struct tls_client *client, struct bytes server_name)
{
    connection->tls = tls_stream_connect(connection, client, server_name);
    if (!connection->tls)
        return false;
    ask_needs(connection);
    tls_loop_enqueue(connection->tls->loop, connection->tls); /* who connects speaks first */
    return true;
}

const struct tls_facts *connection_tls(const struct connection *connection)
{
    return connection->tls ? connection->tls->facts : NULL;
}

const char *connection_tls_failure(const struct connection *connection)
{
    return is_shaking_hands(connection) ? connection->tls->handshake->failure : "";
}

int connection_fd(const struct connection *connection)
{
    return connection->polled.fd;
}

struct loop *connection_loop(const struct connection *connection)
{
    return connection->polled.loop;
}

void connection_peer(const struct connection *connection, union socket_address *address)
{
    socklen_t length = sizeof(*address);
    memset(address, 0, sizeof(*address));
    getpeername(connection->polled.fd, &address->any, &length);
}

bool connection_has_input(const struct connection *connection)
{
    char byte;
    struct tls_stream *tls = connection->tls;
    if (tls && tls->ssl && !tls->handshake)
        return tls_ssl_has_input(tls);
    if (tls && (tls_stream_has_input(tls) || tls->in || (tls->handshake && tls->handshake->began)))
        return true;
    ssize_t got = recv(connection->polled.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

size_t connection_queued_bytes(const struct connection *connection)
{
    int bytes = 0;
    size_t kept = connection->tls ? spill_bytes(connection->tls->out).len : 0;
    return (ioctl(connection->polled.fd, SIOCOUTQ, &bytes) == 0 ? (size_t)bytes : 0) + kept;
}
