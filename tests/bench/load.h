/* What the parts of the load share: groups, connections, and how a connection's bytes go (load_link.c) and what they mean (load_http1.c, load_http2.c). */
#ifndef TESTS_BENCH_LOAD_H
#define TESTS_BENCH_LOAD_H

#include "choice.h"
#include "histogram.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    GROUPS_MAX = 64,
    FIELDS_BYTES_MAX = 4096,
    STREAMS_MAX = 256,
    WATCHED_MAX = 512,
};

struct connection;

/* Of an open loop: load_pace.c. */
struct pace {
    double rate; /* requests a second; 0: a closed loop */
    uint64_t began_ns, asked;
    struct connection *first, *last; /* those without a request */
};

struct group {
    const char *name;
    uint32_t connections;
    struct choice choice;
    bool close;          /* a new connection a request */
    bool tls, resume;    /* `resume`: a new connection takes up the session of the last */
    uint32_t streams;    /* of HTTP/2, at once on a connection; 0: HTTP/1.1 */
    uint32_t active;     /* connections that still have something to ask */
    struct pace pace;
    struct histogram latency;
    uint64_t bytes, refused, broken, wrong, not_200, handshakes, resumed;
};

struct connection {
    struct group *group;
    int descriptor; /* -1: none */
    uint32_t interest;
    struct ssl_st *tls;
    struct ssl_session_st *session; /* to be resumed */
    bool greeted;                   /* its handshake was counted */
    bool idle;                      /* it waits for its time to ask */
    struct connection *idle_next;
    union {
        struct http1 *http1;
        struct http2 *http2;
    };
};

extern struct load {
    struct sockaddr_in address;
    const char *target;
    double seconds, warm_up;
    uint64_t seed;
    bool check, hold;
    char fields[FIELDS_BYTES_MAX]; /* each with CRLF before it */
    struct group groups[GROUPS_MAX];
    uint32_t group_count;
    pid_t watched[WATCHED_MAX];
    uint32_t watched_count;
    uint64_t heard_ns; /* when the last response ended */
} load;

_Noreturn void fail(const char *what, const char *detail);
uint64_t now_ns(void);

/* A response has ended. */
void count_response(struct group *g, uint64_t asked_ns, uint64_t now);

/* ---- a connection's bytes: plain, or TLS ---------------------------------------------------------------------------------------------- */

/* What sending and receiving return beside counts. */
enum { LINK_ENDED = 0, LINK_WAITS = -1, LINK_FAILED = -2 };

void link_begin(void);

/* Connects, or connects anew; the handshake of TLS goes with the first bytes. Never blocks. */
void link_open(struct connection *c);

void link_close(struct connection *c);

/* The connection has nothing left to ask: it is closed, or held, and no longer among its group's `active`. */
void link_leave(struct connection *c);

/* Bytes sent; LINK_WAITS: what it waits for is set, the same bytes are to be given again; LINK_FAILED. */
ssize_t link_send(struct connection *c, const char *bytes, size_t count);

/* Bytes received; LINK_ENDED, by the other side or by an error; LINK_WAITS. */
ssize_t link_receive(struct connection *c, char *to, size_t room);

/* As link_receive, of bytes that nobody looks at. */
ssize_t link_drop(struct connection *c, size_t count);

/* There are bytes here that no event tells of. */
bool link_has_more(const struct connection *c);

/* What the next event of this connection shall be. */
void link_want(struct connection *c, uint32_t interest);

/* Waits for events at most so long; returns their number, of EVENTS_MAX. */
int link_wait(struct connection **ready, uint64_t most_ns);
enum { EVENTS_MAX = 256 };

/* ---- what they mean ------------------------------------------------------------------------------------------------------------------- */

/* Asks for the first object. */
void http1_begin(struct connection *c);
void http2_begin(struct connection *c);

/* Asks for the next one; in an open loop when it is time. */
void http1_ask(struct connection *c, uint64_t now);

/* Something happened on its descriptor. */
void http1_go_on(struct connection *c, uint64_t now);
void http2_go_on(struct connection *c, uint64_t now);

/* ---- open loops ------------------------------------------------------------------------------------------------------------------------ */

/* False: it is too early, `c` is kept until then. True: *now is the time at which it should ask; always so in a closed loop. */
bool pace_may_ask(struct connection *c, uint64_t *now);

/* Connections of the group ask whose time has come. */
void pace_ask(struct group *g, uint64_t now);

/* How long to wait for events, not to be late; at most `most`. */
uint64_t pace_wait_ns(const struct group *g, uint64_t now, uint64_t most);

#endif
