/* See listener.h. */
#include "proxy/listener.h"
#include "proxy/client/clients.h"
#include "proxy/client/h1.h"
#include "proxy/greeting.h"
#include "proxy/net/socket_address.h"
#include "proxy/net/socket_room.h"

#include "base/log.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    ACCEPTS_PER_TURN = 64,       /* then the clients that are there have their turn */
    ACCEPTS_PER_TURN_SHARED = 8, /* other loops poll the same socket: a burst shall not be all ours */
    ALONE_TURNS = 8,             /* so many turns take one client each, after one in which there was no second */
    PAUSE_MS = 500,              /* after running out of descriptors */
};

struct listener {
    struct worker *worker;
    int fd;
    enum listener_kind kind;
    const char *address;
    const struct config_listener *settings; /* of the worker's configuration; NULL: it has none there (admin) */
    struct watch *watch;                    /* NULL while paused */
    bool is_shut;                           /* by listener_open */
    int reserve;                            /* given up for the client that finds no descriptor left; -1: in use */
    struct deadline pause;
    int alone_turns;
};

static void on_readable(void *context);

static void open_reserve(struct listener *listener)
{
    if (listener->reserve < 0)
        listener->reserve = eventfd(0, EFD_CLOEXEC); /* any: files are not ours to open */
}

static void on_pause_over(struct deadline *deadline)
{
    struct listener *listener = LIST_OWNER(deadline, struct listener, pause);
    open_reserve(listener);
    if (listener->is_shut)
        return;
    listener->watch = loop_watch(listener->worker->loop, listener->fd, on_readable, listener);
    if (!listener->watch)
        loop_set_deadline(listener->worker->loop, &listener->pause, PAUSE_MS, on_pause_over);
}

static void pause_accepting(struct listener *listener)
{
    watch_free(&listener->watch);
    loop_set_deadline(listener->worker->loop, &listener->pause, PAUSE_MS, on_pause_over);
}

/* Answers without reading the request: what it says makes no difference. What has come of it is read all the same, since closing a socket with unread
 * bytes resets it, and the client might never see the answer. */
static void turn_away(struct listener *listener, int fd)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 21\r\nRetry-After: 1\r\n"
                                 "Cache-Control: no-store\r\nConnection: close\r\n\r\nToo many connections.";
    if (!listener->settings || !listener->settings->tls) /* who expects TLS could not read it */
        send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(fd, SHUT_WR);
    recv(fd, loop_read_buffer(listener->worker->loop), LOOP_READ_BUFFER_BYTES, MSG_DONTWAIT);
    close(fd);
    counter_add(listener->worker->counters, COUNTER_CLIENT_CONNECTIONS_REFUSED, 1);
}

static void out_of_descriptors(struct listener *listener)
{
    log_error("listener", "no descriptor left for a new client: accepting pauses for %d ms (raise the limit of open files)", PAUSE_MS);
    if (listener->reserve >= 0) {
        close(listener->reserve);
        listener->reserve = -1;
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            turn_away(listener, fd);
        open_reserve(listener);
    }
    pause_accepting(listener);
}

static bool is_over_limit(const struct listener *listener)
{
    return listener->kind == LISTENER_PUBLIC && clients_public() >= listener->worker->config->connections_max;
}

static void take_client(struct listener *listener, int fd, const union socket_address *peer)
{
    struct worker *worker = listener->worker;
    struct connection *connection = connection_adopt(worker->loop, fd, NULL, NULL);
    if (!connection)
        return;
    clients_count_accepted(worker, listener->kind);
    if (greeting_is_needed(listener->settings))
        greeting_start(worker, connection, listener->settings, peer);
    else
        h1_accept(worker, connection, listener->kind, peer, BYTES_NONE);
}

/* False: nothing more to accept now. */
static bool accept_one(struct listener *listener)
{
    union socket_address peer = {0};
    socklen_t length = sizeof(peer);
    int fd = accept4(listener->fd, &peer.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        socket_address_unmap(&peer);
        if (is_over_limit(listener))
            turn_away(listener, fd);
        else
            take_client(listener, fd, &peer);
        return true;
    }
    switch (errno) {
    case EAGAIN: /* another loop was faster */
        return false;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        out_of_descriptors(listener);
        return false;
    default: /* an error of that one connection (accept(2)) */
        return true;
    }
}

static bool may_accept(const struct listener *listener)
{
    return !listener->worker->serves_one || listener->worker->connections == 0;
}

/* An accept that finds nobody costs the kernel as much as one that does: a socket is made, and thrown away. Where clients come one by one, it is not tried
 * for a second; should there be one, the next turn comes at once. */
static int most_of_turn(struct listener *listener)
{
    if (listener->alone_turns > 0) {
        listener->alone_turns--;
        return 1;
    }
    return listener->worker->config->workers > 1 ? ACCEPTS_PER_TURN_SHARED : ACCEPTS_PER_TURN;
}

static void on_readable(void *context)
{
    struct listener *listener = context;
    int most = most_of_turn(listener), tried = 0;
    while (tried < most && may_accept(listener) && accept_one(listener))
        tried++;
    if (tried < most && tried <= 1)
        listener->alone_turns = ALONE_TURNS;
}

void listener_open(struct listener *listener, bool is_open)
{
    listener->is_shut = !is_open;
    if (deadline_is_set(&listener->pause))
        return;
    if (is_open && !listener->watch)
        on_pause_over(&listener->pause);
    else if (!is_open)
        watch_free(&listener->watch);
}

void listener_configure(struct listener *listener)
{
    const struct config *config = listener->worker->config;
    listener->settings = NULL;
    for (unsigned i = 0; i < config->listener_count && listener->kind == LISTENER_PUBLIC; i++)
        if (bytes_equal(config->listeners[i].address.text, bytes_from_string(listener->address)))
            listener->settings = &config->listeners[i];
}

struct listener *listener_start(struct worker *worker, int fd, enum listener_kind kind, const char *address)
{
    static const int on = 1;
    struct listener *listener = calloc(1, sizeof(*listener));
    if (!listener)
        return NULL;
    *listener = (struct listener){.worker = worker, .fd = fd, .kind = kind, .address = address, .reserve = -1};
    listener_configure(listener);
    listener->watch = loop_watch(worker->loop, fd, on_readable, listener);
    if (!listener->watch) {
        free(listener);
        return NULL;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* accepted sockets inherit it; a Unix socket refuses it */
    socket_bound_unsent(fd);
    open_reserve(listener);
    return listener;
}

void listener_stop(struct listener **listener_ptr)
{
    struct listener *listener = *listener_ptr;
    *listener_ptr = NULL;
    if (!listener)
        return;
    watch_free(&listener->watch);
    deadline_clear(&listener->pause);
    if (listener->reserve >= 0)
        close(listener->reserve);
    free(listener);
}
