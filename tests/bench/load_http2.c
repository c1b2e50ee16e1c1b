/* HTTP/2 of the load: so many requests at once on each connection, a new one for each that has ended. nghttp2 makes and reads the frames. */
#include "load.h"

#include <ctype.h>
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum {
    FIELDS_MAX = 32,
    WINDOW_BYTES = 16 << 20, /* a server never waits for it */
    OUT_BYTES = 64 * 1024,
};

struct stream {
    uint64_t asked_ns;
    uint32_t path_bytes, matched;
    bool ok;
    char path[PATH_BYTES_MAX];
};

struct http2 {
    nghttp2_session *session;
    uint32_t asking; /* streams that wait for a response */
    char out[OUT_BYTES];
    size_t out_bytes, out_sent;
    struct stream streams[];
};

/* The fields of all requests, once for all. */
static nghttp2_nv fields[FIELDS_MAX];
static size_t field_count, path_field;

static nghttp2_nv field_of(const char *name, size_t name_bytes, const char *value, size_t value_bytes)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, name_bytes, value_bytes,
                        NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

static void add_field(const char *name, const char *value)
{
    fields[field_count++] = field_of(name, strlen(name), value, strlen(value));
}

/* "\r\nName: value" again and again. */
static void add_given_fields(void)
{
    char *copy = strdup(load.fields), *rest = NULL;
    if (!copy) {
        fail("no memory", NULL);
    }
    for (char *line = strtok_r(copy, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest)) {
        char *colon = strchr(line, ':');
        if (!colon || field_count == FIELDS_MAX) {
            fail("a field is wrong, or one too many", line);
        }
        *colon = '\0';
        for (char *at = line; *at; at++) {
            *at = (char)tolower(*at);
        }
        add_field(line, colon + 1 + strspn(colon + 1, " "));
    }
}

static void prepare_fields(void)
{
    add_field(":method", "GET");
    add_field(":scheme", "https");
    add_field(":authority", load.target);
    path_field = field_count;
    add_field(":path", "");
    add_given_fields();
}

/* False: there is nothing left to ask. */
static bool ask(struct connection *c, struct stream *s, uint64_t now)
{
    char *end = choice_next_path(&c->group->choice, s->path);
    if (!end) {
        return false;
    }
    s->asked_ns = now;
    s->path_bytes = (uint32_t)(end - s->path);
    s->matched = 0;
    s->ok = false;
    fields[path_field].value = (uint8_t *)s->path;
    fields[path_field].valuelen = s->path_bytes;
    if (nghttp2_submit_request(c->http2->session, NULL, fields, field_count, NULL, s) < 0) {
        fail("a request is refused by nghttp2", NULL);
    }
    c->http2->asking++;
    return true;
}

static int take_field(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_bytes, const uint8_t *value,
                      size_t value_bytes, uint8_t flags, void *of)
{
    (void)flags, (void)of;
    struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s && name_bytes == 7 && memcmp(name, ":status", 7) == 0) {
        s->ok = value_bytes == 3 && memcmp(value, "200", 3) == 0;
    }
    return 0;
}

static int take_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t count, void *of)
{
    (void)flags;
    struct connection *c = of;
    struct stream *s = nghttp2_session_get_stream_user_data(session, id);
    c->group->bytes += count;
    if (!s || !load.check || s->matched >= s->path_bytes) {
        return 0;
    }
    size_t compared = s->path_bytes - s->matched < count ? s->path_bytes - s->matched : count;
    if (memcmp(s->path + s->matched, bytes, compared) == 0) {
        s->matched += (uint32_t)compared;
    } else {
        c->group->wrong++;
        s->matched = s->path_bytes;
    }
    return 0;
}

static int end_stream(nghttp2_session *session, int32_t id, uint32_t error, void *of)
{
    struct connection *c = of;
    struct stream *s = nghttp2_session_get_stream_user_data(session, id);
    if (!s) {
        return 0;
    }
    uint64_t now = now_ns();
    c->http2->asking--;
    if (error) {
        c->group->broken++;
    } else {
        c->group->not_200 += !s->ok;
        count_response(c->group, s->asked_ns, now);
    }
    ask(c, s, now);
    return 0;
}

static void begin_session(struct connection *c)
{
    struct http2 *h = c->http2;
    nghttp2_session_callbacks *callbacks;
    if (nghttp2_session_callbacks_new(&callbacks) < 0) {
        fail("no memory for HTTP/2", NULL);
    }
    nghttp2_session_callbacks_set_on_header_callback(callbacks, take_field);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, take_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, end_stream);
    if (nghttp2_session_client_new(&h->session, callbacks, c) < 0) {
        fail("no memory for HTTP/2", NULL);
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}, {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES}};
    nghttp2_submit_settings(h->session, 0, settings, sizeof settings / sizeof *settings);
    nghttp2_session_set_local_window_size(h->session, 0, 0, WINDOW_BYTES);
}

/* Gathers frames, so that they go out as one. */
static void gather(struct http2 *h)
{
    const uint8_t *bytes;
    h->out_bytes = h->out_sent = 0;
    while (h->out_bytes < sizeof h->out / 2) {
        ssize_t count = nghttp2_session_mem_send(h->session, &bytes);
        if (count <= 0) {
            return;
        }
        if (h->out_bytes + (size_t)count > sizeof h->out) {
            fail("a frame is too large", NULL);
        }
        memcpy(h->out + h->out_bytes, bytes, (size_t)count);
        h->out_bytes += (size_t)count;
    }
}

/* True: everything has been sent. False: it waits; for the end, if it has ended. */
static bool flush(struct connection *c)
{
    struct http2 *h = c->http2;
    for (;;) {
        if (h->out_sent == h->out_bytes) {
            gather(h);
        }
        if (h->out_bytes == 0) {
            link_want(c, EPOLLIN);
            return true;
        }
        ssize_t sent = link_send(c, h->out + h->out_sent, h->out_bytes - h->out_sent);
        if (sent < 0) {
            if (sent == LINK_FAILED) {
                link_want(c, EPOLLIN);
            }
            return false;
        }
        h->out_sent += (size_t)sent;
    }
}

static void leave(struct connection *c)
{
    nghttp2_session_del(c->http2->session);
    link_leave(c);
}

static void start(struct connection *c)
{
    struct http2 *h = c->http2;
    h->asking = 0;
    h->out_bytes = h->out_sent = 0;
    begin_session(c);
    link_open(c);
    uint64_t now = now_ns();
    for (uint32_t i = 0; i < c->group->streams && ask(c, &h->streams[i], now); i++) {
    }
    if (h->asking > 0) {
        flush(c);
    } else {
        leave(c);
    }
}

void http2_begin(struct connection *c)
{
    if (field_count == 0) {
        prepare_fields();
    }
    c->http2 = calloc(1, sizeof *c->http2 + c->group->streams * sizeof *c->http2->streams);
    if (!c->http2) {
        fail("no memory for so many streams", NULL);
    }
    start(c);
}

/* The connection has ended under its requests, or, after so many, the server has said that it will. */
static void start_anew(struct connection *c)
{
    c->group->broken += c->http2->asking;
    nghttp2_session_del(c->http2->session);
    link_close(c);
    start(c);
}

void http2_go_on(struct connection *c, uint64_t now)
{
    static char buffer[OUT_BYTES];
    (void)now;
    struct http2 *h = c->http2;
    if (h->out_sent < h->out_bytes && !flush(c)) {
        return;
    }
    do {
        ssize_t got = link_receive(c, buffer, sizeof buffer);
        if (got == LINK_WAITS) {
            break;
        }
        if (got == LINK_ENDED || nghttp2_session_mem_recv(h->session, (uint8_t *)buffer, (size_t)got) < 0) {
            start_anew(c);
            return;
        }
    } while (link_has_more(c));
    flush(c);
    if (h->asking == 0) {
        leave(c);
    }
}
