/* See connection.h.
 *
 * DESIGN. `wants` is what the owner asked for, `told` what the kernel was told; they are made equal lazily. Telling costs two epoll_ctl (libuv removes and
 * adds), so a want that was dropped is told only when it happens all the same: a client that waits for its response usually sends nothing, and then a
 * whole exchange costs none. When bytes or a FIN do come unwanted, only errors are polled for from then on (as "priority" data: errors and hang-ups are
 * reported whatever was asked), so that a reset is still noticed; and nothing at all when urgent data make that spin.
 */
#include "proxy/net/connection.h"
#include "proxy/net/loop_uv.h"

#include "base/bytes.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { TOLD_ERRORS = 4 }; /* with WANT_READ and WANT_WRITE */

struct connection {
    uv_poll_t poll;
    const struct connection_events *events;
    void *owner;
    int fd; /* -1 once closed */
    uint8_t wants, told;
    bool connecting;
    uint8_t refused; /* enum error: connect failed at once, and is reported with the first event */
};

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

static void on_event(uv_poll_t *poll, int status, int events);

static void tell(struct connection *connection, unsigned told)
{
    if (connection->told == told)
        return;
    connection->told = (uint8_t)told;
    if (told == 0) {
        uv_poll_stop(&connection->poll);
        return;
    }
    int events = (told & WANT_READ ? UV_READABLE : 0) | (told & WANT_WRITE ? UV_WRITABLE : 0) | (told & TOLD_ERRORS ? UV_PRIORITIZED : 0);
    int failed = uv_poll_start(&connection->poll, events, on_event);
    assert(!failed);
    (void)failed;
}

static bool is_closed(const struct connection *connection)
{
    return connection->fd < 0;
}

static bool is_broken(const struct connection *connection)
{
    struct pollfd state = {.fd = connection->fd};
    return poll(&state, 1, 0) == 1 && (state.revents & (POLLERR | POLLHUP));
}

static void on_connected(struct connection *connection)
{
    enum error error = connection->refused;
    int failure = 0;
    socklen_t length = sizeof(failure);
    connection->connecting = false;
    if (error == ERROR_OK) {
        getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &failure, &length);
        error = failure == 0 ? ERROR_OK : failure == ECONNREFUSED ? ERROR_ORIGIN_REFUSED : ERROR_ORIGIN_UNREACHABLE;
    }
    connection->events->connected(connection->owner, error);
    if (!is_closed(connection))
        connection_want(connection, connection->wants);
}

/* Something came that nobody wants now. `is_news`: the owner was told nothing of this event. */
static void settle_unwanted(struct connection *connection, bool is_news)
{
    if (connection->wants) {
        tell(connection, connection->wants);
    } else if (is_broken(connection)) {
        tell(connection, 0);
        if (is_news && connection->events->broken)
            connection->events->broken(connection->owner);
    } else {
        tell(connection, connection->told == TOLD_ERRORS ? 0 : TOLD_ERRORS);
    }
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct connection *connection = LIST_OWNER(poll, struct connection, poll); /* lives until this turn of the loop ends, closed or not */
    bool failed = status < 0;
    if (failed)
        connection->told = 0; /* libuv has stopped it */
    if (connection->connecting) {
        on_connected(connection);
        return;
    }
    unsigned ready = failed ? WANT_READ | WANT_WRITE : (events & UV_READABLE ? WANT_READ : 0) | (events & UV_WRITABLE ? WANT_WRITE : 0);
    bool unwanted = failed || (ready & ~connection->wants) || (events & UV_PRIORITIZED), is_news = !(ready & connection->wants);
    if (ready & connection->wants & WANT_READ)
        connection->events->readable(connection->owner);
    if (!is_closed(connection) && (ready & connection->wants & WANT_WRITE))
        connection->events->writable(connection->owner);
    if (!is_closed(connection) && unwanted)
        settle_unwanted(connection, is_news);
}

static void connection_freed(uv_handle_t *handle)
{
    struct connection *connection = LIST_OWNER(handle, struct connection, poll);
    if (!is_closed(connection))
        close(connection->fd); /* loop_free found it open */
    free(connection);
}

struct connection *connection_adopt(struct loop *loop, int fd, const struct connection_events *events, void *owner)
{
    struct connection *connection = malloc(sizeof(*connection));
    if (!connection || uv_poll_init(loop_uv(loop), &connection->poll, fd) != 0) {
        free(connection);
        close(fd);
        return NULL;
    }
    poll_set_freed_by(&connection->poll, connection_freed);
    connection->events = events;
    connection->owner = owner;
    connection->fd = fd;
    connection->wants = connection->told = WANT_NOTHING;
    connection->connecting = false;
    connection->refused = ERROR_OK;
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
    struct connection *connection = connection_adopt(loop, fd, events, owner);
    if (!connection)
        return NULL;
    if (failed) /* reported by the loop: a socket that is not connected polls as hung up at once */
        connection->refused = refused ? ERROR_ORIGIN_REFUSED : ERROR_ORIGIN_UNREACHABLE;
    connection->connecting = true;
    tell(connection, WANT_WRITE);
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
    if (!connection->connecting && (wants & ~(unsigned)connection->told))
        tell(connection, wants);
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
    return outcome(read(connection->fd, buffer, capacity));
}

ssize_t connection_peek(struct connection *connection, void *buffer, size_t capacity)
{
    return outcome(recv(connection->fd, buffer, capacity, MSG_PEEK | MSG_DONTWAIT));
}

ssize_t connection_writev(struct connection *connection, const struct iovec *iov, int count)
{
    /* sendmsg is a writev that can be told not to raise SIGPIPE. */
    struct msghdr message = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
    return outcome(sendmsg(connection->fd, &message, MSG_NOSIGNAL));
}

ssize_t connection_write(struct connection *connection, const void *bytes, size_t length, bool more)
{
    return outcome(send(connection->fd, bytes, length, MSG_NOSIGNAL | (more ? MSG_MORE : 0)));
}

void connection_shutdown(struct connection *connection)
{
    shutdown(connection->fd, SHUT_WR);
}

void connection_close(struct connection **connection_ptr)
{
    struct connection *connection = *connection_ptr;
    *connection_ptr = NULL;
    if (!connection)
        return;
    uv_close((uv_handle_t *)&connection->poll, connection_freed); /* takes the descriptor out of the poll set at once */
    close(connection->fd);
    connection->fd = -1;
}

void connection_reset(struct connection **connection)
{
    static const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (*connection)
        setsockopt((*connection)->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    connection_close(connection);
}

int connection_fd(const struct connection *connection)
{
    return connection->fd;
}

struct loop *connection_loop(const struct connection *connection)
{
    return loop_of_poll(&connection->poll);
}

void connection_peer(const struct connection *connection, union socket_address *address)
{
    socklen_t length = sizeof(*address);
    memset(address, 0, sizeof(*address));
    getpeername(connection->fd, &address->any, &length);
}

bool connection_has_input(const struct connection *connection)
{
    char byte;
    ssize_t got = recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

size_t connection_queued_bytes(const struct connection *connection)
{
    int bytes = 0;
    return ioctl(connection->fd, SIOCOUTQ, &bytes) == 0 ? (size_t)bytes : 0;
}
