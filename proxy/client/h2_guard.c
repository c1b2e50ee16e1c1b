/* What an HTTP/2 client may not do too much of (HARDENING, HTTP/2 abuse), and what nghttp2 lets pass.
 *
 * DESIGN. The header of every frame is looked at here before nghttp2 has it, since that says nothing of frames that it ignores. What carries nothing costs a
 * token of a budget, which comes back with time; who has spent it all has his connection closed. A client's mistakes that make us reset a stream cost as much
 * as his own resets (CVE-2023-44487, CVE-2025-8671).
 */
#include "proxy/client/h2_client.h"

enum {
    SMALL_INCREMENT_BYTES = 1024, /* of a window: those below cost */
    CONTINUATION_BYTES = 2048,    /* of a field section: fewer in a frame are too few… */
    CONTINUATIONS_MIN = 4,        /* …but for so many frames */
    BUDGET_SECONDS = 10,          /* until all of a budget has come back */
};

static bool fail(struct h2_session *session, enum h2_goaway fault)
{
    session->fault = (uint8_t)fault;
    return false;
}

static bool spend(struct h2_session *session, struct h2_budget *budget, unsigned most, enum h2_goaway fault)
{
    struct monotonic_ms now = loop_now(session->worker->loop);
    int64_t back = monotonic_since(now, budget->at) * most / BUDGET_SECONDS; /* in thousandths */
    budget->spent = back < budget->spent ? budget->spent - (uint32_t)back : 0;
    budget->at = now;
    budget->spent += 1000;
    if (budget->spent <= (uint64_t)most * 1000)
        return true;
    return fail(session, fault);
}

static bool spend_control(struct h2_session *session, enum h2_goaway fault)
{
    return spend(session, &session->control, h2_config(session)->http2_control_frames, fault);
}

static bool spend_reset(struct h2_session *session)
{
    return spend(session, &session->resets, h2_config(session)->http2_resets, H2_GOAWAY_RESETS);
}

static bool count_continuation(struct h2_session *session)
{
    if (++session->section_frames <= CONTINUATIONS_MIN + h2_config(session)->header_bytes_max / CONTINUATION_BYTES)
        return true;
    return fail(session, H2_GOAWAY_CONTINUATIONS);
}

/* nghttp2 forgets streams that are closed, and is lenient with frames on them. Those that we have reset may still be on their way; on one that the client
 * has ended itself, or has left out, they are errors (RFC 9113 §5.1, §5.1.1). Of the streams far behind it is not known any more. */
static bool note_stream(struct h2_session *session, const nghttp2_frame_hd *hd)
{
    if (hd->stream_id % 2 == 0)
        return true;
    if (hd->stream_id > session->last_stream) {
        unsigned ahead = ((unsigned)(hd->stream_id - session->last_stream) + 1) / 2;
        if (hd->type != NGHTTP2_HEADERS)
            return true; /* an idle stream: nghttp2 knows */
        session->opened = ahead < 64 ? session->opened << ahead : 0;
        session->ended = ahead < 64 ? session->ended << ahead : 0;
        session->last_stream = hd->stream_id;
        session->opened |= 1;
    }
    unsigned behind = (unsigned)(session->last_stream - hd->stream_id) / 2;
    if (behind >= 64)
        return true;
    uint64_t bit = UINT64_C(1) << behind;
    if (!(session->opened & bit))
        session->fault = H2_GOAWAY_PROTOCOL;
    else if ((session->ended & bit) && !nghttp2_session_find_stream(session->protocol, hd->stream_id))
        session->fault = H2_GOAWAY_STREAM_CLOSED;
    if (hd->flags & NGHTTP2_FLAG_END_STREAM)
        session->ended |= bit;
    return session->fault == H2_GOAWAY_NONE;
}

/* The header of a frame. False: session->fault says why no more of this client is wanted. */
static bool check_frame(struct h2_session *session, const nghttp2_frame_hd *hd)
{
    if (hd->type == NGHTTP2_CONTINUATION)
        return count_continuation(session);
    session->section_frames = 0;
    switch (hd->type) {
    case NGHTTP2_HEADERS:
        return note_stream(session, hd);
    case NGHTTP2_DATA:
        return note_stream(session, hd) &&
               (hd->length > 0 || (hd->flags & NGHTTP2_FLAG_END_STREAM) || spend_control(session, H2_GOAWAY_CONTROL_FRAMES));
    case NGHTTP2_WINDOW_UPDATE: /* it depends on how far: h2_guard_window */
        return true;
    case NGHTTP2_PRIORITY:
        if (hd->stream_id == 0) /* RFC 9113 §6.3 */
            return fail(session, H2_GOAWAY_PROTOCOL);
        return spend_control(session, H2_GOAWAY_CONTROL_FRAMES);
    case NGHTTP2_RST_STREAM:
        counter_add(session->worker->counters, COUNTER_HTTP2_RESETS_RECEIVED, 1);
        return spend_reset(session);
    default: /* SETTINGS, PING, PRIORITY_UPDATE, GOAWAY and what nobody knows */
        return spend_control(session, H2_GOAWAY_CONTROL_FRAMES);
    }
}

static uint32_t read_number(const uint8_t *at, unsigned bytes)
{
    uint32_t number = 0;
    for (unsigned i = 0; i < bytes; i++)
        number = number << 8 | at[i];
    return number;
}

/* RFC 9113 §4.1 */
static bool check_header(struct h2_session *session, const uint8_t *header)
{
    const nghttp2_frame_hd hd = {
        .length = read_number(header, 3),
        .type = header[3],
        .flags = header[4],
        .stream_id = (int32_t)(read_number(header + 5, 4) & INT32_MAX),
    };
    session->passing_bytes = (uint32_t)hd.length;
    return check_frame(session, &hd);
}

bool h2_guard_input(struct h2_session *session, struct bytes input)
{
    const uint8_t *at = (const uint8_t *)input.at, *end = at + input.len;
    while (at < end) {
        size_t there = (size_t)(end - at);
        if (session->passing_bytes > 0) {
            size_t passed = there < session->passing_bytes ? there : session->passing_bytes;
            session->passing_bytes -= (uint32_t)passed;
            at += passed;
            continue;
        }
        size_t wanted = H2_FRAME_HEADER_BYTES - session->header_len, taken = there < wanted ? there : wanted;
        memcpy(session->header + session->header_len, at, taken);
        session->header_len += (uint8_t)taken;
        at += taken;
        if (session->header_len < H2_FRAME_HEADER_BYTES)
            return true;
        session->header_len = 0;
        if (!check_header(session, session->header))
            return false;
    }
    return true;
}

bool h2_guard_window(struct h2_session *session, uint32_t increment)
{
    return increment >= SMALL_INCREMENT_BYTES || spend_control(session, H2_GOAWAY_SMALL_FRAMES);
}

bool h2_guard_small_frame(struct h2_session *session)
{
    return spend_control(session, H2_GOAWAY_SMALL_FRAMES);
}

void h2_guard_reset_sent(struct h2_session *session, uint32_t code)
{
    if (code != NGHTTP2_NO_ERROR && code != NGHTTP2_INTERNAL_ERROR) /* which are not the client's doing */
        spend_reset(session);
}
