/* The bytes of an HTTP/2 client, cut into frames. A frame is looked at when all of it is there, and what comes in part is kept until then; the payload of DATA
 * alone goes on as it comes. See h2_client.h for the design. */
#include "proxy/client/h2_client.h"

static void skip(struct bytes *input, size_t count)
{
    *input = bytes_from(input->at + count, input->len - count);
}

/* Nothing is read any more. */
static bool is_stopped(const struct h2_session *session)
{
    return session->fault != H2_GOAWAY_NONE || session->is_terminated;
}

/* RFC 9113 §3.4 */
static void take_preface(struct h2_session *session, struct bytes *input)
{
    static const char preface[] = H2_PREFACE;
    size_t left = H2_PREFACE_BYTES - session->preface_bytes, there = input->len < left ? input->len : left;
    if (memcmp(&preface[session->preface_bytes], input->at, there) != 0)
        h2_fail(session, H2_CODE_PROTOCOL_ERROR);
    session->preface_bytes += (uint8_t)there;
    skip(input, there);
}

/* So many bytes of a frame, from its header on. False: they are not there yet, and what is there is kept. */
static bool gather(struct h2_session *session, struct bytes *input, size_t length, struct bytes *frame)
{
    if (!session->partial && input->len >= length) {
        *frame = *input;
        return true;
    }
    size_t there = spill_bytes(session->partial).len;
    if (there < length) {
        size_t taken = length - there < input->len ? length - there : input->len;
        spill_append(&session->partial, bytes_from(input->at, taken));
        skip(input, taken);
    }
    *frame = spill_bytes(session->partial);
    return frame->len >= length;
}

/* RFC 9113 §6.1: of DATA, what has to be there before its payload. */
static size_t before_payload(const struct h2_frame *frame)
{
    return frame->flags & H2_FLAG_PADDED && frame->length > 0;
}

static void end_data(struct h2_session *session)
{
    if (session->data_left == 0)
        h2_receive_data_end(session, session->frame);
}

static void begin_data(struct h2_session *session, const char *payload)
{
    const struct h2_frame *frame = &session->frame;
    bool is_padded = frame->flags & H2_FLAG_PADDED;
    uint32_t padding = is_padded && frame->length > 0 ? (uint8_t)*payload : 0;
    if (is_padded && frame->length == 0) {
        h2_fail(session, H2_CODE_FRAME_SIZE_ERROR);
        return;
    }
    if (is_padded && padding >= frame->length) {
        h2_fail(session, H2_CODE_PROTOCOL_ERROR);
        return;
    }
    session->padding_left = padding;
    session->data_left = frame->length - padding - is_padded;
    h2_receive_data_begin(session, *frame, padding + is_padded);
    if (!is_stopped(session))
        end_data(session);
}

static void take_data(struct h2_session *session, struct bytes *input)
{
    size_t there = input->len < session->data_left ? input->len : session->data_left;
    h2_receive_data(session, session->frame, bytes_from(input->at, there));
    session->data_left -= (uint32_t)there;
    skip(input, there);
    end_data(session);
}

static void skip_padding(struct h2_session *session, struct bytes *input)
{
    size_t there = input->len < session->padding_left ? input->len : session->padding_left;
    session->padding_left -= (uint32_t)there;
    skip(input, there);
}

static void take_frame(struct h2_session *session, struct bytes *input)
{
    struct bytes there;
    if (!gather(session, input, H2_FRAME_HEADER_BYTES, &there))
        return;
    if (!session->has_frame) {
        session->frame = h2_get_frame((const uint8_t *)there.at);
        session->has_frame = true;
        if (!h2_receive_header(session, session->frame))
            return;
    }
    bool is_data = session->frame.type == H2_FRAME_DATA;
    size_t length = H2_FRAME_HEADER_BYTES + (is_data ? before_payload(&session->frame) : session->frame.length);
    if (!gather(session, input, length, &there))
        return;
    session->has_frame = false;
    if (is_data)
        begin_data(session, there.at + H2_FRAME_HEADER_BYTES);
    else
        h2_receive_frame(session, session->frame, bytes_from(there.at + H2_FRAME_HEADER_BYTES, session->frame.length));
    if (session->partial)
        spill_free(&session->partial);
    else
        skip(input, length);
}

/* A frame begins here. */
static bool is_between_frames(const struct h2_session *session)
{
    return session->preface_bytes == H2_PREFACE_BYTES && !session->partial && !session->has_frame && session->data_left == 0 &&
           session->padding_left == 0;
}

void h2_receive(struct h2_session *session, struct bytes input)
{
    if (session->preface_bytes < H2_PREFACE_BYTES)
        take_preface(session, &input);
    if (is_stopped(session) || (is_between_frames(session) && !h2_guard_ahead(session, input)))
        return;
    while (input.len > 0 && !is_stopped(session)) {
        if (session->data_left > 0)
            take_data(session, &input);
        else if (session->padding_left > 0)
            skip_padding(session, &input);
        else
            take_frame(session, &input);
    }
}
