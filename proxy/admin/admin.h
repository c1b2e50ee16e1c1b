/* The admin interface: what is behind the admin listener and the Unix socket, as a function from a request to an answer.
 *
 *   GET /healthz            200 "ok", 503 while draining
 *   GET /metrics            Prometheus text
 *   GET /stats              the same as JSON, for outriggerctl
 *   GET /                   the dashboard, and its files
 *   GET /events             what it shows, as server-sent events, one a second
 *   GET /sizing             JSON: what the hit ratio would be with other sizes
 *   GET /top                JSON: URLs, sites, tags and statuses by requests, bytes and misses of the last minutes   socket only
 *   What is for the socket only is for the admin listener too, where the configuration (admin.control) says so.
 *   POST /purge?…           JSON {"purged": true|false, "by": …, "soft": …}   socket only
 *        url=URL | tag=TAG (as often as there are tags) | host=HOST | all=1, and soft=1
 *   GET /why?url=URL&header=… JSON: what the cache knows of it, and what a request with these fields ("Name: value") would get   socket only
 *   POST /reload            JSON {"accepted": …, "errors": "…"}  socket only
 *   GET /log?…              one line of JSON a request, as they end, for as long as the asker listens   socket only
 *        status=404,5xx | result=hit,miss | reason=WORD | site=HOST | url=PREFIX | slower-than=100ms, together
 *   POST /drain             JSON {"draining": true}: accepts no more, finishes what is under way, ends   socket only
 */
#ifndef ADMIN_ADMIN_H
#define ADMIN_ADMIN_H

#include "base/arena.h"
#include "base/bytes.h"
#include "base/headers.h"
#include "base/list.h"
#include "base/method.h"
#include "proxy/observe/metrics.h"

struct admin;

enum admin_purge_by { ADMIN_PURGE_URL, ADMIN_PURGE_TAG, ADMIN_PURGE_HOST, ADMIN_PURGE_ALL };

struct admin_purge {
    enum admin_purge_by by;
    struct bytes        name; /* URL, tag or host */
    bool                is_soft;
};

struct admin_why;
struct live_filter;
struct live_viewer;
struct sizing_report;
struct top_lists;

struct admin_ports {
    void *context;
    /* Sums all loops' counters and collects gauges, into `arena`. */
    void (*collect)(void *context, struct arena *arena, struct counters *sum, struct gauge **gauges, unsigned *gauge_count);
    /* False: not an absolute URL. *found: by URL: something was stored; else true. */
    bool (*purge)(void *context, const struct admin_purge *what, bool *found);
    /* False: not an absolute URL. What it says lies in `arena`. */
    bool (*explain)(void *context, struct bytes url, const struct headers *fields, struct arena *arena, struct admin_why *why);
    void (*size)(void *context, struct sizing_report *report);
    /* Sums all loops' lists, into `arena`. */
    void (*top)(void *context, struct arena *arena, struct top_lists *lists);
    /* The name of the site that answers for a host; absent: none does. */
    struct bytes (*site)(void *context, struct bytes host);
    /* Of all loops, as live_watch. */
    struct live_viewer *(*watch)(void *context, const struct live_filter *filter);
    /* Asks the supervisor; admin_reloaded follows. */
    void (*reload)(void *context, uint32_t ticket);
    bool (*is_draining)(void *context);
    /* Asks the supervisor to. */
    void (*drain)(void *context);
};

struct admin *admin_new(const struct admin_ports *ports);
void          admin_free(struct admin **admin);

struct admin_answer {
    unsigned     status;
    const char  *content_type;
    struct bytes body; /* in the request's arena */
    struct bytes fields;     /* further field lines, each with its CRLF; or absent */
    bool         has_purged; /* it is to be given when what was purged is on disk */
    bool         goes_on;    /* admin_continue has more, pause_ms later, when the body was sent */
    unsigned     pause_ms;
};

struct admin_request;
/* Makes the next part of the body, which may be empty. */
typedef void admin_more(struct admin *admin, struct admin_request *request);

struct admin_request {
    /* in */
    enum method   method;
    struct bytes  path, query;
    bool          is_privileged; /* came by the Unix socket, or may do the same */
    struct arena *arena;
    void (*done)(struct admin_request *request); /* may be called from inside admin_start */
    void *context;
    /* out */
    struct admin_answer answer;
    /* admin's own */
    struct list link;
    uint32_t    ticket;
    /* of an answer that goes on */
    admin_more *more;
    void       *stream;
};

void admin_start(struct admin *admin, struct admin_request *request);
/* The next part of the body of an answer that goes on; the one before it is not needed any more. */
void admin_continue(struct admin *admin, struct admin_request *request);
/* The asker went away: `done` is not called any more. */
void admin_cancel(struct admin *admin, struct admin_request *request);
/* The supervisor answered. */
void admin_reloaded(struct admin *admin, uint32_t ticket, bool accepted, struct bytes errors);

#endif
