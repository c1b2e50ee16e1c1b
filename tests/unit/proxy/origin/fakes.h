/* A loop, connections and a resolver in the test's hands: time moves and things happen when the test says so. Included by one test program each. */
#ifndef TESTS_ORIGIN_FAKES_H
#define TESTS_ORIGIN_FAKES_H

#include "helpers/resolver_client.h"
#include "proxy/net/tls.h"
#include "proxy/net/connection.h"
#include "proxy/observe/counters.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

struct loop {
    struct monotonic_ms now;
    struct list deadlines;
};

static struct loop fake_loop = {.now = {1000000}, .deadlines = {&fake_loop.deadlines, &fake_loop.deadlines}};

struct monotonic_ms loop_now(const struct loop *loop)
{
    return loop->now;
}

void deadline_clear(struct deadline *deadline)
{
    if (deadline->link.next)
        list_remove(&deadline->link);
    deadline->link.next = NULL;
}

bool deadline_is_set(const struct deadline *deadline)
{
    return deadline->link.next != NULL;
}

void loop_set_deadline(struct loop *loop, struct deadline *deadline, int64_t ms, void (*expired)(struct deadline *))
{
    deadline_clear(deadline);
    deadline->when = monotonic_add(loop->now, ms);
    deadline->expired = expired;
    list_push_back(&loop->deadlines, &deadline->link);
}

static inline struct deadline *fake_next_deadline(struct monotonic_ms until)
{
    struct deadline *next = NULL;
    LIST_FOR_EACH(node, &fake_loop.deadlines)
    {
        struct deadline *deadline = LIST_OWNER(node, struct deadline, link);
        if (deadline->when.ms <= until.ms && (!next || deadline->when.ms < next->when.ms))
            next = deadline;
    }
    return next;
}

/* Lets time pass; what expires on the way is called at its time. */
static inline void fake_pass(int64_t ms)
{
    struct monotonic_ms until = monotonic_add(fake_loop.now, ms);
    struct deadline *deadline;
    while ((deadline = fake_next_deadline(until))) {
        fake_loop.now = deadline->when;
        deadline_clear(deadline);
        deadline->expired(deadline);
    }
    fake_loop.now = until;
}

struct connection {
    const struct connection_events *events;
    void *owner;
    unsigned wants;
    bool has_input;
    bool has_tls; /* was told to shake hands */
    struct bytes tls_name;
    union socket_address to;
    struct list link; /* open ones, oldest first */
};

static struct list fake_connections = {&fake_connections, &fake_connections};
static unsigned fake_opened, fake_descriptors = 1000;

size_t socket_address_format(const union socket_address *address, char *out, size_t size)
{
    const void *bytes = address->any.sa_family == AF_INET ? (const void *)&address->in.sin_addr : (const void *)&address->in6.sin6_addr;
    return strlen(inet_ntop(address->any.sa_family, bytes, out, (socklen_t)size));
}

struct connection *connection_connect(struct loop *loop, const union socket_address *to, socklen_t length,
                                      const struct connection_events *events, void *owner)
{
    (void)loop, (void)length;
    if (fake_descriptors == 0)
        return NULL;
    fake_descriptors--;
    fake_opened++;
    struct connection *connection = calloc(1, sizeof(*connection));
    *connection = (struct connection){.events = events, .owner = owner, .to = *to};
    list_push_back(&fake_connections, &connection->link);
    return connection;
}

void connection_set_owner(struct connection *connection, const struct connection_events *events, void *owner)
{
    connection->events = events;
    connection->owner = owner;
}

void connection_want(struct connection *connection, unsigned wants)
{
    connection->wants = wants;
}

static bool fake_tls_fails; /* at once: no memory */

bool connection_start_tls_client(struct connection *connection, struct tls_client *client, struct bytes server_name)
{
    cr_assert_not_null(client);
    cr_assert_not(connection->has_tls);
    connection->has_tls = !fake_tls_fails;
    connection->tls_name = server_name;
    return connection->has_tls;
}

static struct tls_facts fake_tls_facts;

const struct tls_facts *connection_tls(const struct connection *connection)
{
    return connection->has_tls ? &fake_tls_facts : NULL;
}

const char *connection_tls_failure(const struct connection *connection)
{
    return connection->has_tls ? "no good" : "";
}

bool connection_has_input(const struct connection *connection)
{
    return connection->has_input;
}

void connection_close(struct connection **connection)
{
    list_remove(&(*connection)->link);
    free(*connection);
    *connection = NULL;
    fake_descriptors++;
}

static inline unsigned fake_open_count(void)
{
    unsigned count = 0;
    LIST_FOR_EACH(node, &fake_connections)
    {
        count++;
    }
    return count;
}

/* The open connection to that address, oldest first; NULL. */
static inline struct connection *fake_connection_to(const char *address)
{
    LIST_FOR_EACH(node, &fake_connections)
    {
        struct connection *connection = LIST_OWNER(node, struct connection, link);
        char text[INET6_ADDRSTRLEN];
        socket_address_format(&connection->to, text, sizeof(text));
        if (strcmp(text, address) == 0)
            return connection;
    }
    return NULL;
}

static inline void fake_connected(const char *address, enum error error)
{
    struct connection *connection = fake_connection_to(address);
    cr_assert_not_null(connection, "nobody connects to %s", address);
    connection->events->connected(connection->owner, error);
}

static struct resolve_request *fake_question; /* under way */
static unsigned fake_questions;

void resolver_client_resolve(struct resolver_client *client, struct resolve_request *request, struct monotonic_ms now)
{
    (void)client, (void)now;
    cr_assert_null(fake_question, "one question at a time");
    fake_question = request;
    fake_questions++;
}

void resolver_client_cancel(struct resolver_client *client, struct resolve_request *request)
{
    (void)client;
    cr_assert_eq(fake_question, request);
    fake_question = NULL;
}

static inline struct resolved_address fake_address(const char *text, uint32_t ttl_s)
{
    struct resolved_address address = {.family = strchr(text, ':') ? 6 : 4, .ttl_s = ttl_s};
    inet_pton(address.family == 6 ? AF_INET6 : AF_INET, text, address.bytes);
    return address;
}

/* Answers with space-separated addresses. */
static inline void fake_answer(enum resolve_status status, uint32_t ttl_s, const char *addresses)
{
    struct resolve_request *request = fake_question;
    cr_assert_not_null(request, "nobody asks");
    fake_question = NULL;
    request->status = status;
    request->count = 0;
    char copy[4096], *at = copy, *word;
    snprintf(copy, sizeof(copy), "%s", addresses);
    while ((word = strsep(&at, " ")) && *word)
        request->addresses[request->count++] = fake_address(word, ttl_s);
    request->done(request);
}

static struct counters *fake_counters(void)
{
    static struct counters counters;
    return &counters;
}

static inline uint64_t fake_count(enum counter counter)
{
    return atomic_load(&fake_counters()->value[counter]);
}

#endif
