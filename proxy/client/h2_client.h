/* The inside of an HTTP/2 client connection, shared by h2*.c and nobody else.
 *
 * DESIGN. nghttp2 keeps the states, windows and tables of the protocol; this module keeps the requests, the bytes and the order of things. A session lives as
 * long as its connection; a stream, from the worker's spare ones, from a whole field section until its request is over.
 *
 * In. Bytes go to nghttp2, whose callbacks (h2_receive.c) only take notes, since nghttp2 must not be called from inside of itself: a stream to which something
 * happened is put on `events`. When nghttp2 has returned, h2_leave acts on the notes: requests start, uploads go on, requests of reset streams end.
 *
 * Out. A request offers its memory (h2_send). nghttp2 makes frames of as much as the windows and this stream's turn allow, but for the fields of responses,
 * which are put into its HEADERS frames as they leave (h2_encoder.h), and the plan (h2_write.c) collects them: what is small is copied into the plan and leaves at the end of the loop's turn with everything else that is ready by then; what is large
 * is referred to, and leaves at once with all that is planned before it, in one writev. What the kernel does not take is kept in `out`; while that is there,
 * nghttp2 makes no frames, so it holds at most a plan.
 * A stream that could send more waits: for a window, then nghttp2 asks for its bytes when that opens; or for its turn, in `ready`: urgency by urgency,
 * round robin among incremental streams, one after the other among the rest (RFC 9218 §10).
 *
 * Invariants: 1. every way in (an event, a deadline, an operation of a stream) is bracketed by h2_enter and h2_leave: the session is freed by the last
 * h2_leave; 2. nothing of a request is called from a callback of nghttp2; 3. the plan is one session's, and refers to a request's memory only inside h2_send;
 * 4. a stream is nghttp2's user data exactly as long as it is in `streams`.
 */
#ifndef CLIENT_H2_CLIENT_H
#define CLIENT_H2_CLIENT_H

#include "proxy/client/h2.h"
#include "proxy/client/h2_encoder.h"
#include "proxy/client/h2_fields.h"
#include "proxy/client/h2_head.h"
#include "proxy/client/h2_repeats.h"
#include "proxy/origin/tunnel.h"
#include "base/spill.h"

#include <nghttp2/nghttp2.h>

enum {
    H2_READ_BYTES = 64 * 1024,
    H2_PLAN_BYTES = 64 * 1024,  /* of frames that are copied */
    H2_PLAN_IOVECS = 64,
    H2_COPY_MAX_BYTES = 16 * 1024, /* of a body's frame: costs less than a system call of its own */
    H2_FRAME_HEADER_BYTES = 9,
    H2_FRAME_BYTES = 16 * 1024 - H2_FRAME_HEADER_BYTES, /* of a body, where more follows: with its header they fill a TLS record */
    H2_TURN_MAX_BYTES = 4 * H2_FRAME_BYTES, /* of one stream, where the kernel has room for it */
    H2_LITTLE_BYTES = 4 * 1024,       /* likewise, where it has none: about what is copied to `out` then */
    H2_QUEUED_MUCH_BYTES = 64 * 1024, /* in the kernel */
    H2_TURN_SHARED_BYTES = H2_FRAME_BYTES,  /* of one stream while others wait */
    H2_TURN_REST_BYTES = 512,  /* a rest that is no larger goes with its turn */
    H2_SESSION_TURN_BYTES = 512 * 1024, /* of one session; then the loop's other connections have their turn */
    H2_SPARE_STREAMS_MAX = 256,
    H2_BLOCK_UNITS = 32, /* of 16 bytes: nghttp2's blocks that are smaller are kept */
    H2_URGENCIES = 8,
    H2_LINGER_MAX_BYTES = 256 * 1024,
    H2_LINGER_MS = 2000,
    H2_DRAIN_NOTICE_MS = 500,  /* between the notice that no more requests are wanted and the word that none is taken (RFC 9113 §6.8) */
};

enum h2_state {
    H2_GREETING, /* the client's settings have not come */
    H2_OPEN,
    H2_NOTICED,  /* drain: the client was told, requests that are on their way are still taken */
    H2_ENDING,   /* no new request is taken */
    H2_LINGER,   /* everything is said; what still comes is thrown away, so that no reset overtakes it */
    H2_CLOSED,
};

enum h2_goaway {
    H2_GOAWAY_NONE,
#define H2_GOAWAY(name, code, text) H2_GOAWAY_##name,
#include "proxy/client/h2_goaway.tbl"
#undef H2_GOAWAY
    H2_GOAWAY_COUNT,
};

/* Tokens that come back with time: what a client may do much at once, but not for long (HARDENING, HTTP/2 abuse). */
struct h2_budget {
    uint32_t            spent; /* in thousandths of what may be spent, so that they come back smoothly */
    struct monotonic_ms at;
};

struct h2_session {
    struct worker      *worker;
    struct connection  *connection;
    nghttp2_session    *protocol;
    struct list         link; /* in sessions or resumable */
    struct list         streams, events;
    struct list         ready[H2_URGENCIES];
    struct deadline     deadline; 
    struct spill       *out;
    struct h2_encoder   encoder;
    struct h2_stream   *sending; /* inside h2_write_body: of most callbacks of nghttp2 then */
    const struct response_head *sent_head; /* of the HEADERS frame that nghttp2 has just made */
    void               *frame_buffer; /* of `protocol`; the worker's */
    struct h2_block    *block; /* of the field section that is coming; NULL: none, or one that is not wanted */
    union socket_address peer;
    struct h2_budget    resets, control;
    uint32_t            stream_count;
    uint32_t            turn_bytes; /* sent in this turn */
    uint32_t            lingered_bytes;
    uint32_t            section_bytes, section_frames; /* of the field section that is coming, wanted or not */
    uint64_t            written_bytes; /* to the kernel, in all */
    uint64_t            window_bytes;  /* of those, when the deadline of a stalled client was set */
    size_t              queued_bytes;  /* in the kernel at that time */
    uint64_t            opened, ended; /* bit n: the client has opened, has ended, stream last_stream - 2n */
    int32_t             last_stream; /* of the client's requests */
    int32_t             section_of; /* stream of the field section that is coming; 0: none */
    uint32_t            passing_bytes; /* of the preface, then of the frame that is coming */
    uint8_t             header[H2_FRAME_HEADER_BYTES], header_len; /* of the next one, as far as it has come */
    uint8_t             state, listener, goaway; /* enum h2_goaway: we have ended it, for that */
    uint8_t             fault; /* enum h2_goaway: found in a callback, to be acted upon */
    uint8_t             depth;
    uint8_t             watched; /* what the deadline is for */
    bool                gone;  /* reading or writing failed */
    bool                is_section_malformed; /* the trailers that are coming */
    bool                was_used; /* a request came since the deadline was set */
};

enum h2_event { H2_EVENT_HEAD = 1, H2_EVENT_BODY = 2, H2_EVENT_CLOSED = 4 };

struct h2_upload {
    struct upload   upload;
    struct spill   *received;
    struct deadline deadline; /* of the current window of the minimum rate */
    uint64_t        received_bytes, window_bytes;
    bool            complete, expects_continue;
};

/* What a stream offers to nghttp2; only inside h2_send. */
struct h2_offer {
    const struct iovec *iov;
    int    count;
    size_t at;   /* in iov[0] */
    size_t left; /* in all */
    size_t turn; /* how much of it may go now */
};

#define BODY_LENGTH_UNKNOWN UINT64_MAX

struct h2_stream {
    struct stream      stream;
    struct list        link;  /* in streams or spare */
    struct list        turn;  /* in ready, or nowhere */
    struct list        event; /* in events, or nowhere */
    struct h2_session *session;
    struct request    *request; /* NULL: over */
    const struct response_head *head; /* nghttp2 has its HEADERS frame still to make; inside send the caller's, then the arena's */
    int32_t            id;
    struct h2_priority priority;
    uint8_t            events;
    enum error         error;    /* of H2_EVENT_HEAD: refuse it; of H2_EVENT_CLOSED: why */
    bool has_begun;    /* the request was started or refused */
    bool head_sent;
    bool ends;         /* the body's end was offered, and all of it taken */
    bool end_sent;     /* END_STREAM left nghttp2 */
    bool remote_ended; /* END_STREAM came */
    bool is_closed;    /* in nghttp2 */
    bool is_malformed; /* it was reset for that, and is to be forgotten */
    bool is_deferred;  /* nghttp2 does not ask for its bytes until it is told to */
    bool waits;        /* the request was told that less was taken than offered */
    bool moved;        /* bytes of its body left since it was last given a turn */
    bool is_tunnel;    /* RFC 8441, after the origin's 101: there are only bytes now */
    bool tunnel_ended; /* the end of what came was read */
    uint8_t tunnel_wants;
    struct tunnel_stream tunnel;
    bool is_extended_connect;
    bool awaits_end;   /* its request starts when the client has ended it */
    bool has_upload;
    uint64_t body_length, body_bytes; /* of the request: as it says, and as came */
    uint64_t         sent_bytes;   /* of its body */
    uint64_t         window_bytes; /* of those, when `stall` was set, and of all that its connection was given */
    uint64_t         window_session_bytes;
    struct deadline  stall;
    struct h2_offer  offer;
    struct h2_upload upload;
};

/* Frames on their way to one connection. */
struct h2_plan {
    struct h2_session *of; /* NULL: nobody's */
    struct iovec iov[H2_PLAN_IOVECS];
    int    count;
    bool   refers; /* to a request's memory */
    size_t bytes, used; /* in all; of `frames` */
    char   frames[H2_PLAN_BYTES];
};

struct h2_block_link {
    struct h2_block_link *next;
};

/* Memory of nghttp2's sessions: h2_memory.c. Zeroed at first. */
struct h2_memory {
    struct h2_block_link *blocks[H2_BLOCK_UNITS];
    uint32_t blocks_bytes;
    void    *frame_buffer; /* of all of them */
    size_t   frame_buffer_bytes;
};

/* A worker's clients. */
struct h2_clients {
    struct worker   *worker;
    struct list      sessions;
    struct list      resumable; /* those with more to send than one turn takes */
    struct mail      resume;
    struct list      spare;
    unsigned         spare_count;
    bool             is_cut; /* waits for its mail to be freed */
    struct h2_block *spare_block;
    struct h2_repeats repeats;
    nghttp2_session_callbacks *callbacks; /* of every session */
    nghttp2_option  *options;
    struct h2_fields fields;
    char            *heads; /* where frames with a response's fields are made */
    size_t           heads_capacity;
    struct h2_memory memory;
    struct h2_plan   plan;
};

static inline const struct config *h2_config(const struct h2_session *session)
{
    return session->worker->config;
}

static inline struct h2_stream *h2_stream_of(struct stream *stream)
{
    return LIST_OWNER(stream, struct h2_stream, stream);
}

/* What nghttp2's callbacks are about. NULL: its request is over. */
static inline struct h2_stream *h2_stream_by_id(const struct h2_session *session, int32_t id)
{
    if (session->sending && session->sending->id == id && !session->sending->is_closed)
        return session->sending;
    return nghttp2_session_get_stream_user_data(session->protocol, id);
}

/* h2_clients.c */
struct h2_block *h2_block_take(struct h2_clients *clients);
void h2_block_give(struct h2_clients *clients, struct h2_block **block);
struct h2_stream *h2_stream_take(struct h2_session *session, int32_t id);
/* Forgets the stream: its request is over. */
void h2_stream_drop(struct h2_stream *stream);

/* h2_memory.c: for nghttp2_session_server_new3. */
nghttp2_mem h2_memory_of(struct h2_session *session);
void h2_memory_free(struct h2_memory *memory);

/* h2_session.c */
/* What came before this module had the connection. */
void h2_begin(struct h2_session *session, struct bytes already_read);
void h2_enter(struct h2_session *session);
void h2_leave(struct h2_session *session);
/* As h2_leave, for who is called by a request: what has to be done of others is done later in this turn of the loop. */
void h2_leave_later(struct h2_session *session);
void h2_settle_later(struct h2_session *session);
/* Ends the connection in an orderly way: what was sent goes out first, requests under way end. */
void h2_end(struct h2_session *session, enum h2_goaway why);
/* Closes it at once. */
void h2_close(struct h2_session *session, enum error why);
void h2_begin_drain(struct h2_session *session);
/* Counts and logs it. */
void h2_note_end(struct h2_session *session, enum h2_goaway why);
extern const struct connection_events h2_connection_events;

/* h2_receive.c */
/* Settings are submitted. */
nghttp2_session *h2_protocol_new(struct h2_session *session);
void h2_note(struct h2_stream *stream, enum h2_event event);

/* h2_guard.c: false: it is too much, session->fault says why. */
bool h2_guard_input(struct h2_session *session, struct bytes input);
/* The client has opened a window. */
bool h2_guard_window(struct h2_session *session, uint32_t increment);
/* His windows make us send a frame of a few bytes. */
bool h2_guard_small_frame(struct h2_session *session);
/* A stream was reset by us. */
void h2_guard_reset_sent(struct h2_session *session, uint32_t code);

/* h2_write.c */
/* Lets nghttp2 make the frames that it has. */
void h2_produce(struct h2_session *session);
/* Writes the plan, if it is this session's. */
void h2_flush(struct h2_session *session);
/* Writes `out`. */
void h2_flush_out(struct h2_session *session);
/* Streams that wait have their turns. */
void h2_take_turns(struct h2_session *session);
void h2_make_ready(struct h2_stream *stream);
extern const nghttp2_data_provider h2_body_provider;
int h2_on_send_data(nghttp2_session *protocol, nghttp2_frame *frame, const uint8_t *header, size_t length, nghttp2_data_source *source,
                    void *context);
ssize_t h2_write_body(struct h2_stream *stream, const struct iovec *iov, int count, bool last);

/* h2_stream.c */
extern const struct stream_ops h2_stream_ops;
/* The client is not there any more: tells the request, or the tunnel, and drops the stream. */
void h2_stream_gone(struct h2_stream *stream, enum error why);
/* Acts on what was noted of it. */
void h2_stream_act(struct h2_stream *stream);
/* Its request ends here; the client is told by this code. */
void h2_stream_abort(struct h2_stream *stream, uint32_t code, enum error why);
void h2_stream_watch_stall(struct h2_stream *stream);
/* It is given up unless something comes in time. */
void h2_stream_await_end(struct h2_stream *stream);

/* h2_tunnel.c */
struct tunnel_stream *h2_tunnel_take(struct stream *base);
void h2_tunnel_act(struct h2_stream *stream);
void h2_tunnel_writable(struct h2_stream *stream);

/* h2_upload.c */
void h2_upload_begin(struct h2_stream *stream, const struct h2_framing *framing);
/* False: more than may come. */
bool h2_upload_feed(struct h2_stream *stream, struct bytes bytes);
void h2_upload_ended(struct h2_stream *stream);
/* Tells the fetch that listens. */
void h2_upload_notify(struct h2_stream *stream);
/* The body ends here, badly. */
void h2_upload_fail(struct h2_stream *stream, enum error error);
/* Starts and stops the clock of the minimum rate. */
void h2_upload_watch(struct h2_stream *stream);
void h2_upload_end(struct h2_stream *stream);

#endif
