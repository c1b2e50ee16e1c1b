/* One line per request: `combined` with the cache's word and reason behind it, or JSON. */
#ifndef OBSERVE_ACCESS_LOG_H
#define OBSERVE_ACCESS_LOG_H

#include "base/bytes.h"
#include "base/clock.h"
#include "proxy/observe/counters.h"

enum access_format { ACCESS_COMBINED, ACCESS_JSON };

/* A line fits into that much whatever clients sent; more room means fewer cuts. */
enum { ACCESS_LINE_MIN = 1700 };

struct access_entry {
    struct bytes        client;   /* address */
    struct wall_seconds time;
    struct bytes        method, target; /* as received; may be absent when the request line was malformed */
    unsigned            http_major, http_minor;
    unsigned            status;   /* 0: connection ended without an answer, written as 499 like nginx */
    uint64_t            body_bytes;
    struct bytes        referer, user_agent, host;
    enum cache_result   result;
    const char         *detail;   /* word, "" for none */
    const char         *error;    /* word of the error, "" for none */
    uint64_t            duration_us;
    struct bytes        origin;   /* address that answered, or absent */
    const char         *tls_version, *tls_cipher; /* JSON only; NULL: plain */
    struct bytes        tls_name; /* the server name asked for, or absent */
    struct bytes        request_id, traceparent; /* JSON only; left out when absent */
    struct bytes        scheme, site; /* likewise; the site by its first host */
};

/* As it is written. */
static inline unsigned access_entry_status(const struct access_entry *entry)
{
    return entry->status > 0 ? entry->status : 499;
}

/* combined: `client - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 2326 "referer" "agent" HIT reason 0.000123 host`.
 * Times are UTC. The reason is the error's word, else the detail's, else `-`. Whatever is not printable ASCII in what clients sent, quotes and backslashes are
 * escaped (\xNN), and so is a space in the host; JSON by its own rules, always valid UTF-8, null for what is absent.
 * Returns the bytes written, newline included; a line that does not fit is cut in the client's longest fields, never in the structure. `size` is at least
 * ACCESS_LINE_MIN. */
size_t access_log_format(const struct access_entry *entry, enum access_format format, char *out, size_t size);

#endif
