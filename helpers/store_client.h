/* A loop's requests to the store helpers: the cache's records on disk. Belongs to one loop; knows no loop: boot polls the channels.
 *
 * Each call goes to the helper with the fewest under way (small reads: store_client_prefer), and, being stateless, to another when that one dies or hangs
 * (helper_set.h). `done` comes from store_client_receive, _tick, _lost or _attach, never from inside store_client_submit, and may submit further calls. What a
 * call names in the slab is the owner's to keep until then. Without a helper, be it the first one that has not come yet, calls wait up to their deadline. */
#ifndef HELPERS_STORE_CLIENT_H
#define HELPERS_STORE_CLIENT_H

#include "base/error.h"
#include "helpers/helper_set.h"

struct store_call {
    /* in: borrowed until done */
    enum message_type type; /* STORE_READ, STORE_WRITE, STORE_SCAN or STORE_ORDER */
    union {
        struct message_store_read  read;
        struct message_store_write write;
        struct message_store_scan  scan;
        struct message_store_order order;
    } ask;             /* but for `request` */
    struct bytes tail; /* of STORE_READ and STORE_WRITE */
    void (*done)(struct store_call *call);
    void *context;
    /* out */
    enum error error;            /* ERROR_OK: an answer came (look at its status); ERROR_OVERLOADED: queue full; ERROR_HELPER_UNAVAILABLE */
    bool       destination_lost; /* a helper that cannot be stopped may still write to, or read from, what the call named in the slab */
    union {
        struct message_store_read_done read;
        struct message_store_scan_done scan;
        struct message_store_done      done;
    } answer;
    struct helper_call call; /* the client's own */
};

struct store_client;

struct store_client *store_client_new(const struct helper_hooks *hooks, int64_t deadline_ms, unsigned queue_max);
/* Helpers have many reads under way at once (io_uring): small ones go to this helper, which is woken once for all that a loop's turn asks for. */
void store_client_prefer(struct store_client *client, unsigned helper);
/* Calls under way are dropped without their `done`. */
void store_client_free(struct store_client **client);
void store_client_attach(struct store_client *client, unsigned helper, unsigned generation, struct channel *channel);
void store_client_lost(struct store_client *client, unsigned helper, unsigned generation);
void store_client_submit(struct store_client *client, struct store_call *call, struct monotonic_ms now);
/* The channel of `helper` is readable. False: nothing more will come through it, stop polling it. */
bool store_client_receive(struct store_client *client, unsigned helper, struct monotonic_ms now);
void store_client_flush(struct store_client *client);                         /* at the end of each loop turn */
void store_client_tick(struct store_client *client, struct monotonic_ms now); /* about every 50 ms */
void store_client_stats(const struct store_client *client, struct helper_stats *stats);

#endif
