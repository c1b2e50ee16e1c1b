/* A loop's questions to the resolver helpers. TTLs, last good answers and re-resolution are the asker's (proxy/origin/addresses). */
#ifndef HELPERS_RESOLVER_CLIENT_H
#define HELPERS_RESOLVER_CLIENT_H

#include "helpers/helper_set.h"

struct resolve_request {
    struct bytes name; /* borrowed until done */
    void (*done)(struct resolve_request *request);
    void *context;
    /* out; RESOLVE_FAILED also when no helper answered in time. IPv4 addresses before IPv6 ones */
    enum resolve_status     status;
    unsigned                count;
    struct resolved_address addresses[RESOLVE_ADDRESSES_MAX];
    struct helper_call call; /* the client's own */
};

struct resolver_client;

/* `deadline_ms` is longer than the helpers' question_ms (RESOLVER_SETTINGS): a helper that answers nothing for that long is reported as hung. */
struct resolver_client *resolver_client_new(const struct helper_hooks *hooks, int64_t deadline_ms);
void resolver_client_free(struct resolver_client **client);
void resolver_client_attach(struct resolver_client *client, unsigned helper, unsigned generation, struct channel *channel);
void resolver_client_lost(struct resolver_client *client, unsigned helper, unsigned generation);
/* Calls `done` later, never from inside: from resolver_client_receive, _tick, _lost or _attach. */
void resolver_client_resolve(struct resolver_client *client, struct resolve_request *request, struct monotonic_ms now);
/* `done` will not be called. */
void resolver_client_cancel(struct resolver_client *client, struct resolve_request *request);
/* The channel of `helper` is readable. False: nothing more will come through it, stop polling it. */
bool resolver_client_receive(struct resolver_client *client, unsigned helper, struct monotonic_ms now);
void resolver_client_flush(struct resolver_client *client);
void resolver_client_tick(struct resolver_client *client, struct monotonic_ms now);
void resolver_client_stats(const struct resolver_client *client, struct helper_stats *stats);

#endif
