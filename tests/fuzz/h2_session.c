/* A whole HTTP/2 session: the first bytes say how its input is cut into reads, what the kernel takes of its output and what the requests do; the rest are
 * frames, behind a preface. The loop, the connection and the requests are of this file. */
#include "proxy/client/h2_client.h"

#include "proxy/client/clients.h"
#include "proxy/client/h1_target.h"
#include "proxy/client/h2.h"
#include "proxy/net/socket_room.h"
#include "tests/fuzz/fuzz.h"

#include <sanitizer/asan_interface.h>
#include <stdio.h>

enum { RESPONSE_BYTES = 3000, WRITES_MAX_BYTES = 1 << 20 };

/* --- the loop --- */

static char read_buffer[LOOP_READ_BUFFER_BYTES];
static struct mail *posted;
static struct monotonic_ms now;
static void (*turn_end)(void *context);
static void *turn_end_context;

struct monotonic_ms loop_now(const struct loop *loop)
{
    (void)loop;
    return now;
}

struct wall_seconds loop_wall(const struct loop *loop)
{
    (void)loop;
    return (struct wall_seconds){now.ms / 1000};
}

char *loop_read_buffer(struct loop *loop)
{
    (void)loop;
    return read_buffer;
}

void loop_set_deadline(struct loop *loop, struct deadline *deadline, int64_t ms, void (*expired)(struct deadline *))
{
    (void)loop, (void)ms;
    deadline->expired = expired;
}

void deadline_clear(struct deadline *deadline)
{
    deadline->expired = NULL;
}

bool deadline_is_set(const struct deadline *deadline)
{
    return deadline->expired != NULL;
}

void loop_at_turn_end(struct loop *loop, void (*hook)(void *context), void *context)
{
    (void)loop;
    turn_end = hook;
    turn_end_context = context;
}

void mail_init(struct mail *mail, struct loop *loop, void (*deliver)(struct mail *))
{
    mail->loop = loop;
    mail->deliver = deliver;
    posted = NULL;
}

void mail_post(struct mail *mail)
{
    posted = mail;
}

bool mail_is_posted(const struct mail *mail)
{
    return posted == mail;
}

static void end_turn(void)
{
    for (unsigned i = 0; posted && i < 100; i++) {
        struct mail *mail = posted;
        posted = NULL;
        mail->deliver(mail);
    }
    turn_end(turn_end_context);
    now.ms += 10;
}

/* --- the connection --- */

static const struct connection_events *events;
static void *owner;
static struct bytes input;
static size_t piece, taken_at_once, written;
static unsigned wants;
static bool is_open;

void connection_set_owner(struct connection *connection, const struct connection_events *its_events, void *its_owner)
{
    (void)connection;
    events = its_events;
    owner = its_owner;
}

void connection_want(struct connection *connection, unsigned its_wants)
{
    (void)connection;
    wants = its_wants;
}

ssize_t connection_read(struct connection *connection, void *buffer, size_t capacity)
{
    size_t count = input.len < piece ? input.len : piece;
    (void)connection;
    REQUIRE(count <= capacity && is_open);
    memcpy(buffer, input.at, count);
    input = bytes_from(input.at + count, input.len - count);
    return (ssize_t)count;
}

/* What we say is frames, whatever was said to us (RFC 9113 §4.1, §6.8, §6.10). */
static struct {
    uint8_t header[H2_FRAME_HEADER_BYTES];
    size_t header_len, payload_left;
    struct h2_frame frame; /* the last one */
    int32_t section_of;
    uint32_t goaway_code, payload_len;
} said;

static void check_frame(void)
{
    static const bool is_sent[] = {true, true, false, true, true, false, true, true, true, true};
    const struct h2_frame *frame = &said.frame;
    REQUIRE(said.goaway_code == H2_CODE_NO_ERROR && frame->type < sizeof(is_sent) && is_sent[frame->type]);
    REQUIRE(frame->length <= H2_PAYLOAD_MAX_BYTES && (frame->type == H2_FRAME_CONTINUATION) == (said.section_of != 0));
    REQUIRE(said.section_of == 0 || frame->stream == said.section_of);
    if (frame->type == H2_FRAME_HEADERS || frame->type == H2_FRAME_CONTINUATION)
        said.section_of = frame->flags & H2_FLAG_END_HEADERS ? 0 : frame->stream;
    said.payload_left = frame->length;
    said.payload_len = 0;
}

static void check_byte(uint8_t byte)
{
    if (said.payload_left > 0) {
        said.payload_left--;
        if (said.frame.type == H2_FRAME_GOAWAY && said.payload_len++ >= 4)
            said.goaway_code = said.goaway_code << 8 | byte;
        return;
    }
    said.header[said.header_len++] = byte;
    if (said.header_len < H2_FRAME_HEADER_BYTES)
        return;
    said.header_len = 0;
    said.frame = h2_get_frame(said.header);
    check_frame();
}

static void check_said(const struct iovec *iov, int count, size_t taken)
{
    for (int i = 0; i < count; i++)
        for (size_t at = 0; at < iov[i].iov_len && taken > 0; at++, taken--)
            check_byte(((const uint8_t *)iov[i].iov_base)[at]);
}

ssize_t connection_writev(struct connection *connection, const struct iovec *iov, int count)
{
    size_t taken = 0;
    (void)connection;
    REQUIRE(is_open);
    for (int i = 0; i < count; i++) {
        REQUIRE(!__asan_region_is_poisoned(iov[i].iov_base, iov[i].iov_len));
        taken += iov[i].iov_len;
    }
    if (taken_at_once > 0 && taken > taken_at_once)
        taken = taken_at_once;
    written += taken;
    check_said(iov, count, taken);
    return written > WRITES_MAX_BYTES ? CONNECTION_ERROR : (ssize_t)taken;
}

int connection_fd(const struct connection *connection)
{
    (void)connection;
    return -1;
}

struct socket_room socket_room(int fd)
{
    (void)fd;
    return (struct socket_room){taken_at_once > 0 ? taken_at_once : SIZE_MAX, written};
}

size_t connection_queued_bytes(const struct connection *connection)
{
    (void)connection;
    return 0;
}

const struct tls_facts *connection_tls(const struct connection *connection)
{
    (void)connection;
    return NULL;
}

void connection_shutdown(struct connection *connection)
{
    (void)connection;
}

void connection_reset(struct connection **connection)
{
    *connection = NULL;
    is_open = false;
}

/* --- the requests --- */

struct request {
    struct stream *stream;
    struct arena arena;
    struct request_head head;
    struct response_head response;
    size_t sent_bytes, length;
    bool started, head_sent, reads_first, gone;
};

static unsigned alive;
static uint8_t manners;
static char content[RESPONSE_BYTES];

struct request *request_new(struct worker *worker, struct stream *stream, enum listener_kind listener, const union socket_address *peer)
{
    struct request *request = calloc(1, sizeof(*request));
    (void)worker, (void)listener, (void)peer;
    request->stream = stream;
    arena_init(&request->arena);
    headers_init(&request->head.fields, &request->arena);
    alive++;
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

static void request_end(struct request *request)
{
    arena_free(&request->arena);
    free(request);
    alive--;
}

/* What the rest of the proxy relies on. */
static void check(const struct request_head *head)
{
    REQUIRE(bytes_is_token(head->method_name) && h1_authority_is_valid(head->authority));
    REQUIRE(head->path.at[0] == '/' || bytes_equal(head->path, BYTES("*")));
    REQUIRE(headers_count(&head->fields, HEADER_HOST) == 1 && headers_count(&head->fields, HEADER_CONTENT_LENGTH) <= 1);
    REQUIRE(head->wants_upgrade == (headers_find(&head->fields, HEADER_CONNECTION) != NULL));
    REQUIRE(head->wants_upgrade == (headers_find(&head->fields, HEADER_UPGRADE) != NULL));
    REQUIRE(!headers_find(&head->fields, HEADER_TRANSFER_ENCODING));
    for (unsigned i = 0; i < head->fields.count; i++)
        REQUIRE(bytes_is_token(head->fields.at[i].name) && header_value_is_valid(head->fields.at[i].value));
}

/* False: it waits. */
static bool take_upload(struct request *request)
{
    struct bytes data;
    for (;;) {
        switch (upload_peek(request->head.upload, &data)) {
        case UPLOAD_DATA:
            REQUIRE(data.len > 0);
            request->head.upload->ops->consume(request->head.upload, data.len > 7 ? data.len / 2 : data.len);
            break;
        case UPLOAD_WAIT:
            return false;
        default:
            return true;
        }
    }
}

static void walk(struct request *request)
{
    if (request->head.upload && request->reads_first && !take_upload(request))
        return;
    while (!request->head_sent || request->sent_bytes < request->length) {
        struct iovec iov = {content + request->sent_bytes, request->length - request->sent_bytes};
        ssize_t sent =
            request->stream->ops->send(request->stream, request->head_sent ? NULL : &request->response, &iov, iov.iov_len > 0, true);
        request->head_sent = true;
        if (sent == STREAM_GONE) {
            request->stream->ops->finished(request->stream, true);
            request_end(request);
            return;
        }
        request->sent_bytes += (size_t)sent;
        if ((size_t)sent < iov.iov_len)
            return;
    }
    if (!request->stream->ops->is_flushed(request->stream))
        return;
    request->stream->ops->finished(request->stream, (manners & 4) != 0);
    request_end(request);
}

static void upload_ready(void *context)
{
    walk(context);
}

static void begin(struct request *request, unsigned status)
{
    REQUIRE(!request->started);
    request->started = true;
    request->reads_first = manners & 1;
    request->length = manners & 2 ? RESPONSE_BYTES : 5;
    request->response = (struct response_head){.status = status,
                                               .fields = BYTES("ETag: \"x\"\r\nConnection: close\r\n"),
                                               .extra = BYTES("Age: 1\r\n"),
                                               .has_body = true,
                                               .length_known = true,
                                               .length = request->length};
    if (request->head.upload) {
        request->head.upload->ready = upload_ready;
        request->head.upload->context = request;
    }
    if (manners & 8)
        request->stream->ops->interim(request->stream, 103, NULL);
    if (!(manners & 16)) /* else it never answers */
        walk(request);
}

void request_start(struct request *request)
{
    check(&request->head);
    begin(request, 200);
}

void request_refuse(struct request *request, enum error error)
{
    REQUIRE(error_status(error) >= 400);
    request->head.upload = NULL;
    begin(request, error_status(error));
}

void request_writable(struct request *request)
{
    REQUIRE(request->started);
    walk(request);
}

void request_client_gone(struct request *request, enum error why)
{
    (void)why;
    request_end(request);
}

size_t socket_address_format(const union socket_address *address, char *out, size_t size)
{
    (void)address;
    return (size_t)snprintf(out, size, "fuzzer");
}

/* --- */

static void forget_line(void *context, struct bytes line)
{
    (void)context, (void)line;
}

/* The client goes, or the server does. What sessions share stays for the next one unless the server goes: to make it anew is most of a short session's time. */
static void part(struct worker *worker)
{
    if (is_open && !(manners & 64) && (wants & WANT_READ))
        events->readable(owner); /* its end of file */
    end_turn();
    if (is_open || (manners & 64))
        h2_cut(worker);
    end_turn();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char preface[] = H2_PREFACE;
    static struct config config = {.header_bytes_max = 1000,
                                   .header_count_max = 10,
                                   .url_bytes_max = 100,
                                   .body_bytes_max = 5000,
                                   .http2_streams = 5,
                                   .http2_window = 1000,
                                   .http2_connection_window = 65536,
                                   .http2_header_table = 4096,
                                   .http2_resets = 10,
                                   .http2_control_frames = 20,
                                   .write_stall_timeout_ms = 1,
                                   .write_min_rate = 1000,
                                   .keep_alive_timeout_ms = 1,
                                   .header_timeout_ms = 1,
                                   .body_timeout_ms = 1};
    static struct counters *counters;
    static struct worker worker;
    const union socket_address peer = {.any = {.sa_family = AF_INET}};
    if (size < 3)
        return 0;
    if (!counters)
        counters = counters_new();
    log_set_thread_sink(forget_line, NULL);
    worker.config = &config;
    worker.counters = counters;
    piece = 1 + data[0] * 8U;
    taken_at_once = data[1] * 16U;
    manners = data[2];
    written = 0;
    memset(&said, 0, sizeof(said));
    is_open = true;
    input = bytes_from((const char *)data + 3, size - 3);
    clients_count_accepted(&worker, LISTENER_PUBLIC);
    h2_accept(&worker, (struct connection *)1, LISTENER_PUBLIC, &peer, bytes_from(preface, sizeof(preface) - 1));
    end_turn();
    while (is_open && input.len > 0) {
        if (wants & WANT_WRITE)
            events->writable(owner);
        if (is_open && (wants & WANT_READ))
            events->readable(owner);
        end_turn();
    }
    for (unsigned i = 0; is_open && (wants & WANT_WRITE) && i < 1000; i++) {
        events->writable(owner);
        end_turn();
    }
    if (manners & 32) {
        h2_drain(&worker);
        end_turn();
    }
    part(&worker);
    REQUIRE(alive == 0 && !is_open && worker.connections == 0 && !posted);
    return 0;
}
