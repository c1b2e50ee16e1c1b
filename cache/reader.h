/* A reader: the one source of every response that is delivered, whether it is stored, or still arriving from an origin.
 *
 * A reader is embedded in its request and opened by cache_lookup. It belongs to one loop; its waker is called from any.
 * Phases: open → (head waits → head ready) → data/wait… → end → closed. A reader holds its response: nothing it points at is evicted
 * before reader_consume has passed it (data) or reader_close (head).
 */
#ifndef CACHE_READER_H
#define CACHE_READER_H

#include "base/error.h"
#include "base/list.h"
#include "base/waker.h"
#include "cache/policy/detail.h"
#include "cache/policy/meta.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct cache;
struct fill;
struct headers;
struct object;
struct site_rules;
struct visitor;

struct reader {
    /* owner's loop only */
    struct cache  *cache;
    struct object *object;  /* a reference, once the head is ready; with `visitor`, none */
    struct visitor *visitor; /* that has the object (visitor.h); or NULL */
    struct fill   *fill;    /* a reference, or NULL: the response was stored at the lookup */
    bool           is_open; /* the head is ready */
    bool           is_complete; /* nothing will arrive: no lock is needed any more */
    bool           is_originator;
    uint64_t       purge_sequence; /* at the lookup */
    enum response_source {  /* how this reader came to this response */
        SOURCE_STORED,         /* it was there at the lookup */
        SOURCE_FETCHED,        /* the fill brought it */
        SOURCE_REVALIDATED,    /* it was there, and the fill's 304 confirmed it */
        SOURCE_STALE_ON_ERROR, /* it was there, stale, and the fill failed */
        SOURCE_STALE_ON_DELAY, /* it was there, stale, and the fill took too long */
    } source;
    /* of the request, for what is decided when the head is there */
    enum method              method;
    const struct headers    *fields;
    const struct site_rules *rules;
    struct wall_seconds      now;
    /* shared, under the fill's lock while there is one */
    struct waker *waker;
    uint64_t      position;    /* next byte to read */
    uint64_t      end;         /* first byte not wanted; UINT64_MAX = to the end */
    struct list   link;        /* in the fill's readers */
    bool          waiting;     /* wants a wake */
    bool          is_released; /* the response is the originator's alone */
};

enum reader_head {
    READER_HEAD_READY,
    READER_HEAD_WAIT,     /* the waker is called when this changes */
    READER_HEAD_RELEASED, /* the response turned out not to be for this request: close and look up again, with is_private unless view->detail is DETAIL_VARIANT or DETAIL_PURGED */
    READER_HEAD_FAILED,   /* *error tells why: close. ERROR_ORIGIN_ERROR: who asked got an error status, which is not for others */
};

/* A stored (or arriving) response as its readers see it. Borrowed from the reader. */
struct response_view {
    enum response_source        source;
    bool                        is_stored; /* kept, or being kept */
    enum cache_detail           detail;    /* why it is not kept, or why the reader was released */
    unsigned                    status;
    struct bytes                status_line; /* with its CRLF; empty: it is the usual one (base/status_line.h) */
    struct bytes                fields; /* field lines, each with its CRLF, no empty line; without Age, Connection, framing fields */
    struct bytes                personal; /* field lines that are not stored: this request's alone */
    struct bytes                hidden; /* field lines that were meant for this cache: they count, and are not sent */
    struct bytes                early_hints; /* field lines of the 103s that came before it (RFC 8297), where the site keeps them */
    struct response_meta        meta;   /* as it came, whatever was purged since */
    uint64_t                    length; /* of the whole body, valid when length_known */
    bool                        length_known;
    bool                        is_complete; /* nothing more will arrive */
    bool                        is_sliced;   /* the body lies in slices: cache_open_slice, never reader_peek */
};

enum reader_head reader_head(struct reader *reader, struct response_view *view, enum error *error);

/* Instead of waiting on for the head: the stale response that the fill was to refresh, where it may be served while the origin is in trouble
 * (reuse_allowed_on_error). The fill goes on without this reader. False: there is none, or it must not be; or the head is there by now. */
bool reader_take_stale(struct reader *reader);

/* Restricts delivery to [first, end): before the first peek, or after READER_END. Never backwards, unless what is read is kept and complete. */
void reader_set_range(struct reader *reader, uint64_t first, uint64_t end);

enum reader_state {
    READER_DATA,   /* iov filled */
    READER_WAIT,   /* nothing new yet; the waker is called when there is */
    READER_END,    /* everything wanted was consumed */
    READER_FAILED, /* the fill broke off after its head: the client must see the truncation */
};

/* Points `iov` (at most *count, set to what was filled) at the bytes from `position` on, at most `max_bytes`. They stay valid until they are consumed. */
enum reader_state reader_peek(struct reader *reader, struct iovec *iov, int *count, size_t max_bytes);
/* The bytes were handed to the kernel or copied. */
void reader_consume(struct reader *reader, size_t bytes);

/* It stays open while its loop does other things: nothing is evicted that it reads, where that would free no memory. Not needed for safety; idempotent. */
void reader_keep(struct reader *reader);

/* After this returns the waker is not called again on behalf of this reader. Idempotent; nothing on a zeroed reader. */
void reader_close(struct reader *reader);

#endif
