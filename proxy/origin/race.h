/* Connecting to one of the addresses of an origin, as in RFC 8305 §5: the first address is tried; when it fails, or has not answered within
 * RACE_STAGGER_MS, the next one as well; the first to connect, and to have finished its TLS handshake where there is one, wins; the others are closed. Addresses that failed or lost are skipped for a
 * while afterwards. */
#ifndef ORIGIN_RACE_H
#define ORIGIN_RACE_H

#include "proxy/origin/pool.h"

enum {
    RACE_STAGGER_MS = 250,
    RACE_ATTEMPTS_MAX = 8, /* addresses that one request tries: a name with dozens of dead ones must not cost dozens of sockets */
};

struct race_attempt {
    struct race     *race;
    struct upstream *upstream; /* NULL: over */
    bool             is_shaking_hands;
};

struct race {
    struct endpoint    *endpoints[RACE_ATTEMPTS_MAX]; /* references; in the order of trying */
    unsigned            count, next;                  /* next: how many were begun */
    struct race_attempt attempts[RACE_ATTEMPTS_MAX];
    unsigned            under_way;
    struct deadline     stagger;
    int64_t             down_ms;
    enum error          error; /* of the latest failure */
    char                reason[160]; /* of a TLS handshake that failed, in words; else "" */
    /* The race is over: `upstream` is taken by the callee; NULL: every address failed, and `error` says how the last did. */
    void (*done)(struct race *race, struct upstream *upstream, enum error error);
};

/* `endpoints`: at least one; more than RACE_ATTEMPTS_MAX are cut. Returns false, and `done` is not called, when not even one attempt could
 * be begun. */
bool race_start(struct race *race, struct endpoint *const *endpoints, unsigned count, int64_t down_ms,
                void (*done)(struct race *race, struct upstream *upstream, enum error error));
/* `done` will not be called. Idempotent, also on zeroed memory. `timed_out`: what was being tried counts as failed. */
void race_stop(struct race *race, bool timed_out);

#endif
