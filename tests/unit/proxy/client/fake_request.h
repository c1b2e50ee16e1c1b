/* A request layer for the tests of the client codec: what it answers is written in the path, what it was told is kept in a log.
 *
 *   /hit            200 "hello", at once                    /length?N     200 with N bytes, as the client takes them
 *   /later          200 "later", a turn later               /chunks?N     200 of unknown length: N pieces of ten bytes
 *   /upload         reads the body, answers "got N HASH"    /lazy         answers "lazy" without ever looking at the body
 *   /slowly         reads the body when told to (fake_read) /never        does not answer
 *   /broken         breaks off after the head               /empty        204      /hints    103, then 200      /switch  101 and the connection
 */
#ifndef TESTS_FAKE_REQUEST_H
#define TESTS_FAKE_REQUEST_H

#include "proxy/request/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct request {
    struct worker *worker;
    struct stream *stream;
    struct arena arena;
    struct request_head head;
    union socket_address peer;
    struct mail mail;
    struct list link;
    struct response_head response;
    char head_text[256];
    const char *body;
    size_t body_len, sent;
    unsigned pieces;
    bool head_sent, last_sent, broken, refused, over;
    uint64_t got_bytes, got_hash;
    struct upload *upload;
};

static char fake_log[256 * 1024];
static size_t fake_log_len;
static struct list fake_alive;
static unsigned fake_alive_count;
static struct connection *fake_taken;
static char fake_unread[1024];
static char *fake_pattern; /* the body of /length */
enum { FAKE_PATTERN_BYTES = 8 * 1024 * 1024 };

static void fake_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void fake_note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (sizeof(fake_log) - fake_log_len > 16384) /* what comes after that is not looked at */
        fake_log_len += (size_t)vsnprintf(fake_log + fake_log_len, sizeof(fake_log) - fake_log_len, format, arguments);
    va_end(arguments);
}

static inline bool fake_says(const char *text)
{
    return strstr(fake_log, text) != NULL;
}

static uint64_t fake_hash(uint64_t hash, const char *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)at[i]) * 1099511628211u;
    return hash;
}

static inline void fake_init(void)
{
    fake_log_len = 0;
    fake_log[0] = '\0';
    fake_alive_count = 0;
    fake_taken = NULL;
    list_init(&fake_alive);
    if (!fake_pattern) {
        fake_pattern = malloc(FAKE_PATTERN_BYTES);
        for (unsigned i = 0; i < FAKE_PATTERN_BYTES; i++)
            fake_pattern[i] = (char)('a' + i * 7 % 23);
    }
}

static inline void fake_free(struct request *request)
{
    list_remove(&request->link);
    fake_alive_count--;
    if (mail_is_posted(&request->mail)) {
        request->over = true;
        return;
    }
    arena_free(&request->arena);
    free(request);
}

static inline void fake_finish(struct request *request, bool broken)
{
    fake_note("finished%s\n", broken ? " broken" : "");
    request->stream->ops->finished(request->stream, broken);
    fake_free(request);
}

static inline void fake_respond(struct request *request)
{
    while (!request->last_sent) {
        size_t left = request->body_len - request->sent;
        struct iovec iov[3];
        int count = 0;
        bool last = true;
        size_t offered = left;
        if (request->pieces) { /* of unknown length: ten bytes each */
            offered = 10 - request->sent;
            last = request->pieces == 1;
            iov[count++] = (struct iovec){(char *)request->body + request->sent, offered};
        } else if (left > 2) { /* in several pieces, one of them empty */
            iov[count++] = (struct iovec){(char *)request->body + request->sent, 1};
            iov[count++] = (struct iovec){(char *)request->body + request->sent, 0};
            iov[count++] = (struct iovec){(char *)request->body + request->sent + 1, left - 1};
        } else if (left) {
            iov[count++] = (struct iovec){(char *)request->body + request->sent, left};
        }
        ssize_t taken = request->stream->ops->send(request->stream, request->head_sent ? NULL : &request->response, iov, count,
                                                   last && !request->broken);
        if (taken == STREAM_GONE) {
            fake_finish(request, true);
            return;
        }
        request->head_sent = true;
        request->sent += (size_t)taken;
        if ((size_t)taken < offered)
            return;
        if (request->broken) {
            fake_finish(request, true);
            return;
        }
        request->last_sent = last;
        request->pieces -= request->pieces > 0;
        request->sent = last ? request->sent : 0;
    }
    if (request->stream->ops->is_flushed(request->stream))
        fake_finish(request, false);
}

static inline void fake_answer(struct request *request, unsigned status, const char *body, size_t len)
{
    snprintf(request->head_text, sizeof(request->head_text), "HTTP/1.1 %u X\r\n", status);
    request->response = (struct response_head){
        .status = status,
        .status_line = bytes_from_string(request->head_text),
        .fields = BYTES("Server: fake\r\n"),
        .extra = BYTES("Age: 1\r\n"),
        .has_body = request->head.method != METHOD_HEAD && status != 204,
        .length_known = request->pieces == 0 && status != 204,
        .length = len,
        .close = !request->head.keep_alive,
    };
    request->body = body;
    request->body_len = request->response.has_body ? len : 0;
    request->pieces = request->response.has_body ? request->pieces : 0;
    fake_respond(request);
}

static inline void fake_read(struct request *request)
{
    struct bytes data;
    while (true) {
        switch (upload_peek(request->upload, &data)) {
        case UPLOAD_DATA:
            request->got_hash = fake_hash(request->got_hash, data.at, data.len);
            request->got_bytes += data.len;
            request->upload->ops->consume(request->upload, data.len);
            continue;
        case UPLOAD_WAIT:
            return;
        case UPLOAD_END:
            break;
        case UPLOAD_FAILED:
            fake_note("upload failed %s\n", error_word(request->upload->error));
            request->upload->ready = NULL;
            request->head.keep_alive = false;
            fake_answer(request, error_status(request->upload->error), "failed", 6);
            return;
        }
        break;
    }
    char *text = arena_alloc(&request->arena, 64);
    request->upload->ready = NULL;
    fake_note("uploaded %lu %lx\n", (unsigned long)request->got_bytes, (unsigned long)request->got_hash);
    fake_answer(request, 200, text, (size_t)sprintf(text, "got %lu %lx", (unsigned long)request->got_bytes, (unsigned long)request->got_hash));
}

static inline void fake_ready(void *context)
{
    fake_read(context);
}

static inline void fake_mail(struct mail *mail)
{
    struct request *request = LIST_OWNER(mail, struct request, mail);
    if (request->over) {
        arena_free(&request->arena);
        free(request);
        return;
    }
    if (bytes_equal(request->head.path, BYTES("/switch"))) {
        struct bytes unread;
        struct headers fields;
        headers_init(&fields, &request->arena);
        headers_add_known(&fields, HEADER_UPGRADE, BYTES("x"));
        request->stream->ops->interim(request->stream, 101, &fields);
        fake_taken = request->stream->ops->take_connection(request->stream, &unread);
        snprintf(fake_unread, sizeof(fake_unread), "%.*s", BYTES_FMT(unread));
        fake_free(request);
        return;
    }
    fake_answer(request, 200, "later", 5);
}

struct request *request_new(struct worker *worker, struct stream *stream, enum listener_kind listener, const union socket_address *peer)
{
    struct request *request = calloc(1, sizeof(*request));
    (void)listener;
    request->worker = worker;
    request->stream = stream;
    request->peer = *peer;
    request->got_hash = 14695981039346656037u;
    arena_init(&request->arena);
    headers_init(&request->head.fields, &request->arena);
    mail_init(&request->mail, worker->loop, fake_mail);
    list_push_back(&fake_alive, &request->link);
    fake_alive_count++;
    return request;
}

struct request_head *request_head(struct request *request)
{
    return &request->head;
}

struct arena *request_arena(struct request *request)
{
    return &request->arena;
}

static inline void fake_note_head(const struct request_head *head)
{
    fake_note("%.*s path=%.*s", BYTES_FMT(head->method_name), BYTES_FMT(head->path));
    if (head->query.at)
        fake_note(" query=%.*s", BYTES_FMT(head->query));
    if (head->authority.at)
        fake_note(" authority=%.*s", BYTES_FMT(head->authority));
    fake_note(" 1.%u%s%s%s\n", head->version_minor, head->keep_alive ? " keep" : "", head->wants_upgrade ? " upgrade" : "",
              head->upload ? " body" : "");
    for (unsigned i = 0; i < head->fields.count; i++)
        fake_note("  [%.*s]=[%.*s]%s\n", BYTES_FMT(head->fields.at[i].name), BYTES_FMT(head->fields.at[i].value),
                  head->fields.at[i].id == HEADER_OTHER ? "" : "*");
}

void request_start(struct request *request)
{
    struct request_head *head = &request->head;
    struct bytes path = head->path;
    unsigned long number = head->query.at ? strtoul(head->query.at, NULL, 10) : 0;
    request->upload = head->upload;
    fake_note_head(head);
    if (bytes_equal(path, BYTES("/hit")))
        fake_answer(request, 200, "hello", 5);
    else if (bytes_equal(path, BYTES("/length")))
        fake_answer(request, 200, fake_pattern, number);
    else if (bytes_equal(path, BYTES("/chunks"))) {
        request->pieces = (unsigned)number;
        fake_answer(request, 200, fake_pattern, 10);
    } else if (bytes_equal(path, BYTES("/lazy")))
        fake_answer(request, 200, "lazy", 4);
    else if (bytes_equal(path, BYTES("/empty")))
        fake_answer(request, 204, "", 0);
    else if (bytes_equal(path, BYTES("/broken"))) {
        request->broken = true;
        fake_answer(request, 200, fake_pattern, 100);
    } else if (bytes_equal(path, BYTES("/hints"))) {
        struct headers fields;
        headers_init(&fields, &request->arena);
        headers_add_known(&fields, HEADER_LINK, BYTES("</x>"));
        request->stream->ops->interim(request->stream, 103, &fields);
        fake_answer(request, 200, "hinted", 6);
    } else if (bytes_equal(path, BYTES("/upload"))) {
        request->upload->ready = fake_ready;
        request->upload->context = request;
        fake_read(request);
    } else if (bytes_equal(path, BYTES("/slowly")) || bytes_equal(path, BYTES("/never"))) {
        request->head.path = bytes_equal(path, BYTES("/never")) ? BYTES("/never") : BYTES("/slowly");
    } else {
        request->head.path = bytes_equal(path, BYTES("/switch")) ? BYTES("/switch") : BYTES("/later");
        mail_post(&request->mail);
    }
}

void request_refuse(struct request *request, enum error error)
{
    request->head.keep_alive = false;
    request->refused = true;
    fake_note("refused %s %.*s\n", error_word(error), BYTES_FMT(request->head.method_name));
    fake_answer(request, error_status(error), error_word(error), strlen(error_word(error)));
}

void request_writable(struct request *request)
{
    fake_respond(request);
}

void request_client_gone(struct request *request, enum error why)
{
    fake_note("gone %s\n", error_word(why));
    if (request->upload)
        request->upload->ready = NULL;
    fake_free(request);
}

#endif
