/* What OpenSSL reads from and writes to. A server's handshake reads what was received for it, so that nothing behind it is taken; a client reads the socket
 * itself, into OpenSSL's own buffer. What is written is collected and leaves with the rest of the same step. */
#include "proxy/net/tls_stream.h"

#include <errno.h>
#include <openssl/bio.h>
#include <pthread.h>
#include <sys/socket.h>

static int bio_read(BIO *bio, char *buffer, int capacity)
{
    struct tls_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (stream->is_client) {
        ssize_t got = recv(stream->fd, buffer, (size_t)capacity, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            BIO_set_retry_read(bio);
        return (int)got;
    }
    struct bytes *input = &stream->loop->input;
    size_t taken = input->len < (size_t)capacity ? input->len : (size_t)capacity;
    if (taken == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(buffer, input->at, taken);
    *input = bytes_from(input->at + taken, input->len - taken);
    return (int)taken;
}

static int bio_write(BIO *bio, const char *bytes, int length)
{
    BIO_clear_retry_flags(bio);
    tls_stream_put(BIO_get_data(bio), bytes, (size_t)length);
    return length;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *method;

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connection");
    if (!method)
        return;
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
}

BIO *tls_bio_new(struct tls_stream *stream)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_method);
    BIO *bio = method ? BIO_new(method) : NULL;
    if (!bio)
        return NULL;
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    return bio;
}
