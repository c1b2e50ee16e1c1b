/* See h1_request.h. */
#include "proxy/origin/h1_request.h"

#include <stdio.h>

enum { SEND_TURN_MAX_BYTES = 512 * 1024 }; /* then the other connections of the loop have their turn */

static const char crlf[] = "\r\n";

/* RFC 9110 §8.6: a length of 0 is said where a body is usual; RFC 9112 §6.1: chunked when the length is not known. */
static struct bytes framing_line(enum method method, const struct upload *upload, struct arena *arena)
{
    if (upload && !upload->length_known)
        return BYTES("Transfer-Encoding: chunked\r\n");
    if (upload)
        return arena_printf(arena, "Content-Length: %llu\r\n", (unsigned long long)upload->length);
    if (method == METHOD_POST || method == METHOD_PUT || method == METHOD_PATCH)
        return BYTES("Content-Length: 0\r\n");
    return bytes_from("", 0);
}

static bool is_framing(const struct header *field)
{
    return field->id == HEADER_CONTENT_LENGTH || field->id == HEADER_TRANSFER_ENCODING;
}

struct bytes h1_request_head(enum method method, struct bytes method_name, struct bytes target, const struct headers *fields,
                             const struct upload *upload, struct arena *arena)
{
    struct bytes version = BYTES(" HTTP/1.1\r\n"), framing = framing_line(method, upload, arena);
    size_t size = method_name.len + 1 + target.len + version.len + framing.len + 2;
    for (unsigned i = 0; i < fields->count; i++)
        size += fields->at[i].name.len + fields->at[i].value.len + 4;
    char *head = arena_alloc(arena, size), *at = bytes_put(head, method_name);
    *at++ = ' ';
    at = bytes_put(bytes_put(at, target), version);
    for (unsigned i = 0; i < fields->count; i++) {
        const struct header *field = &fields->at[i];
        if (is_framing(field))
            continue;
        at = bytes_put(bytes_put(at, field->name), BYTES(": "));
        at = bytes_put(bytes_put(at, field->value), BYTES("\r\n"));
    }
    at = bytes_put(bytes_put(at, framing), BYTES("\r\n"));
    return bytes_from(head, (size_t)(at - head));
}

void h1_request_init(struct h1_request *request, struct bytes head, const struct upload *upload)
{
    *request = (struct h1_request){.head = head, .has_body = upload != NULL, .body_ended = upload == NULL};
    request->is_chunked = upload && !upload->length_known;
    request->data_left = upload && upload->length_known ? upload->length : 0;
}

static bool chunk_is_open(const struct h1_request *request)
{
    return request->line_at < request->line_len || request->data_left > 0 || request->tail_left > 0;
}

/* What of the body can go out now; opens the next chunk when the last one is through. */
static enum upload_state next_data(struct h1_request *request, struct upload *upload, struct bytes *data)
{
    *data = BYTES_NONE;
    if (request->body_ended)
        return UPLOAD_END;
    enum upload_state state = upload_peek(upload, data);
    if (state == UPLOAD_END) {
        if (request->data_left > 0) /* fewer bytes than announced: the origin must not take them for the whole */
            return UPLOAD_FAILED;
        if (request->is_chunked && chunk_is_open(request))
            return UPLOAD_END;
        request->body_ended = true;
        if (request->is_chunked) {
            request->line_at = 0;
            request->line_len = (unsigned)snprintf(request->line, sizeof(request->line), "0\r\n\r\n");
        }
        return UPLOAD_END;
    }
    if (state != UPLOAD_DATA)
        return state;
    if (request->is_chunked && !chunk_is_open(request)) {
        request->line_at = 0;
        request->line_len = (unsigned)snprintf(request->line, sizeof(request->line), "%zx\r\n", data->len);
        request->data_left = data->len;
        request->tail_left = 2;
    }
    if (data->len > request->data_left)
        data->len = request->data_left;
    return state;
}

static size_t take(size_t *written, size_t available)
{
    size_t count = *written < available ? *written : available;
    *written -= count;
    return count;
}

static void advance(struct h1_request *request, struct upload *upload, size_t written, size_t data_len)
{
    request->sent_bytes += written;
    request->head_sent += take(&written, request->head.len - request->head_sent);
    request->line_at += (unsigned)take(&written, request->line_len - request->line_at);
    size_t data = take(&written, data_len);
    request->data_left -= data;
    request->body_sent_bytes += data;
    request->tail_left -= (unsigned)written;
    if (data > 0)
        upload->ops->consume(upload, data);
}

static void add(struct iovec *iov, int *count, const char *at, size_t length)
{
    if (length > 0)
        iov[(*count)++] = (struct iovec){.iov_base = (void *)at, .iov_len = length};
}

enum h1_sending h1_request_send(struct h1_request *request, struct connection *connection, struct upload *upload)
{
    for (uint64_t limit = request->sent_bytes + SEND_TURN_MAX_BYTES;;) {
        struct bytes data;
        enum upload_state state = next_data(request, upload, &data);
        if (state == UPLOAD_FAILED)
            return H1_UPLOAD_FAILED;
        struct iovec iov[4];
        int count = 0;
        add(iov, &count, request->head.at + request->head_sent, request->head.len - request->head_sent);
        add(iov, &count, request->line + request->line_at, request->line_len - request->line_at);
        add(iov, &count, data.at, data.len);
        /* The CRLF ends the chunk: it can only go out behind all of the chunk's data. */
        if (data.len == request->data_left)
            add(iov, &count, crlf + 2 - request->tail_left, request->tail_left);
        if (count == 0)
            return request->body_ended ? H1_SENT : H1_SEND_STARVED;
        size_t total = 0;
        for (int i = 0; i < count; i++)
            total += iov[i].iov_len;
        ssize_t written = connection_writev(connection, iov, count);
        if (written == CONNECTION_ERROR)
            return H1_SEND_BROKEN;
        if (written == CONNECTION_AGAIN)
            return H1_SEND_BLOCKED;
        advance(request, upload, (size_t)written, data.len);
        if ((size_t)written < total || request->sent_bytes >= limit)
            return H1_SEND_BLOCKED;
    }
}
