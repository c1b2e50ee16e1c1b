/* The field sections of an HTTP/2 client: a request, or trailers. See h2_client.h for the design.
 *
 * DESIGN. The rules of HTTP in them (RFC 9113 §8) are kept here and in h2_head.c. A message that breaks one is a stream error.
 *
 * RFC 9113 §8.1.1 wants nothing of a malformed request to be taken for a whole one: one that says it has no body starts when it has indeed ended. */
#include "proxy/client/h2_client.h"

enum { SECTION_FACTOR = 4 }; /* a field section beyond the limits is refused, one beyond that many times the limits is an attack */

void h2_section_begin(struct h2_session *session, int32_t id, enum h2_section_use use, bool ends)
{
    struct h2_clients *clients = session->worker->h2;
    session->section_of = id;
    session->section_use = (uint8_t)use;
    session->section_ends = ends;
    session->section_bytes = 0;
    session->is_section_malformed = false;
    if (use != H2_SECTION_REQUEST)
        return;
    session->block = h2_block_take(clients);
    h2_repeats_begin(&clients->repeats, session->block, &session->decoder);
}

void h2_section_forget(struct h2_session *session)
{
    session->section_of = 0;
    if (session->block)
        h2_block_give(session->worker->h2, &session->block);
}

static void add_field(struct h2_session *session, const struct h2_field *field, uint32_t charge_bytes)
{
    h2_block_add(session->block, field->name, field->value, h2_config(session));
    if (session->block->count > 0)
        h2_repeats_note(&session->worker->h2->repeats, session->block, field->entry, charge_bytes);
}

/* False, and a fault: it is one too many. */
static bool take_field(struct h2_session *session, const struct h2_field *field)
{
    uint32_t charge_bytes = (uint32_t)(field->name.len + field->value.len + H2_FIELD_CHARGE_BYTES);
    session->section_bytes += charge_bytes;
    if (session->section_bytes > (uint64_t)SECTION_FACTOR * h2_config(session)->header_bytes_max) {
        session->fault = H2_GOAWAY_FIELDS;
        return false;
    }
    if (session->block)
        add_field(session, field, charge_bytes);
    else if (!h2_field_is_well_formed(field->name, field->value)) /* of trailers: a pseudo-header's name is no token */
        session->is_section_malformed = true;
    return true;
}

/* Fields that are those of the section before, and within the limits of a request. */
static void take_repeated(struct h2_session *session, struct bytes *fragment)
{
    struct h2_repeats *repeats = &session->worker->h2->repeats;
    const struct config *config = h2_config(session);
    uint64_t entry;
    uint32_t charge_bytes;
    while ((entry = h2_decoder_peek(&session->decoder, *fragment)) > 0 &&
           (charge_bytes = h2_repeats_take(repeats, session->block, entry, config)) > 0) {
        session->section_bytes += charge_bytes;
        h2_decoder_skip(&session->decoder, fragment);
    }
}

bool h2_section_read(struct h2_session *session, struct bytes fragment)
{
    struct h2_field field;
    enum h2_decoded decoded;
    do {
        if (session->block)
            take_repeated(session, &fragment);
        decoded = h2_decoder_next(&session->decoder, &fragment, &field);
        if (decoded == H2_DECODED_FIELD && !take_field(session, &field))
            return false;
    } while (decoded == H2_DECODED_FIELD);
    return decoded == H2_DECODED_ALL || h2_fail(session, H2_CODE_COMPRESSION_ERROR);
}

/* --- requests --- */

/* RFC 9218 §4, §10: who says nothing of priorities gets what serves all of his requests alike. */
static void read_priority(struct h2_stream *stream, const struct headers *fields)
{
    const struct header *field = headers_find(fields, HEADER_PRIORITY);
    if (field)
        h2_priority_parse(field->value, &stream->priority);
    else
        stream->priority.is_incremental = true;
}

void h2_reset_malformed(struct h2_stream *stream)
{
    if (stream->is_malformed)
        return;
    stream->is_malformed = true;
    h2_put_reset(stream, H2_CODE_PROTOCOL_ERROR);
    h2_note(stream, H2_EVENT_CLOSED);
}

static void count_bad_request(struct h2_session *session)
{
    counter_add(session->worker->counters, COUNTER_CLIENT_BAD_REQUESTS, 1);
}

static void begin_request(struct h2_session *session, int32_t id, bool ends)
{
    struct h2_stream *stream = h2_stream_take(session, id);
    struct h2_framing framing;
    stream->request = request_new(session->worker, &stream->stream, session->listener, &session->peer);
    struct request_head *head = request_head(stream->request);
    head->tls = connection_tls(session->connection);
    head->scheme = head->tls ? BYTES("https") : BYTES("http");
    stream->error = h2_block_finish(session->block, ends, h2_config(session), request_arena(stream->request), head, &framing);
    stream->remote_ended = ends;
    stream->body_length = framing.length_known && !framing.is_extended_connect ? framing.length : BODY_LENGTH_UNKNOWN;
    if (session->block->is_malformed) {
        count_bad_request(session);
        h2_reset_malformed(stream);
        return;
    }
    stream->is_extended_connect = framing.is_extended_connect;
    read_priority(stream, &head->fields);
    stream->awaits_end = !ends && framing.length_known && framing.length == 0 && stream->error == ERROR_OK && !framing.is_extended_connect;
    if (stream->awaits_end) {
        h2_stream_await_end(stream);
        return;
    }
    if (!ends && stream->error == ERROR_OK) {
        h2_upload_begin(stream, &framing);
        head->upload = framing.is_extended_connect ? NULL : &stream->upload.upload;
    }
    h2_note(stream, H2_EVENT_HEAD);
}

/* RFC 9113 §8.1: they end the stream. What they say is dropped. */
static void end_trailers(struct h2_session *session, int32_t id, bool ends)
{
    struct h2_stream *stream = h2_stream_find(session, id);
    if (!stream) /* it was given up meanwhile */
        return;
    if (ends && !session->is_section_malformed) {
        h2_receive_end(stream);
        return;
    }
    count_bad_request(session);
    h2_reset_malformed(stream);
}

void h2_section_end(struct h2_session *session)
{
    int32_t id = session->section_of;
    if (!h2_decoder_end(&session->decoder)) {
        h2_fail(session, H2_CODE_COMPRESSION_ERROR);
        return;
    }
    if (session->section_use == H2_SECTION_REQUEST)
        begin_request(session, id, session->section_ends);
    else if (session->section_use == H2_SECTION_TRAILERS)
        end_trailers(session, id, session->section_ends);
    h2_section_forget(session);
}
