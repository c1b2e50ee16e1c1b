/* The body of a request: decoded as it comes into a bounded buffer, from which the fetch pulls it (upload.h).
 *
 * DESIGN. llhttp finds the content among the framing. What it calls neither content nor end is framing, and a guard looks at that once more: every line
 * ends in CRLF, extensions and trailers are bounded (llhttp is lenient about neither being long, nor about each bare LF). Trailers are dropped (RFC 9110
 * §6.5.1). The buffer never moves while the fetch may look at it: bytes are put behind, and it is packed only as some are consumed. While there is no
 * room nothing is read, so that the client feels how slow the origin is, and the clock of the minimum rate stands still.
 */
#include "proxy/client/h1_client.h"

#include <assert.h>
#include <stdlib.h>

enum {
    CHUNK_EXTENSIONS_MAX_BYTES = 4096, /* of a body in all (HARDENING: framing) */
    CHUNK_FRAMING_MAX_BYTES = 8192,    /* in one go: a size with its extensions, or the trailers */
};

static struct h1_upload *upload_of(struct upload *upload)
{
    return LIST_OWNER(upload, struct h1_upload, upload);
}

/* --- decoding --- */

static bool guard_framing(struct h1_upload *upload, const char *until)
{
    for (; upload->framing_from < until; upload->framing_from++) {
        char c = *upload->framing_from;
        if (upload->after_cr != (c == '\n') || c == '\0')
            return false;
        upload->after_cr = c == '\r';
        if (++upload->framing_bytes > CHUNK_FRAMING_MAX_BYTES)
            return false;
    }
    return true;
}

static int decode_fails(struct h1_upload *upload, enum error error)
{
    if (upload->upload.error == ERROR_OK)
        upload->upload.error = error;
    return HPE_USER;
}

static int on_content(llhttp_t *parser, const char *at, size_t length)
{
    struct h1_upload *upload = parser->data;
    uint64_t max = h1_config(upload->client)->body_bytes_max;
    if (upload->chunked && !guard_framing(upload, at))
        return decode_fails(upload, ERROR_BAD_CHUNK);
    upload->framing_from = at + length;
    upload->framing_bytes = 0;
    upload->received_bytes += length;
    if (max && upload->received_bytes > max && !upload->discarding)
        return decode_fails(upload, ERROR_BODY_TOO_LARGE);
    if (!upload->discarding) {
        assert(length <= upload->capacity - upload->end);
        memcpy(upload->buffer + upload->end, at, length);
        upload->end += (uint32_t)length;
    }
    return 0;
}

static int on_extension(llhttp_t *parser, const char *at, size_t length)
{
    struct h1_upload *upload = parser->data;
    (void)at;
    upload->extension_bytes += (uint32_t)length;
    return upload->extension_bytes <= CHUNK_EXTENSIONS_MAX_BYTES ? 0 : decode_fails(upload, ERROR_BAD_CHUNK);
}

static int on_end(llhttp_t *parser)
{
    struct h1_upload *upload = parser->data;
    upload->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t body_settings = {
    .on_body = on_content,
    .on_chunk_extension_name = on_extension,
    .on_chunk_extension_value = on_extension,
    .on_message_complete = on_end,
};

size_t h1_upload_feed(struct h1_upload *upload, struct bytes bytes)
{
    if (upload->complete || upload->upload.error != ERROR_OK || bytes.len == 0)
        return 0;
    if (!upload->buffer && !upload->discarding) {
        upload->buffer = malloc(upload->capacity);
        assert(upload->buffer);
    }
    upload->framing_from = bytes.at;
    enum llhttp_errno outcome = llhttp_execute(&upload->parser, bytes.at, bytes.len);
    const char *until = outcome == HPE_OK ? bytes.at + bytes.len : llhttp_get_error_pos(&upload->parser);
    if (outcome != HPE_OK && !upload->complete)
        decode_fails(upload, ERROR_BAD_CHUNK);
    else if (upload->chunked && !guard_framing(upload, until))
        decode_fails(upload, ERROR_BAD_CHUNK);
    if (upload->upload.error == ERROR_OK)
        return (size_t)(until - bytes.at);
    upload->complete = false;
    return bytes.len;
}

/* --- what the fetch sees --- */

static enum upload_state peek(struct upload *base, struct bytes *data)
{
    struct h1_upload *upload = upload_of(base);
    struct h1_client *client = upload->client;
    h1_enter(client);
    if (upload->expects_continue && upload->received_bytes == 0)
        h1_interim(&client->stream, 100, NULL);
    h1_leave(client); /* which begins to read, with the first peek */
    if (upload->upload.error != ERROR_OK)
        return UPLOAD_FAILED;
    if (upload->end > upload->start) {
        *data = bytes_from(upload->buffer + upload->start, upload->end - upload->start);
        return UPLOAD_DATA;
    }
    return upload->complete ? UPLOAD_END : UPLOAD_WAIT;
}

static void consume(struct upload *base, size_t count)
{
    struct h1_upload *upload = upload_of(base);
    h1_enter(upload->client);
    assert(count <= upload->end - upload->start);
    upload->start += (uint32_t)count;
    uint32_t left = upload->end - upload->start;
    if (left == 0) {
        upload->start = upload->end = 0;
    } else if (upload->start >= upload->capacity / 2) {
        memcpy(upload->buffer, upload->buffer + upload->start, left);
        upload->start = 0;
        upload->end = left;
    }
    h1_leave(upload->client); /* which goes on reading, now that there is room */
}

static const struct upload_ops upload_ops = {.peek = peek, .consume = consume};

void h1_upload_notify(struct h1_upload *upload)
{
    if (upload->upload.ready)
        upload->upload.ready(upload->upload.context);
}

/* --- its life --- */

void h1_upload_begin(struct h1_client *client, const struct h1_framing *framing)
{
    struct h1_upload *upload = &client->exchange->upload;
    llhttp_t parser = upload->parser; /* has read the head */
    *upload = (struct h1_upload){
        .upload = {.ops = &upload_ops, .length_known = !framing->chunked, .length = framing->length},
        .client = client,
        .parser = parser,
        .chunked = framing->chunked,
        .expects_continue = framing->expects_continue,
        .capacity = H1_UPLOAD_BUFFER_BYTES,
    };
    if (!framing->chunked && framing->length < upload->capacity)
        upload->capacity = (uint32_t)framing->length;
    client->exchange->has_upload = true;
    h1_parser_begin_body(&upload->parser, &body_settings, upload);
}

void h1_upload_fail(struct h1_upload *upload, enum error error)
{
    if (upload->upload.error == ERROR_OK)
        upload->upload.error = error;
    upload->client->closes = upload->client->lingers = true; /* where the next request begins is not known any more */
    h1_upload_notify(upload);
}

size_t h1_upload_room(const struct h1_upload *upload)
{
    if (upload->complete || upload->upload.error != ERROR_OK || !(upload->upload.started || upload->discarding))
        return 0;
    size_t room = upload->discarding ? H1_UPLOAD_BUFFER_BYTES : upload->capacity - upload->end;
    /* Behind a chunked body may follow the next head: no more of that than is read of a head. */
    uint64_t most = upload->chunked ? H1_HEAD_READ_BYTES : upload->upload.length - upload->received_bytes;
    return room < most ? room : (size_t)most;
}

static void on_window_end(struct deadline *deadline)
{
    struct h1_upload *upload = LIST_OWNER(deadline, struct h1_upload, deadline);
    struct h1_client *client = upload->client;
    const struct config *config = h1_config(client);
    uint64_t got = upload->received_bytes - upload->window_bytes;
    h1_enter(client);
    if (got == 0 || got < config->body_min_rate * (uint64_t)config->body_timeout_ms / 1000)
        h1_upload_fail(upload, ERROR_BODY_TOO_SLOW);
    h1_leave(client); /* which begins the next window */
}

void h1_upload_watch(struct h1_upload *upload)
{
    bool wanted = h1_upload_room(upload) > 0 && !upload->discarding;
    if (!wanted) {
        deadline_clear(&upload->deadline);
    } else if (!deadline_is_set(&upload->deadline)) {
        upload->window_bytes = upload->received_bytes;
        loop_set_deadline(upload->client->worker->loop, &upload->deadline, h1_config(upload->client)->body_timeout_ms, on_window_end);
    }
}

bool h1_upload_is_drainable(const struct h1_upload *upload)
{
    /* A client that waits to be told to continue may send the body or not: it cannot be known what comes next (RFC 9110 §10.1.1). */
    if (upload->upload.error != ERROR_OK || (upload->expects_continue && upload->received_bytes == 0))
        return false;
    return upload->chunked || upload->upload.length - upload->received_bytes <= H1_DRAIN_MAX_BYTES;
}

void h1_upload_discard(struct h1_upload *upload)
{
    upload->discarding = true;
    upload->upload.ready = NULL;
    deadline_clear(&upload->deadline);
    upload->window_bytes = upload->received_bytes; /* the drain's bound counts from here */
}

void h1_upload_end(struct h1_upload *upload)
{
    deadline_clear(&upload->deadline);
    free(upload->buffer);
    upload->buffer = NULL;
}
