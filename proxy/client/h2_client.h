/* The inside of an HTTP/2 client connection, shared by h2*.c and nobody else.
 *
 * DESIGN. A session lives as long as its connection; a stream, from the worker's spare ones, from a whole field section until its request is over. Frames are
 * read, checked and made here (RFC 9113); of the protocol a library (nghttp2) only decodes HPACK (h2_decoder.h).
 *
 * In. Bytes are cut into frames (h2_input.c), which are checked against the connection's and their stream's state (h2_receive.c; field sections: h2_section.c)
 * and what a client may do (h2_guard.c). All that is only noted, because what follows of a read may take it back: a stream to which something happened is put on
 * `events`. When all of a read was seen, h2_leave acts on the notes: requests start, uploads go on, requests of reset streams end.
 *
 * Out. Frames are collected in the plan (h2_plan.c): what is small is copied into it and leaves at the end of the loop's turn with everything else that is ready
 * by then; what is large is referred to, and leaves at once with all that is planned before it, in one writev. What the kernel does not take is kept in `out`;
 * while that is there, or the kernel was given what it has room for (`is_full`), no head and no body is taken of any request, so it holds at most a plan and what
 * the client's own frames are answered with, which h2_guard.c bounds. A request offers its memory (h2_send), of which as much becomes DATA frames as the windows
 * and this stream's turn allow (h2_write.c).
 * A stream that could send more waits: for its own window, which brings it back when it opens; for its turn or the connection's window, in `ready`:
 * urgency by urgency, round robin among incremental streams, one after the other among the rest (RFC 9218 §10); or, where it needs no window, in `prompt`.
 *
 * Invariants: 1. every way in (an event, a deadline, an operation of a stream) is bracketed by h2_enter and h2_leave: the session is freed by the last
 * h2_leave; 2. nothing of a request is called while a read is looked at; 3. the plan is one session's, and refers to a request's memory only inside h2_send;
 * 4. a stream is in `table` exactly until it is closed in the sense of RFC 9113 §5.1, or its request is over, which closes it; 5. when nothing more may be said
 * (`gone`, `is_terminated`), no frame is made.
 */
#ifndef CLIENT_H2_CLIENT_H
#define CLIENT_H2_CLIENT_H

#include "proxy/client/h2.h"
#include "proxy/client/h2_decoder.h"
#include "proxy/client/h2_encoder.h"
#include "proxy/client/h2_flow.h"
#include "proxy/client/h2_head.h"
#include "proxy/client/h2_repeats.h"
#include "proxy/client/h2_table.h"
#include "proxy/client/h2_wire.h"
#include "proxy/origin/tunnel.h"
#include "base/spill.h"

enum {
    H2_READ_BYTES = 64 * 1024,
    H2_PLAN_BYTES = 64 * 1024,  /* of frames that are copied */
    H2_PLAN_IOVECS = 64,
    H2_COPY_MAX_BYTES = 16 * 1024, /* of a body's frame: costs less than a system call of its own */
    H2_FRAME_BYTES = 16 * 1024 - H2_FRAME_HEADER_BYTES, /* of a body, where more follows: with its header they fill a TLS record */
    H2_TURN_MAX_BYTES = 4 * H2_FRAME_BYTES, /* of one stream, where the kernel has room for it */
    H2_FRAME_ROOM_BYTES = 16 * 1024 + 64, /* what a frame takes there, as a TLS record */
    H2_LITTLE_BYTES = 4 * 1024,       /* of one stream, where it has none: about what is copied to `out` then */
    H2_QUEUED_MUCH_BYTES = 64 * 1024, /* in the kernel */
    H2_TURN_SHARED_BYTES = H2_FRAME_BYTES,  /* of one stream while others wait */
    H2_TURN_REST_BYTES = 512,  /* a rest that is no larger goes with its turn */
    H2_SESSION_TURN_BYTES = 512 * 1024, /* of one session; then the loop's other connections have their turn */
    H2_SPARE_STREAMS_MAX = 256,
    H2_URGENCIES = 8,
    H2_URGENCY_DEFAULT = 3, /* RFC 9218 §4.1 */
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
    struct list         link; /* in sessions or resumable */
    struct list         streams, events;
    struct list         ready[H2_URGENCIES], prompt;
    struct deadline     deadline;
    struct spill       *out;
    struct h2_table     table;
    struct h2_decoder   decoder;
    struct h2_encoder   encoder;
    struct h2_block    *block; /* of the field section that is coming; NULL: none, or one that is not wanted */
    struct spill       *partial; /* what has come of `frame`, its header included */
    struct h2_frame     frame;   /* that is coming; of DATA, its payload */
    union socket_address peer;
    struct h2_budget    resets, control;
    struct h2_inflow    inflow;
    int32_t             outflow;
    uint32_t            stream_outflow;             /* that a stream begins with: the client's setting */
    uint32_t            stream_inflow;              /* likewise ours, as far as the client has acknowledged it */
    uint32_t            said_inflow, said_table;    /* as it was said to him */
    uint32_t            said_streams;
    uint32_t            stream_count;
    uint32_t            turn_bytes; /* sent in this turn */
    uint32_t            lingered_bytes;
    uint32_t            section_bytes, section_frames; /* of the field section that is coming, wanted or not */
    uint32_t            data_left, padding_left;       /* of the DATA frame that is coming */
    uint64_t            written_bytes; /* to the kernel, in all */
    uint64_t            window_bytes;  /* of those, when the deadline of a stalled client was set */
    size_t              queued_bytes;  /* in the kernel at that time */
    uint64_t            opened, ended; /* bit n: the client has opened, has ended, stream last_stream - 2n */
    int32_t             last_stream;   /* of the client's requests */
    int32_t             last_taken;    /* of those, the last one that was not ignored */
    int32_t             section_of;    /* stream of the field section that is coming; 0: none */
    uint8_t             preface_bytes; /* that have come */
    uint8_t             section_use;   /* enum h2_section_use: of the one that is coming */
    bool                section_ends;  /* its stream */
    bool                is_section_malformed; /* the trailers that are coming */
    uint8_t             state, listener, goaway; /* enum h2_goaway: we have ended it, for that */
    uint8_t             fault; /* enum h2_goaway: found in a read, to be acted upon */
    uint8_t             fault_code; /* enum h2_code; of H2_GOAWAY_PROTOCOL */
    uint8_t             depth;
    uint8_t             watched; /* what the deadline is for */
    bool                has_frame;     /* `frame` was read and checked */
    bool                is_greeted;      /* the client's settings have come */
    bool                is_acknowledged; /* ours have come to him */
    bool                is_terminated; /* the last frame was made, and nothing is read any more */
    bool                goaway_received;
    uint8_t             no_priorities; /* RFC 9218 §2.1: the client's setting; H2_UNSAID */
    bool                gone;  /* reading or writing failed */
    bool                is_full; /* the kernel was given what it has room for; until it says that it has much again */
    bool                was_used; /* a request came since the deadline was set */
};

enum { H2_UNSAID = 2 };

enum h2_event { H2_EVENT_HEAD = 1, H2_EVENT_BODY = 2, H2_EVENT_CLOSED = 4 };

struct h2_upload {
    struct upload   upload;
    struct spill   *received;
    struct deadline deadline; /* of the current window of the minimum rate */
    uint64_t        received_bytes, window_bytes;
    bool            complete, expects_continue;
};

/* What a stream offers; only inside h2_send. */
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
    struct list        turn;  /* in ready or prompt, or nowhere */
    struct list        event; /* in events, or nowhere */
    struct h2_table_link number; /* in table until it is closed */
    struct h2_session *session;
    struct request    *request; /* NULL: over */
    struct response_head *head; /* that waits until `out` is gone; the arena's */
    struct h2_inflow   inflow;
    int32_t            outflow;
    struct h2_priority priority;
    uint8_t            events;
    enum error         error;    /* of H2_EVENT_HEAD: refuse it; of H2_EVENT_CLOSED: why */
    bool has_begun;    /* the request was started or refused */
    bool head_sent;
    bool head_ends;    /* the head that waits ends the stream */
    bool ends;         /* the body's end was offered, and all of it taken */
    bool end_sent;     /* END_STREAM was made */
    bool remote_ended; /* END_STREAM came */
    bool is_closed;    /* RFC 9113 §5.1 */
    bool is_malformed; /* it was reset for that, and is to be forgotten */
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
    char            *heads; /* where heads are made that are too large for the plan */
    size_t           heads_capacity;
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

/* NULL: it is idle, or closed. */
static inline struct h2_stream *h2_stream_find(const struct h2_session *session, int32_t id)
{
    struct h2_table_link *link = h2_table_find(&session->table, id);
    return link ? LIST_OWNER(link, struct h2_stream, number) : NULL;
}

/* h2_clients.c */
struct h2_block *h2_block_take(struct h2_clients *clients);
void h2_block_give(struct h2_clients *clients, struct h2_block **block);
struct h2_stream *h2_stream_take(struct h2_session *session, int32_t id);
/* Forgets the stream: its request is over. */
void h2_stream_drop(struct h2_stream *stream);

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

/* h2_input.c */
/* What came of the client, in the order in which it came. */
void h2_receive(struct h2_session *session, struct bytes input);

/* h2_receive.c */
/* Its header: false, and a fault: it is not to be read. */
bool h2_receive_header(struct h2_session *session, struct h2_frame frame);
/* All of it, but for DATA. */
void h2_receive_frame(struct h2_session *session, struct h2_frame frame, struct bytes payload);
/* DATA: its beginning; its payload, as it comes; its end, all of it but the padding having come. */
void h2_receive_data_begin(struct h2_session *session, struct h2_frame frame, uint32_t padding);
void h2_receive_data(struct h2_session *session, struct h2_frame frame, struct bytes data);
void h2_receive_data_end(struct h2_session *session, struct h2_frame frame);
/* An error of the connection (RFC 9113 §5.4.1). False. */
bool h2_fail(struct h2_session *session, enum h2_code code);
void h2_note(struct h2_stream *stream, enum h2_event event);
/* The client has ended the stream. */
void h2_receive_end(struct h2_stream *stream);

/* h2_section.c */
enum h2_section_use { H2_SECTION_REQUEST, H2_SECTION_TRAILERS, H2_SECTION_IGNORED };
void h2_section_begin(struct h2_session *session, int32_t id, enum h2_section_use use, bool ends);
/* Takes a fragment. False, and a fault: it cannot be decoded. */
bool h2_section_read(struct h2_session *session, struct bytes fragment);
/* The last fragment was taken. */
void h2_section_end(struct h2_session *session);
/* It is broken off, if there is one. */
void h2_section_forget(struct h2_session *session);
/* RFC 9113 §8.1.1: resets it. */
void h2_reset_malformed(struct h2_stream *stream);

/* h2_guard.c: false: it is too much, session->fault says why. */
/* Frames have come together, the last of them perhaps in part. */
bool h2_guard_ahead(struct h2_session *session, struct bytes frames);
/* A frame has come. */
bool h2_guard_frame(struct h2_session *session, const struct h2_frame *frame);
/* The client has opened a window. */
bool h2_guard_window(struct h2_session *session, uint32_t increment);
/* His windows make us send a frame of a few bytes. */
bool h2_guard_small_frame(struct h2_session *session);
/* A stream was reset by us. */
void h2_guard_reset_sent(struct h2_session *session, enum h2_code code);

/* h2_plan.c: nothing of it does anything when nothing more may be said. */
/* Writes the plan, if it is this session's. */
void h2_flush(struct h2_session *session);
/* Writes `out`. */
void h2_flush_out(struct h2_session *session);
void h2_plan_copy(struct h2_session *session, const void *at, size_t length);
/* Memory that stays until the plan is written. */
void h2_plan_refer(struct h2_session *session, const char *at, size_t length);
void h2_put_settings(struct h2_session *session);
void h2_put_settings_ack(struct h2_session *session);
void h2_put_ping_ack(struct h2_session *session, const char *payload);
void h2_put_window_update(struct h2_session *session, int32_t id, uint32_t increment);
void h2_put_goaway(struct h2_session *session, int32_t last_stream, enum h2_code code);
/* Closes the stream, unless it is closed: the client is told by this code. */
void h2_put_reset(struct h2_stream *stream, enum h2_code code);
/* Of a stream that has no memory here. */
void h2_put_refusal(struct h2_session *session, int32_t id, enum h2_code code);
/* While there is no `out`. */
void h2_put_head(struct h2_stream *stream, const struct response_head *head, bool ends);
void h2_put_interim(struct h2_stream *stream, unsigned status, const struct headers *fields);

/* h2_write.c */
/* What is made now would wait for the kernel. */
static inline bool h2_is_full(const struct h2_session *session)
{
    return session->out || session->is_full;
}
/* Streams that wait have their turns. */
void h2_take_turns(struct h2_session *session);
bool h2_has_turns(const struct h2_session *session);
/* It waits for a turn, with windows that are not shut. */
void h2_make_ready(struct h2_stream *stream);
/* It is told, or says something, that needs no window. */
void h2_make_prompt(struct h2_stream *stream);
/* Its window, or the connection's, was opened from nothing. */
void h2_window_opened(struct h2_stream *stream);
ssize_t h2_write_body(struct h2_stream *stream, const struct iovec *iov, int count, bool last);
/* END_STREAM was made. */
void h2_stream_end_sent(struct h2_stream *stream);
/* So many bytes of the client's were taken, or are not wanted: they make room, in the window of their stream too, if it is there, or only in the connection's. */
void h2_give_room(struct h2_session *session, struct h2_stream *stream, uint32_t bytes);

/* h2_stream.c */
extern const struct stream_ops h2_stream_ops;
/* The client is not there any more: tells the request, or the tunnel, and drops the stream. */
void h2_stream_gone(struct h2_stream *stream, enum error why);
/* Acts on what was noted of it. */
void h2_stream_act(struct h2_stream *stream);
/* Its request ends here; the client is told by this code. */
void h2_stream_abort(struct h2_stream *stream, enum h2_code code, enum error why);
/* It is closed in the sense of RFC 9113 §5.1; its request may go on. */
void h2_stream_close(struct h2_stream *stream);
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
