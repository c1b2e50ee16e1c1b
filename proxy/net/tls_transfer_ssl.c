/* Reading and writing on a client's stream: OpenSSL's own. */
#include "proxy/net/tls_stream.h"

#include <openssl/err.h>

/* What a call that failed means; an end without close_notify may be an attacker's (RFC 9112 §9.8). */
static ssize_t explain(struct tls_stream *stream, int result)
{
    int why = SSL_get_error(stream->ssl, result);
    ERR_clear_error();
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return CONNECTION_AGAIN;
    if (why == SSL_ERROR_ZERO_RETURN) {
        stream->ended = true;
        return CONNECTION_EOF;
    }
    stream->broken = true;
    return CONNECTION_ERROR;
}

ssize_t tls_ssl_read(struct tls_stream *stream, void *buffer, size_t capacity)
{
    size_t taken = 0, got = 0;
    if (stream->broken || stream->ended)
        return stream->broken ? CONNECTION_ERROR : CONNECTION_EOF;
    ERR_clear_error();
    int result = SSL_read_ex(stream->ssl, buffer, capacity, &got);
    while (result == 1) {
        taken += got;
        if (taken == capacity || !SSL_has_pending(stream->ssl))
            break;
        result = SSL_read_ex(stream->ssl, (char *)buffer + taken, capacity - taken, &got);
    }
    ssize_t outcome = result == 1 ? (ssize_t)taken : explain(stream, result);
    stream->looks = outcome != CONNECTION_AGAIN && (SSL_has_pending(stream->ssl) || stream->ended || stream->broken);
    if (stream->loop->out_length) /* an answer to a KeyUpdate */
        tls_stream_send(stream);
    return taken > 0 ? (ssize_t)taken : outcome;
}

ssize_t tls_ssl_writev(struct tls_stream *stream, const struct iovec *iov, int count)
{
    size_t written = 0;
    if (stream->out && !tls_stream_flush(stream))
        return CONNECTION_ERROR;
    if (stream->broken || stream->shut)
        return CONNECTION_ERROR;
    if (stream->out)
        return CONNECTION_AGAIN;
    for (int i = 0; i < count && !stream->out; i++) {
        for (size_t at = 0; at < iov[i].iov_len && !stream->out;) {
            size_t left = iov[i].iov_len - at, taken = 0;
            if (SSL_write_ex(stream->ssl, (char *)iov[i].iov_base + at, left < RECORD_PLAIN_MAX ? left : RECORD_PLAIN_MAX, &taken) != 1)
                return explain(stream, 0);
            at += taken;
            written += taken;
            if (stream->loop->out_length > TLS_OUT_BYTES - RECORD_PLAIN_MAX - 256 && !tls_stream_send(stream))
                return CONNECTION_ERROR;
        }
    }
    if (!tls_stream_send(stream))
        return CONNECTION_ERROR;
    return (ssize_t)written;
}

bool tls_ssl_has_input(struct tls_stream *stream)
{
    char byte;
    if (stream->broken || stream->ended)
        return true;
    ERR_clear_error();
    int result = SSL_peek(stream->ssl, &byte, 1);
    bool has = result == 1 || explain(stream, result) != CONNECTION_AGAIN;
    if (stream->loop->out_length)
        tls_stream_send(stream);
    return has;
}
