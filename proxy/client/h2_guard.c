/* What an HTTP/2 client may not do too much of (HARDENING, HTTP/2 abuse).
 *
 * DESIGN. The header of every frame is looked at here before the frame is read. What carries nothing costs a token of a budget, which comes back with time; who
 * has spent it all has his connection closed. A client's mistakes that make us reset a stream cost as much as his own resets (CVE-2023-44487, CVE-2025-8671).
 * Frames that came together are counted first: of more than may be none is read, and nothing is made for any of them.
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

/* What of a budget has not come back yet, in thousandths. */
static uint32_t spent_of(const struct h2_session *session, const struct h2_budget *budget, unsigned most)
{
    int64_t back = monotonic_since(loop_now(session->worker->loop), budget->at) * most / BUDGET_SECONDS;
    return back < budget->spent ? budget->spent - (uint32_t)back : 0;
}

static bool spend(struct h2_session *session, struct h2_budget *budget, unsigned most, enum h2_goaway fault)
{
    budget->spent = spent_of(session, budget, most) + 1000;
    budget->at = loop_now(session->worker->loop);
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

/* SETTINGS, PING, PRIORITY, PRIORITY_UPDATE, GOAWAY and what nobody knows; DATA that says nothing. */
static bool is_control(const struct h2_frame *frame)
{
    switch (frame->type) {
    case H2_FRAME_HEADERS:
    case H2_FRAME_CONTINUATION:
    case H2_FRAME_RST_STREAM:
    case H2_FRAME_WINDOW_UPDATE: /* it depends on how far: h2_guard_window */
        return false;
    case H2_FRAME_DATA:
        return frame->length == 0 && !(frame->flags & H2_FLAG_END_STREAM);
    default:
        return true;
    }
}

static bool is_within(const struct h2_session *session, const struct h2_budget *budget, unsigned most, unsigned frames)
{
    return frames < 2 || spent_of(session, budget, most) + frames * UINT64_C(1000) <= most * UINT64_C(1000);
}

/* Resets, the client's or ours for what is wrong whatever the stream: a window that is opened by nothing (RFC 9113 §6.9). `frame` is whole. */
static bool costs_reset(const struct h2_frame *frame, const char *payload)
{
    if (frame->type == H2_FRAME_WINDOW_UPDATE && frame->length == H2_WINDOW_UPDATE_BYTES)
        return frame->stream != 0 && h2_get31((const uint8_t *)payload) == 0;
    return frame->type == H2_FRAME_RST_STREAM;
}

bool h2_guard_ahead(struct h2_session *session, struct bytes frames)
{
    const struct config *config = h2_config(session);
    unsigned resets = 0, received = 0, controls = 0;
    for (size_t at = 0; frames.len - at >= H2_FRAME_HEADER_BYTES;) {
        struct h2_frame frame = h2_get_frame((const uint8_t *)frames.at + at);
        if (frame.length > frames.len - at - H2_FRAME_HEADER_BYTES)
            break;
        at += H2_FRAME_HEADER_BYTES;
        resets += costs_reset(&frame, frames.at + at);
        received += frame.type == H2_FRAME_RST_STREAM;
        controls += is_control(&frame);
        at += frame.length;
    }
    if (!is_within(session, &session->control, config->http2_control_frames, controls))
        return fail(session, H2_GOAWAY_CONTROL_FRAMES);
    if (is_within(session, &session->resets, config->http2_resets, resets))
        return true;
    counter_add(session->worker->counters, COUNTER_HTTP2_RESETS_RECEIVED, received);
    return fail(session, H2_GOAWAY_RESETS);
}

static bool count_continuation(struct h2_session *session)
{
    if (++session->section_frames <= CONTINUATIONS_MIN + h2_config(session)->header_bytes_max / CONTINUATION_BYTES)
        return true;
    return fail(session, H2_GOAWAY_CONTINUATIONS);
}

bool h2_guard_frame(struct h2_session *session, const struct h2_frame *frame)
{
    if (frame->type == H2_FRAME_CONTINUATION)
        return count_continuation(session);
    session->section_frames = 0;
    if (frame->type == H2_FRAME_RST_STREAM) {
        counter_add(session->worker->counters, COUNTER_HTTP2_RESETS_RECEIVED, 1);
        return spend_reset(session);
    }
    return !is_control(frame) || spend_control(session, H2_GOAWAY_CONTROL_FRAMES);
}

bool h2_guard_window(struct h2_session *session, uint32_t increment)
{
    return increment >= SMALL_INCREMENT_BYTES || spend_control(session, H2_GOAWAY_SMALL_FRAMES);
}

bool h2_guard_small_frame(struct h2_session *session)
{
    return spend_control(session, H2_GOAWAY_SMALL_FRAMES);
}

void h2_guard_reset_sent(struct h2_session *session, enum h2_code code)
{
    if (code != H2_CODE_NO_ERROR && code != H2_CODE_INTERNAL_ERROR) /* which are not the client's doing */
        spend_reset(session);
}
