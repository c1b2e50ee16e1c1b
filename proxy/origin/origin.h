/* The origins of one site, on one loop, and one request to them.
 *
 * An origin belongs to one loop and one generation of the configuration. A fetch writes what the origin answers into its fill and outlives the request
 * that began it when others (or the cache) still want the response. All waiting has deadlines (config_site).
 */
#ifndef ORIGIN_ORIGIN_H
#define ORIGIN_ORIGIN_H

#include "base/headers.h"
#include "base/method.h"
#include "cache/fill.h"
#include "helpers/disk_client.h"
#include "helpers/resolver_client.h"
#include "proxy/config/config.h"
#include "proxy/net/connection.h"
#include "proxy/observe/counters.h"
#include "proxy/origin/upload.h"

/* What every origin of a loop uses; borrowed, outlives them. */
struct origin_context {
    struct loop            *loop;
    struct disk_client     *disk;
    struct resolver_client *resolver;
    struct counters        *counters;
    struct tls_client      *tls; /* of the site's https:// origins; NULL: it has none */
};

struct origin;

/* `config` is referenced for as long as the origin or a fetch of it lives. Begins to resolve names at once. */
struct origin *origin_new(const struct origin_context *context, struct config *config, const struct config_site *site);
/* Of an origin that has just been made: the addresses of the names that it shares with one of the generation before, and its figures when it is the same. */
void           origin_inherit(struct origin *origin, const struct origin *before);
/* Kept connections are closed now; fetches under way go on and free it when the last ends. Nulls. */
void           origin_retire(struct origin **origin);

struct fetch;

struct fetch_upgrade {
    const struct headers *fields;     /* of the 101, as received */
    struct connection    *connection; /* taken by the callee */
    struct bytes          unread;     /* bytes that followed the 101; copy them */
};

/* Told to the request that began the fetch, on its loop, never from inside origin_fetch. */
struct fetch_events {
    void *context;
    void (*interim)(void *context, unsigned status, const struct headers *fields); /* 100, 102, 103: raw fields of the origin */
    void (*upgraded)(void *context, const struct fetch_upgrade *upgrade);          /* 101; the fill is failed after it returns */
    /* The last call: the fetch is gone. `origin` (the address that answered, or absent) is borrowed. */
    void (*ended)(void *context, enum error error, struct bytes origin);
};

struct fetch_request {
    enum method           method;
    struct bytes          method_name;
    struct bytes          target;  /* origin-form, as it is to be sent */
    const struct headers *fields;  /* ready to send, Host included; without framing fields: those are written here */
    struct upload        *upload;  /* NULL: no body */
    bool                  wants_upgrade; /* `Connection: upgrade` and `Upgrade` are among the fields */
};

/* Copies what it needs of `request`, takes `fill`. Never fails at once: failures go through the fill. */
struct fetch *origin_fetch(struct origin *origin, const struct fetch_request *request, struct fill *fill, const struct fetch_events *events);
/* The request is going away: no more events, the upload is not touched again. A fetch whose fill nobody wants is cancelled, and so is one whose
 * upload had not ended. Nulls. */
void fetch_detach(struct fetch **fetch);
/* As fetch_detach, of what was fetched for later: cancelled as well when it would be stored, unless somebody reads it already. */
void fetch_withdraw(struct fetch **fetch);

struct origin_stats {
    unsigned connections_idle, connections_busy, fetches;
    unsigned addresses, addresses_down;
};

void origin_stats(const struct origin *origin, struct origin_stats *stats);

/* Of one of its backends, which are the origins of the site's configuration. */
enum origin_figure {
    ORIGIN_REQUESTS,      /* sent */
    ORIGIN_FAILURES,      /* tries that failed */
    ORIGIN_ANSWERS,       /* heads received */
    ORIGIN_FIRST_BYTE_US, /* all that it took them */
    ORIGIN_ACTIVE,        /* connections */
    ORIGIN_IDLE,
    ORIGIN_DOWN,          /* 1: skipped after a failure */
    ORIGIN_FIGURES
};

void origin_figures(const struct origin *origin, unsigned backend, uint64_t out[ORIGIN_FIGURES]);

#endif
