/* One request to an origin, whatever kind of origin it is: what its fill, its request and the choice among the site's origins have to do
 * with it. For the files of this directory only.
 *
 * Phases: fetch_new → fetch_next_backend (starts a kind: h1 or files) → the kind calls fetch_head, fills, and one of fetch_done,
 *         fetch_not_modified, fetch_fail, fetch_failed_backend → ended → freed.
 * Invariants: 1. `fill` is NULL exactly when the fetch has ended; 2. `ended` is told once, never while `inside` is set; 3. it is freed only
 * when nobody is in the middle of it (`holds`), no mail for it is on its way and no file is being read into its fill. */
#ifndef ORIGIN_FETCH_H
#define ORIGIN_FETCH_H

#include "proxy/origin/backend.h"

struct fetch;

struct fetch_kind {
    void (*resume)(struct fetch *fetch); /* the fill may have room again */
    /* Lets go of everything (connection, deadlines, upload): the fetch ends or goes to another origin. False: the fill is still being
     * written to by a helper; fetch_stopped is called when it is not. */
    bool (*stop)(struct fetch *fetch);
};

struct fetch {
    struct origin      *origin;
    struct arena        arena;
    struct fill        *fill;
    struct fetch_events events;
    bool                attached; /* the request listens */
    unsigned            holds;
    bool                inside;   /* called by somebody who must not be called back: the end is told by mail */
    bool                stopping; /* waits for fetch_stopped, then fails with `error` */
    enum error          error;
    struct mail         mail;
    struct deadline     deadline; /* the kind's */
    /* the request, in the arena */
    enum method         method;
    struct bytes        method_name, target;
    struct headers      fields;
    struct upload      *upload; /* NULL: none, or not to be touched any more */
    bool                has_body, wants_upgrade, is_conditional;
    struct monotonic_ms began;
    /* the choice of an origin */
    unsigned       *order, order_count, order_at;
    unsigned        retries_left;
    bool            all_down;
    struct backend *backend;
    struct bytes    origin_text; /* the address that answered, in the arena */
    const char     *fault;       /* detail for the log; static or in the arena, or NULL */
    /* the kind and its state, in the arena */
    const struct fetch_kind *kind;
    void                    *state;
    /* body bytes that found no room */
    char  *stash;
    size_t stash_len;
};

struct fetch *fetch_new(struct origin *origin, const struct fetch_request *request, struct fill *fill, const struct fetch_events *events);
struct loop  *fetch_loop(const struct fetch *fetch);

static inline bool fetch_has_ended(const struct fetch *fetch)
{
    return fetch->fill == NULL;
}

/* Between them the fetch stays in memory, whatever happens. */
void fetch_hold(struct fetch *fetch);
void fetch_unhold(struct fetch *fetch);

/* Starts with the next origin in order. */
void fetch_next_backend(struct fetch *fetch);
/* The present origin failed and nothing of the request is lost: tries another one, if there is one and it is worth it, else fails.
 * `in_connect`: it never was reached. */
void fetch_failed_backend(struct fetch *fetch, enum error error, bool in_connect);

/* The head of the answer. False: it failed, and the fetch has ended. */
struct fetch_response {
    unsigned              status;
    struct bytes          reason;
    const struct headers *fields;
    bool                  length_known;
    uint64_t              length;
    bool                  body_forbidden;
};

bool fetch_head(struct fetch *fetch, const struct fetch_response *response);
/* Consumes the fill: the stored response is still good. Ends the fetch. */
void fetch_not_modified(struct fetch *fetch, const struct fetch_response *response);
/* Copies body bytes to the fill. False: there was not room for all; the rest was stashed. */
bool fetch_put(struct fetch *fetch, struct bytes body);
/* Keeps a copy of body bytes (as received) that found no room; kind->resume is called when there may be some. */
void fetch_stash(struct fetch *fetch, struct bytes body);
/* Gives the stash to the caller, who frees it; NULL when there is none. */
char *fetch_unstash(struct fetch *fetch, struct bytes *body);

void fetch_done(struct fetch *fetch);
void fetch_fail(struct fetch *fetch, enum error error);
/* As fetch_done, after a 101. */
void fetch_upgraded(struct fetch *fetch);
/* See fetch_kind.stop. */
void fetch_stopped(struct fetch *fetch);

#endif
