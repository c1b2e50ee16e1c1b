/* The life of a TLS stream: its handshake, what it keeps of it, what waits to be sent, how it ends. See tls_stream.h. */
#include "proxy/net/tls_stream.h"

#include <errno.h>
#include <openssl/async.h>
#include <openssl/err.h>
#include <stdlib.h>

/* ---- output ----------------------------------------------------------------------------------------------------------------------------- */

void tls_stream_put(struct tls_stream *stream, const void *bytes, size_t length)
{
    struct tls_loop *loop = stream->loop;
    if (loop->out_length + length > TLS_OUT_BYTES) { /* a chain of certificates, for instance: it knows no bounds */
        spill_append(&stream->out, bytes_from((char *)loop->out, loop->out_length));
        loop->out_length = 0;
        spill_append(&stream->out, bytes_from(bytes, length));
        return;
    }
    memcpy(loop->out + loop->out_length, bytes, length);
    loop->out_length += length;
}

/* How much the kernel took; −1: broken. */
static ssize_t send_some(struct tls_stream *stream, const struct iovec *iov, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count};
    ssize_t sent = count == 1 ? send(stream->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL) : sendmsg(stream->fd, &message, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (sent < 0)
        stream->broken = true;
    return sent;
}

bool tls_stream_send(struct tls_stream *stream)
{
    struct tls_loop *loop = stream->loop;
    struct bytes waiting = spill_bytes(stream->out);
    struct iovec iov[2] = {{(char *)waiting.at, waiting.len}, {loop->out, loop->out_length}};
    int first = waiting.len ? 0 : 1, last = loop->out_length ? 2 : 1;
    size_t fresh = loop->out_length;
    loop->out_length = 0;
    stream->holds = false;
    if (first >= last)
        return !stream->broken;
    ssize_t sent = stream->broken ? -1 : send_some(stream, iov + first, last - first);
    if (sent < 0) {
        spill_free(&stream->out);
        return false;
    }
    size_t of_waiting = (size_t)sent < waiting.len ? (size_t)sent : waiting.len;
    spill_drop(&stream->out, of_waiting);
    if ((size_t)sent - of_waiting < fresh)
        spill_append(&stream->out, bytes_from((char *)loop->out + (sent - (ssize_t)of_waiting), fresh - ((size_t)sent - of_waiting)));
    if (!stream->out && stream->fins)
        shutdown(stream->fd, SHUT_WR);
    return true;
}

bool tls_stream_flush(struct tls_stream *stream)
{
    return tls_stream_send(stream);
}

/* ---- making and ending ------------------------------------------------------------------------------------------------------------------ */

/* As SSL_get_error says. */
static int step(struct tls_stream *stream)
{
    struct tls_handshake *handshake = stream->handshake;
    ERR_clear_error();
    tls_kdf_note_in(stream->is_client ? NULL : &handshake->secrets);
    int why = SSL_get_error(stream->ssl, SSL_do_handshake(stream->ssl));
    tls_kdf_note_in(NULL);
    handshake->paused = why == SSL_ERROR_WANT_ASYNC;
    if (!handshake->paused)
        SSL_clear_mode(stream->ssl, SSL_MODE_ASYNC);
    return why;
}

/* What is freed while it is paused: OpenSSL would lose the stack. What it still has to say nobody hears. */
static void finish_paused(struct tls_stream *stream)
{
    while (stream->handshake && stream->handshake->paused) {
        stream->loop->input = BYTES_NONE;
        step(stream);
        stream->loop->out_length = 0;
    }
}

static void handshake_free(struct tls_handshake **pointer)
{
    struct tls_handshake *handshake = *pointer;
    *pointer = NULL;
    if (!handshake)
        return;
    tls_server_unref(&handshake->server);
    OPENSSL_cleanse(handshake, sizeof(*handshake));
    free(handshake);
}

void tls_stream_free(struct tls_stream **pointer)
{
    struct tls_stream *stream = *pointer;
    *pointer = NULL;
    if (!stream)
        return;
    list_remove(&stream->link);
    deadline_clear(&stream->parting);
    finish_paused(stream);
    handshake_free(&stream->handshake);
    SSL_free(stream->ssl);
    tls_client_unref(&stream->client);
    tls_records_clear(&stream->records);
    spill_free(&stream->in);
    spill_free(&stream->plain);
    spill_free(&stream->out);
    free(stream->facts);
    free(stream);
}

static struct tls_stream *stream_new(struct connection *connection)
{
    struct tls_stream *stream = calloc(1, sizeof(*stream));
    struct tls_handshake *handshake = calloc(1, sizeof(*handshake));
    if (!stream || !handshake) {
        free(stream);
        free(handshake);
        return NULL;
    }
    list_init(&stream->link);
    stream->connection = connection;
    stream->loop = tls_loop_of(connection_loop(connection));
    stream->fd = connection_fd(connection);
    stream->handshake = handshake;
    return stream;
}

static bool attach_ssl(struct tls_stream *stream, SSL *ssl)
{
    BIO *bio = ssl ? tls_bio_new(stream) : NULL;
    if (!bio) {
        SSL_free(ssl);
        return false;
    }
    stream->ssl = ssl;
    SSL_set_bio(ssl, bio, bio);
    SSL_set_app_data(ssl, stream);
    return true;
}

struct tls_stream *tls_stream_accept(struct connection *connection, struct tls_server *server, bool http2, struct bytes already_read)
{
    struct tls_stream *stream = stream_new(connection);
    if (!stream)
        return NULL;
    stream->handshake->server = tls_server_ref(server);
    stream->handshake->http2 = http2;
    spill_append(&stream->in, already_read);
    return stream; /* the SSL is made when something comes: who only connects costs little */
}

struct tls_stream *tls_stream_connect(struct connection *connection, struct tls_client *client, struct bytes name)
{
    struct tls_stream *stream = stream_new(connection);
    if (!stream)
        return NULL;
    stream->is_client = true;
    stream->client = tls_client_ref(client);
    if (!attach_ssl(stream, tls_client_ssl(client, name)))
        tls_stream_free(&stream);
    return stream;
}

/* ---- the handshake ---------------------------------------------------------------------------------------------------------------------- */

static struct bytes keep_text(char **at, struct bytes text)
{
    if (!text.at)
        return BYTES_NONE;
    struct bytes kept = bytes_from(*at, text.len);
    memcpy(*at, text.at, text.len);
    *at += text.len;
    return kept;
}

/* RFC 4514, so that what a certificate says cannot be taken for anything else: control bytes and what is not ASCII are escaped. */
static struct bytes subject_of(const SSL *ssl, char *out, size_t size)
{
    X509 *certificate = SSL_get_verify_result(ssl) == X509_V_OK ? SSL_get0_peer_certificate(ssl) : NULL;
    BIO *bio = certificate ? BIO_new(BIO_s_mem()) : NULL;
    int length = 0;
    if (!bio)
        return BYTES_NONE;
    if (X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0)
        length = BIO_read(bio, out, (int)size);
    BIO_free(bio);
    return bytes_from(out, length > 0 ? (size_t)length : 0);
}

static bool note_facts(struct tls_stream *stream)
{
    enum { SUBJECT_MAX = 1024 };
    SSL *ssl = stream->ssl;
    const struct tls_handshake *handshake = stream->handshake;
    const unsigned char *alpn;
    unsigned alpn_length;
    char subject[SUBJECT_MAX];
    struct bytes name = handshake->name[0] ? bytes_from_string(handshake->name) : BYTES_NONE;
    struct bytes client = stream->is_client ? BYTES_NONE : subject_of(ssl, subject, sizeof(subject));
    SSL_get0_alpn_selected(ssl, &alpn, &alpn_length);
    struct bytes protocol = alpn_length > 0 ? bytes_from((const char *)alpn, alpn_length) : BYTES_NONE;
    struct tls_facts *facts = malloc(sizeof(*facts) + name.len + client.len + protocol.len);
    if (!facts)
        return false;
    char *at = (char *)(facts + 1);
    *facts = (struct tls_facts){
        .version = SSL_get_version(ssl),
        .cipher = SSL_CIPHER_standard_name(SSL_get_current_cipher(ssl)),
        .alpn = keep_text(&at, protocol),
        .sni = keep_text(&at, name),
        .client = keep_text(&at, client),
        .client_policy = handshake->client_policy,
        .resumed = SSL_session_reused(ssl) == 1,
    };
    stream->facts = facts;
    return true;
}

static bool is_letter(char c)
{
    return c >= 'A' && c <= 'Z';
}

static enum error server_error(const struct tls_handshake *handshake, unsigned long code)
{
    int reason = ERR_GET_REASON(code);
    if (handshake->name_unknown)
        return ERROR_TLS_NAME_UNKNOWN;
    if (ERR_GET_LIB(code) != ERR_LIB_SSL)
        return ERROR_TLS_FAILED;
    if (reason > SSL_AD_REASON_OFFSET)
        return ERROR_TLS_REFUSED;
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_INAPPROPRIATE_FALLBACK:
        return ERROR_TLS_VERSION;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
        return ERROR_TLS_CIPHER;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return ERROR_TLS_PROTOCOL;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
        return ERROR_TLS_CLIENT_CERTIFICATE;
    default:
        return ERROR_TLS_FAILED;
    }
}

/* Notes in words why it failed, and empties OpenSSL's queue of errors, which is the thread's. */
static enum error failed(struct tls_stream *stream, enum error error)
{
    struct tls_handshake *handshake = stream->handshake;
    unsigned long code = ERR_peek_last_error();
    long verified = stream->ssl ? SSL_get_verify_result(stream->ssl) : X509_V_OK;
    const char *reason = verified != X509_V_OK ? X509_verify_cert_error_string(verified) : ERR_reason_error_string(code);
    if (error == ERROR_OK)
        error = stream->is_client ? tls_client_error(stream->ssl) : server_error(handshake, code);
    snprintf(handshake->failure, sizeof(handshake->failure), "%s", reason ? reason : "");
    ERR_clear_error();
    return error;
}

/* Before OpenSSL sees it: what begins like no handshake (RFC 8446 §5.1) need not cost one. */
static enum error look_at_beginning(struct tls_handshake *handshake, struct bytes input)
{
    handshake->began = true;
    if (input.at[0] == RECORD_HANDSHAKE)
        return ERROR_OK;
    return is_letter(input.at[0]) ? ERROR_TLS_PLAIN_HTTP : ERROR_TLS_GARBAGE;
}

/* What is held, and so much that stands behind it, is the input now. */
static void take_held(struct tls_stream *stream, size_t got)
{
    struct tls_loop *loop = stream->loop;
    struct bytes held = spill_bytes(stream->in);
    memcpy(loop->in, held.at ? held.at : "", held.len);
    loop->input = bytes_from((char *)loop->in, held.len + got);
    spill_free(&stream->in);
}

/* Receives behind what is held; false: nothing new. *error: there will be nothing. */
static bool receive(struct tls_stream *stream, enum error *error)
{
    struct tls_loop *loop = stream->loop;
    struct bytes held = spill_bytes(stream->in);
    if (held.len > TLS_IN_BYTES / 2) { /* no handshake is that long */
        *error = ERROR_TLS_FAILED;
        return false;
    }
    ssize_t got = recv(stream->fd, loop->in + held.len, RECORD_PLAIN_MAX, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        *error = stream->handshake->began ? ERROR_TLS_CLOSED : ERROR_CLIENT_CLOSED;
    if (got <= 0 && (held.len == 0 || stream->handshake->began))
        return false;
    take_held(stream, got > 0 ? (size_t)got : 0);
    return true;
}

/* How much of the input are whole records: only those are given to OpenSSL, which would take its largest buffer for the beginning of one. */
static size_t whole_records(struct bytes input)
{
    size_t whole = 0, length;
    while ((length = tls_record_length(bytes_from(input.at + whole, input.len - whole))) != 0 && length <= input.len - whole)
        whole += length;
    return length == SIZE_MAX ? input.len : whole;
}

/* The server's keys are taken, and OpenSSL is done with this connection. */
static bool take_over(struct tls_stream *stream)
{
    if (!tls_records_take(&stream->records, stream->ssl, &stream->handshake->secrets))
        return false;
    SSL_free(stream->ssl);
    stream->ssl = NULL;
    return true;
}

static enum tls_progress over(struct tls_stream *stream, enum error *error)
{
    if (!note_facts(stream) || (!stream->is_client && !take_over(stream))) {
        *error = failed(stream, ERROR_OK);
        return TLS_FAILED;
    }
    handshake_free(&stream->handshake);
    return TLS_OVER;
}

/* The first step, of which the key exchange and the signature are most, is made in three parts where others would wait for it and for more of them. OpenSSL
 * leaves and enters it again on a stack of its own (ASYNC_start_job(3)); the loop goes on with a paused one before it begins another, so that one stack is all
 * it needs. */
static bool begin_steps(struct tls_stream *stream)
{
    if (!attach_ssl(stream, tls_server_ssl(stream->handshake->server)))
        return false;
    if (TLS_STEP_PARTS > 1 && ASYNC_is_capable() && tls_loop_is_crowded(stream->loop))
        SSL_set_mode(stream->ssl, SSL_MODE_ASYNC);
    return true;
}

static enum tls_progress shake(struct tls_stream *stream, enum error *error)
{
    int why = step(stream);
    if (why == SSL_ERROR_NONE)
        return over(stream, error);
    if (why == SSL_ERROR_WANT_ASYNC)
        return TLS_PAUSES;
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return TLS_GOES_ON;
    *error = failed(stream, ERROR_OK);
    return TLS_FAILED;
}

/* Of what was received, what is not whole records is kept for later. */
static enum tls_progress shake_server(struct tls_stream *stream, enum error *error)
{
    struct tls_handshake *handshake = stream->handshake;
    if (handshake->paused)
        take_held(stream, 0);
    else if (!receive(stream, error))
        return *error == ERROR_OK ? TLS_GOES_ON : TLS_FAILED;
    if (!handshake->began && (*error = look_at_beginning(handshake, stream->loop->input)) != ERROR_OK)
        return TLS_FAILED;
    struct bytes input = stream->loop->input;
    size_t whole = whole_records(input);
    if (whole == 0 && !handshake->paused) {
        spill_append(&stream->in, input);
        return TLS_GOES_ON;
    }
    if (!stream->ssl && !begin_steps(stream)) {
        *error = ERROR_TLS_FAILED;
        return TLS_FAILED;
    }
    stream->loop->input.len = whole;
    enum tls_progress progress = shake(stream, error);
    spill_append(&stream->in, stream->loop->input);
    spill_append(&stream->in, bytes_from(input.at + whole, input.len - whole));
    return progress;
}

enum tls_progress tls_stream_shake(struct tls_stream *stream, enum error *error)
{
    uint64_t from = tls_clock_ns();
    *error = ERROR_OK;
    enum tls_progress progress = stream->is_client ? shake(stream, error) : shake_server(stream, error);
    bool holds = progress == TLS_OVER && !stream->is_client;
    if (holds) {
        struct tls_loop *loop = stream->loop;
        spill_append(&stream->out, bytes_from((char *)loop->out, loop->out_length));
        loop->out_length = 0;
        stream->holds = stream->out != NULL;
        stream->looks = true;
    } else if (!tls_stream_send(stream) && progress != TLS_FAILED) {
        *error = failed(stream, stream->is_client ? ERROR_ORIGIN_TLS_FAILED : ERROR_TLS_CLOSED);
        progress = TLS_FAILED;
    }
    tls_loop_spend(stream->loop, from);
    return progress;
}

/* ---- the end ---------------------------------------------------------------------------------------------------------------------------- */

bool tls_stream_has_input(const struct tls_stream *stream)
{
    if (stream->ssl)
        return stream->looks;
    struct bytes in = spill_bytes(stream->in);
    size_t length = tls_record_length(in);
    return stream->looks || stream->plain || stream->ended || stream->broken || (length != 0 && length <= in.len) || length == SIZE_MAX;
}

void tls_stream_put_end(struct tls_stream *stream)
{
    static const uint8_t close_notify[2] = {1, 0};
    const struct iovec alert = {(void *)close_notify, sizeof(close_notify)}, *iov = &alert;
    struct tls_loop *loop = stream->loop;
    size_t offset = 0;
    loop->out_length += tls_record_seal(&stream->records, RECORD_ALERT, &iov, &offset, sizeof(close_notify), loop->out + loop->out_length);
    stream->shut = true;
}

void tls_stream_say_end(struct tls_stream *stream)
{
    if (stream->shut || stream->broken || stream->handshake)
        return;
    if (stream->ssl)
        SSL_shutdown(stream->ssl);
    else
        tls_stream_put_end(stream);
    stream->shut = true;
    tls_stream_send(stream);
}
