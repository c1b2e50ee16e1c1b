/* See greeting.h.
 *
 * DESIGN. A greeting is a walk over phases, in this order; those that the listener does not ask for are skipped:
 *
 *     PROXY      the proxy in front says whose connection it is: before TLS, as everything else is the client's own
 *     TLS        the handshake; ALPN says which protocol follows
 *     PREFACE    cleartext that may be HTTP/2: the first bytes tell (RFC 9113 §3.3, §3.4)
 *     → hand_over: the connection has its protocol, the greeting is freed
 *
 * begin_phase says what a phase needs when it begins; the events of the connection lead to the phase's own function, which calls next_phase when it is
 * over. What is read only to be looked at waits in `kept` (less than a preface) and is handed on.
 * The connection's owner is the greeting until hand_over. Whatever goes wrong ends in greeting_close.
 */
#include "proxy/greeting.h"
#include "proxy/client/clients.h"
#include "proxy/client/h1.h"
#include "proxy/client/h2.h"
#include "proxy/client/proxy_header.h"
#include "base/spill.h"

#include "base/log.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum greeting_phase {
    GREETING_BEGIN,
    GREETING_PROXY,
    GREETING_TLS,
    GREETING_PREFACE,
    GREETING_OVER,
};

/* RFC 9113 §3.4 */
#define PREFACE BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
enum { PREFACE_BYTES = 24 };

struct greeting {
    struct list link; /* in worker->greetings */
    struct worker *worker;
    struct connection *connection;
    struct config *config; /* a reference, for… */
    const struct config_listener *listener;
    struct deadline deadline;
    union socket_address peer;
    enum greeting_phase phase;
    struct spill *header; /* what came of a PROXY header that is not whole yet */
    uint8_t kept_len;
    char kept[PREFACE_BYTES];
};

static void greeting_free(struct greeting *greeting)
{
    deadline_clear(&greeting->deadline);
    list_remove(&greeting->link);
    spill_free(&greeting->header);
    config_unref(&greeting->config);
    free(greeting);
}

static void greeting_close(struct greeting *greeting)
{
    connection_close(&greeting->connection);
    clients_count_closed(greeting->worker, LISTENER_PUBLIC);
    greeting_free(greeting);
}

static void hand_over(struct greeting *greeting, bool is_http2, struct bytes already_read)
{
    struct worker *worker = greeting->worker;
    struct connection *connection = greeting->connection;
    union socket_address peer = greeting->peer;
    greeting_free(greeting);
    if (is_http2)
        h2_accept(worker, connection, LISTENER_PUBLIC, &peer, already_read);
    else
        h1_accept(worker, connection, LISTENER_PUBLIC, &peer, already_read);
}

static bool has_phase(const struct greeting *greeting, enum greeting_phase phase)
{
    switch (phase) {
    case GREETING_PROXY:
        return greeting->listener->proxy_protocol;
    case GREETING_TLS:
        return greeting->listener->tls;
    case GREETING_PREFACE:
        return greeting->listener->http2 && !greeting->listener->tls;
    case GREETING_BEGIN:
    case GREETING_OVER:
        break;
    }
    return true;
}

static void begin_proxy(struct greeting *greeting);
static void begin_tls(struct greeting *greeting);

static void begin_phase(struct greeting *greeting)
{
    switch (greeting->phase) {
    case GREETING_PROXY:
        begin_proxy(greeting);
        break;
    case GREETING_TLS:
        begin_tls(greeting);
        break;
    case GREETING_PREFACE:
        connection_want(greeting->connection, WANT_READ);
        break;
    case GREETING_BEGIN:
    case GREETING_OVER:
        hand_over(greeting, false, BYTES_NONE);
        break;
    }
}

static void next_phase(struct greeting *greeting)
{
    do
        greeting->phase++;
    while (!has_phase(greeting, greeting->phase));
    begin_phase(greeting);
}

/* --- the PROXY header --- */

/* Whoever connects can cause such lines. False: not this one. `others` gets what is to be said of those that were left out before, or nothing. */
static bool may_log(struct worker *worker, char *others, size_t size)
{
    enum { LINES_A_SECOND = 5 };
    static _Thread_local struct log_quota quota;
    unsigned left_out;
    others[0] = '\0';
    if (!log_may(&quota, loop_wall(worker->loop), LINES_A_SECOND, &left_out))
        return false;
    if (left_out > 0)
        snprintf(others, size, " (and %u others, not logged)", left_out);
    return true;
}

static void refuse_proxy(struct greeting *greeting, const char *why)
{
    char peer[64], others[48];
    size_t length = socket_address_format(&greeting->peer, peer, sizeof(peer));
    if (may_log(greeting->worker, others, sizeof(others)))
        log_warn("listener", "%.*s: closed %.*s, for its PROXY protocol header: %s%s", BYTES_FMT(greeting->listener->address.text),
                 (int)length, peer, why, others);
    counter_add(greeting->worker->counters, COUNTER_PROXY_HEADERS_REFUSED, 1);
    greeting_close(greeting);
}

/* HARDENING, routing: anybody could claim to be anybody. */
static void begin_proxy(struct greeting *greeting)
{
    if (config_networks_have(&greeting->config->trusted_proxies, &greeting->peer.any))
        connection_want(greeting->connection, WANT_READ);
    else
        refuse_proxy(greeting, "it is none of trusted_proxies");
}

/* Takes exactly the header's bytes off the socket: what is behind them may be TLS, and is for others to read. What is part of a header only is taken
 * too, so that it does not make the socket readable for ever. */
static void read_proxy(struct greeting *greeting)
{
    _Static_assert((int)LOOP_READ_BUFFER_BYTES >= (int)PROXY_HEADER_MAX_BYTES, "it is looked at in one piece");
    char *buffer = loop_read_buffer(greeting->worker->loop);
    struct bytes before = spill_bytes(greeting->header);
    struct proxy_header header;
    ssize_t got = connection_peek(greeting->connection, buffer + before.len, PROXY_HEADER_MAX_BYTES - before.len);
    if (got == CONNECTION_AGAIN)
        return;
    if (got <= 0) {
        greeting_close(greeting);
        return;
    }
    if (before.len > 0)
        memcpy(buffer, before.at, before.len);
    enum proxy_header_outcome outcome = proxy_header_parse(bytes_from(buffer, before.len + (size_t)got), &header);
    if (outcome == PROXY_HEADER_BAD) {
        refuse_proxy(greeting, header.fault);
        return;
    }
    size_t taken = outcome == PROXY_HEADER_COMPLETE ? header.length - before.len : (size_t)got;
    connection_read(greeting->connection, buffer + before.len, taken);
    counter_add(greeting->worker->counters, COUNTER_CLIENT_BYTES_RECEIVED, taken);
    if (outcome == PROXY_HEADER_PARTIAL) {
        spill_append(&greeting->header, bytes_from(buffer + before.len, taken));
        return;
    }
    if (header.has_client)
        greeting->peer = header.client;
    next_phase(greeting);
}

/* --- TLS --- */

static void count_tls_failure(struct greeting *greeting, enum error error)
{
    _Static_assert(COUNTER_TLS_FAILED - COUNTER_TLS_PLAIN_HTTP == ERROR_TLS_FAILED - ERROR_TLS_PLAIN_HTTP, "rows in one order");
    counter_add(greeting->worker->counters, COUNTER_TLS_PLAIN_HTTP + (error - ERROR_TLS_PLAIN_HTTP), 1);
}

static void log_tls_failure(struct greeting *greeting, enum error error, const char *details)
{
    char peer[64], others[48];
    size_t length = socket_address_format(&greeting->peer, peer, sizeof(peer));
    if (!may_log(greeting->worker, others, sizeof(others)))
        return;
    log_info("tls", "%.*s: client %.*s: %s%s%s%s", BYTES_FMT(greeting->listener->address.text), (int)length, peer, error_text(error),
             details[0] ? ": " : "", details, others);
}

static void begin_tls(struct greeting *greeting)
{
    struct worker *worker = greeting->worker;
    if (!worker->tls || !connection_start_tls(greeting->connection, worker->tls, greeting->listener->http2, BYTES_NONE))
        greeting_close(greeting);
}

/* The connection is a plain one again. What came of the request has been read, or is now: a reset would overtake the answer. */
static void answer_plain_http(struct greeting *greeting)
{
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 48\r\n"
                                 "Cache-Control: no-store\r\nConnection: close\r\n\r\nThe plain HTTP request was sent to HTTPS port.\r\n";
    connection_write(greeting->connection, answer, sizeof(answer) - 1, false);
    connection_shutdown(greeting->connection);
    connection_read(greeting->connection, loop_read_buffer(greeting->worker->loop), LOOP_READ_BUFFER_BYTES);
}

static void on_connected(void *owner, enum error error)
{
    struct greeting *greeting = owner;
    if (error == ERROR_OK) {
        const struct tls_facts *facts = connection_tls(greeting->connection);
        counter_add(greeting->worker->counters, facts->resumed ? COUNTER_TLS_RESUMED : COUNTER_TLS_FULL, 1);
        hand_over(greeting, bytes_equal(facts->alpn, BYTES("h2")), BYTES_NONE);
        return;
    }
    if (error != ERROR_CLIENT_CLOSED) { /* who said nothing at all only looked whether somebody listens */
        count_tls_failure(greeting, error);
        log_tls_failure(greeting, error, connection_tls_failure(greeting->connection));
    }
    if (error == ERROR_TLS_PLAIN_HTTP)
        answer_plain_http(greeting);
    greeting_close(greeting);
}

/* --- the preface --- */

static bool may_be_preface(struct bytes input)
{
    struct bytes preface = PREFACE;
    return memcmp(input.at, preface.at, input.len < preface.len ? input.len : preface.len) == 0;
}

static void read_preface(struct greeting *greeting)
{
    char *buffer = loop_read_buffer(greeting->worker->loop);
    ssize_t got = connection_read(greeting->connection, buffer + greeting->kept_len, LOOP_READ_BUFFER_BYTES - PREFACE_BYTES);
    if (got == CONNECTION_AGAIN)
        return;
    if (got <= 0) {
        greeting_close(greeting);
        return;
    }
    counter_add(greeting->worker->counters, COUNTER_CLIENT_BYTES_RECEIVED, (uint64_t)got);
    memcpy(buffer, greeting->kept, greeting->kept_len);
    struct bytes input = bytes_from(buffer, greeting->kept_len + (size_t)got);
    bool is_preface = may_be_preface(input);
    if (is_preface && input.len < PREFACE_BYTES) {
        memcpy(greeting->kept, input.at, input.len);
        greeting->kept_len = (uint8_t)input.len;
        return;
    }
    hand_over(greeting, is_preface, input);
}

/* --- events --- */

static void on_readable(void *owner)
{
    struct greeting *greeting = owner;
    if (greeting->phase == GREETING_PROXY)
        read_proxy(greeting);
    else
        read_preface(greeting);
}

static void on_broken(void *owner)
{
    greeting_close(owner);
}

static const struct connection_events events = {.readable = on_readable, .connected = on_connected, .broken = on_broken};

static void on_deadline(struct deadline *deadline)
{
    struct greeting *greeting = LIST_OWNER(deadline, struct greeting, deadline);
    if (greeting->phase == GREETING_TLS) {
        count_tls_failure(greeting, ERROR_TLS_TIMEOUT);
        log_tls_failure(greeting, ERROR_TLS_TIMEOUT, "");
    }
    greeting_close(greeting);
}

/* --- from outside --- */

bool greeting_is_needed(const struct config_listener *listener)
{
    return listener != NULL && (listener->http2 || listener->tls || listener->proxy_protocol);
}

void greeting_start(struct worker *worker, struct connection *connection, const struct config_listener *listener,
                    const union socket_address *peer)
{
    struct greeting *greeting = calloc(1, sizeof(*greeting));
    assert(greeting);
    greeting->worker = worker;
    greeting->connection = connection;
    greeting->config = config_ref(worker->config);
    greeting->listener = listener;
    greeting->peer = *peer;
    list_push_back(&worker->greetings, &greeting->link);
    connection_set_owner(connection, &events, greeting);
    loop_set_deadline(worker->loop, &greeting->deadline, worker->config->header_timeout_ms, on_deadline);
    next_phase(greeting);
}

void greeting_drain(struct worker *worker)
{
    enum { GOODBYE_MS = 1000 }; /* as h1_client.h has it: who just connected may just be sending */
    LIST_FOR_EACH_SAFE(node, &worker->greetings)
    {
        struct greeting *greeting = LIST_OWNER(node, struct greeting, link);
        if (greeting->kept_len == 0 && !greeting->header)
            loop_set_deadline(worker->loop, &greeting->deadline, GOODBYE_MS, on_deadline);
    }
}

void greeting_cut(struct worker *worker)
{
    LIST_FOR_EACH_SAFE(node, &worker->greetings)
    greeting_close(LIST_OWNER(node, struct greeting, link));
}
