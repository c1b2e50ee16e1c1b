/* A client on the other end of a socket pair, and a loop that is turned until something is the case. */
#ifndef TESTS_WIRE_H
#define TESTS_WIRE_H

#include "fake_request.h"
#include "proxy/client/clients.h"
#include "proxy/client/h1.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

struct wire {
    int fd;              /* the client's end */
    const char *to_send;
    size_t to_send_len, piece; /* piece: bytes a turn */
    bool shuts_after, stops_reading;
    char *got;
    size_t got_len, got_capacity;
    bool ended, was_reset;
};

static struct loop *loop;
static struct worker worker;
static struct config config;
static struct wire wire;
static bool (*wire_is_done)(void);
static struct monotonic_ms wire_until;
static bool wire_timed_out;
static unsigned wire_turns;

static inline void wire_send(void)
{
    size_t now = wire.to_send_len < wire.piece ? wire.to_send_len : wire.piece;
    ssize_t sent = now ? send(wire.fd, wire.to_send, now, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    if (sent > 0) {
        wire.to_send += sent;
        wire.to_send_len -= (size_t)sent;
    }
    if (wire.to_send_len == 0 && wire.shuts_after) {
        shutdown(wire.fd, SHUT_WR);
        wire.shuts_after = false;
    }
}

static inline void wire_receive(void)
{
    while (!wire.stops_reading && !wire.ended) {
        if (wire.got_capacity - wire.got_len < 65536)
            wire.got = realloc(wire.got, wire.got_capacity = wire.got_capacity * 2 + 131072);
        ssize_t got = recv(wire.fd, wire.got + wire.got_len, 65536, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        wire.was_reset = got < 0;
        wire.ended = got <= 0;
        if (got > 0)
            wire.got_len += (size_t)got;
    }
    wire.got[wire.got_len] = '\0';
}

static inline void wire_turn_ended(void *context)
{
    (void)context;
    if (wire.fd < 0)
        return;
    wire_turns++;
    wire_send();
    wire_receive();
    wire_timed_out = clock_monotonic().ms > wire_until.ms;
    if (wire_timed_out || wire_is_done())
        loop_stop(loop);
}

/* Turns the loop until `is_done`, which is asked after each turn. What is to be sent has begun before the first one: a deadline that the machine let pass
 * meanwhile comes behind it. */
static inline void turn_until_at(bool (*is_done)(void), int line)
{
    wire_is_done = is_done;
    wire_until = monotonic_add(clock_monotonic(), PATIENCE_MS);
    if (wire.fd >= 0)
        wire_send();
    loop_run(loop);
    cr_assert(!wire_timed_out, "waited in vain in line %d by %zu; got so far:\n%.2000s\nlog:\n%.2000s", line, wire.piece, wire.got, fake_log);
}
#define turn_until(is_done) turn_until_at(is_done, __LINE__)

static inline void wire_connect(void)
{
    int ends[2];
    union socket_address peer = {.in = {.sin_family = AF_INET, .sin_port = 1, .sin_addr = {htonl(INADDR_LOOPBACK)}}};
    int failed = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends);
    cr_assert(!failed);
    wire.fd = ends[0];
    wire.to_send_len = wire.got_len = 0;
    wire.piece = SIZE_MAX;
    wire.shuts_after = wire.stops_reading = wire.ended = wire.was_reset = false;
    if (!wire.got)
        wire.got = calloc(1, wire.got_capacity = 131072);
    wire.got[0] = '\0';
    struct connection *connection = connection_adopt(worker.loop, ends[1], NULL, NULL);
    cr_assert(connection);
    clients_count_accepted(&worker, LISTENER_PUBLIC);
    h1_accept(&worker, connection, LISTENER_PUBLIC, &peer, BYTES_NONE);
}

static inline void wire_close(void)
{
    if (wire.fd >= 0)
        close(wire.fd);
    wire.fd = -1;
}

static inline void wire_say_bytes(const char *at, size_t len)
{
    wire.to_send = at;
    wire.to_send_len = len;
}

static inline void wire_say(const char *text)
{
    wire_say_bytes(text, strlen(text));
}

static inline bool wire_has_ended(void)
{
    return wire.ended;
}

static inline unsigned wire_answers(void)
{
    unsigned count = 0;
    for (const char *at = wire.got; (at = strstr(at, "HTTP/1.1 ")); at++)
        count++;
    return count;
}

static inline bool wire_got(const char *text)
{
    return strstr(wire.got, text) != NULL;
}

static inline void begin(void)
{
    fake_init();
    worker = (struct worker){.loop = loop_new(0)};
    cr_assert(worker.loop);
    loop = worker.loop;
    posix_memalign((void **)&worker.counters, 64, sizeof(struct counters)) == 0 ? (void)0 : abort();
    memset(worker.counters, 0, sizeof(struct counters));
    config = (struct config){.workers = 1,
                             .header_bytes_max = 8192,
                             .header_count_max = 40,
                             .url_bytes_max = 2048,
                             .connections_max = 100,
                             .header_timeout_ms = 60000,
                             .body_timeout_ms = 60000,
                             .keep_alive_timeout_ms = 60000,
                             .write_stall_timeout_ms = 60000};
    worker.config = &config;
    wire.fd = -1;
    loop_at_turn_end(loop, wire_turn_ended, NULL);
}

static inline void end(void)
{
    wire_close();
    h1_cut(&worker);
    cr_expect_eq(fake_alive_count, 0, "requests are left");
    cr_expect_eq(worker.connections, 0);
    if (fake_taken)
        connection_close(&fake_taken);
    loop_free(&loop);
    free(worker.counters);
    free(wire.got);
    wire.got = NULL;
    wire.got_capacity = 0;
}

#endif
