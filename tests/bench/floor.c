/* The limit: what a server on epoll costs that reads, sends a response that it had before, and does nothing else. GET /s/SIZE/… is answered with SIZE bytes,
 * whatever else the request says. One loop; plain on the first port, TLS 1.3 by OpenSSL on the second.
 *
 *     floor PORT TLS-PORT CERTIFICATE KEY */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    REQUEST_BYTES_MAX = 8192,
    BODY_BYTES_MAX = 1 << 20,
    RECORD_BYTES = 16 * 1024,
    GATHERED_BYTES = 128 * 1024,
    EVENTS_MAX = 256,
    WIDTH = 8, /* of a length in the head */
    NONE = -1, /* it waits, or has failed */
};

#define HEAD                                                                                                                               \
    "HTTP/1.1 200 OK\r\nServer: floor\r\nDate: Sat, 01 Jan 2000 00:00:00 GMT\r\nContent-Type: application/octet-stream\r\n"                \
    "ETag: \"1\"\r\nLast-Modified: Sat, 01 Jan 2000 00:00:00 GMT\r\nCache-Control: max-age=86400\r\nAge: 1\r\nContent-Length: "
#define HEAD_END "        \r\n\r\n"

static char response[sizeof HEAD - 1 + sizeof HEAD_END - 1 + BODY_BYTES_MAX] = HEAD HEAD_END;
static const size_t HEAD_BYTES = sizeof HEAD - 1 + sizeof HEAD_END - 1;
static const char CLOSE[] = "Connection: close\r\n\r\n";

struct client {
    int descriptor; /* a listener's client has no more than this and `secure` */
    bool listens, secure, closes, gathers;
    SSL *tls;
    size_t bytes, sent; /* of the response */
};

static int epoll_descriptor;
static SSL_CTX *tls_context;

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(2);
}

static void want(struct client *c, int operation, uint32_t interest)
{
    struct epoll_event event = {.events = interest, .data.ptr = c};
    epoll_ctl(epoll_descriptor, operation, c->descriptor, &event);
}

static void leave(struct client *c)
{
    SSL_free(c->tls);
    close(c->descriptor);
    free(c);
}

/* Right-aligned: what is before the digits is white space, which a value may begin with. */
static void write_length(unsigned long length)
{
    char *first = response + sizeof HEAD - 1, *at = first + WIDTH;
    do {
        *--at = (char)('0' + length % 10);
        length /= 10;
    } while (length > 0);
    memset(first, ' ', (size_t)(at - first));
}

/* Many records go out as one. */
static void gather(struct client *c)
{
    if (!c->tls || c->bytes <= RECORD_BYTES || c->gathers) {
        return;
    }
    c->gathers = true;
    BIO *socket = SSL_get_wbio(c->tls), *buffer = BIO_new(BIO_f_buffer());
    BIO_set_write_buffer_size(buffer, GATHERED_BYTES);
    BIO_up_ref(socket);
    SSL_set0_wbio(c->tls, BIO_push(buffer, socket));
}

/* Bytes of the response that were taken; NONE with errno. */
static ssize_t put(struct client *c)
{
    const char *from = response + c->sent;
    if (!c->tls) {
        return send(c->descriptor, from, c->bytes - c->sent, MSG_NOSIGNAL);
    }
    int sent = SSL_write(c->tls, from, (int)(c->bytes - c->sent));
    if (sent <= 0) {
        errno = SSL_get_error(c->tls, sent) == SSL_ERROR_WANT_WRITE ? EAGAIN : EIO;
        return NONE;
    }
    return sent;
}

/* What was gathered goes out. False, with errno: not all of it. */
static bool flush(struct client *c)
{
    if (!c->gathers || BIO_flush(SSL_get_wbio(c->tls)) > 0) {
        return true;
    }
    errno = BIO_should_retry(SSL_get_wbio(c->tls)) ? EAGAIN : EIO;
    return false;
}

/* Sends what the socket takes. False: the client is to go. */
static bool answer(struct client *c, int operation)
{
    bool all = true;
    while (all && c->sent < c->bytes) {
        ssize_t sent = put(c);
        all = sent > 0;
        c->sent += all ? (size_t)sent : 0;
    }
    if (all && flush(c)) {
        if (operation == EPOLLOUT) {
            want(c, EPOLL_CTL_MOD, EPOLLIN);
        }
        return !c->closes;
    }
    if (errno == EAGAIN && operation != EPOLLOUT) {
        want(c, EPOLL_CTL_MOD, EPOLLOUT);
    }
    return errno == EAGAIN;
}

static ssize_t receive(struct client *c, char *to, size_t room)
{
    if (!c->tls) {
        return recv(c->descriptor, to, room, 0);
    }
    int got = SSL_read(c->tls, to, (int)room);
    if (got > 0) {
        return got;
    }
    errno = SSL_get_error(c->tls, got) == SSL_ERROR_WANT_READ ? EAGAIN : EIO;
    return NONE;
}

static bool serve(struct client *c)
{
    char request[REQUEST_BYTES_MAX];
    ssize_t got = receive(c, request, sizeof request - 1);
    if (got <= 0) {
        return got < 0 && errno == EAGAIN;
    }
    request[got] = '\0';
    unsigned long size = strncmp(request, "GET /s/", 7) == 0 ? strtoul(request + 7, NULL, 10) : 0;
    size = size < BODY_BYTES_MAX ? size : BODY_BYTES_MAX;
    size_t end = sizeof CLOSE - 1;
    c->closes = (size_t)got > end && memcmp(request + got - end, CLOSE, end) == 0;
    write_length(size);
    c->bytes = HEAD_BYTES + size;
    c->sent = 0;
    gather(c);
    return answer(c, EPOLLIN);
}

static void take_client(const struct client *listener)
{
    int one = 1, descriptor = accept4(listener->descriptor, NULL, NULL, SOCK_NONBLOCK);
    if (descriptor < 0) {
        return;
    }
    struct client *c = calloc(1, sizeof *c);
    if (!c) {
        fail("calloc");
    }
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->descriptor = descriptor;
    if (listener->secure) {
        c->tls = SSL_new(tls_context);
        SSL_set_fd(c->tls, descriptor);
        SSL_set_accept_state(c->tls);
    }
    want(c, EPOLL_CTL_ADD, EPOLLIN);
}

static void listen_on(struct client *listener, const char *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    listener->listens = true;
    listener->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener->descriptor, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener->descriptor, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener->descriptor, 4096) < 0) {
        fail("listen");
    }
    want(listener, EPOLL_CTL_ADD, EPOLLIN);
}

static void prepare_tls(const char *certificate, const char *key)
{
    tls_context = SSL_CTX_new(TLS_server_method());
    if (!tls_context || SSL_CTX_use_certificate_chain_file(tls_context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls_context, key, SSL_FILETYPE_PEM) != 1) {
        fputs("floor: the certificate or its key cannot be used\n", stderr);
        exit(2);
    }
    SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(tls_context, 1);
    SSL_CTX_set_session_cache_mode(tls_context, SSL_SESS_CACHE_OFF); /* tickets need none */
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs("floor PORT TLS-PORT CERTIFICATE KEY\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN); /* TLS writes */
    prepare_tls(argv[3], argv[4]);
    memset(response + HEAD_BYTES, 'x', BODY_BYTES_MAX);
    epoll_descriptor = epoll_create1(EPOLL_CLOEXEC);
    struct client plain = {0}, secure = {.secure = true};
    listen_on(&plain, argv[1]);
    listen_on(&secure, argv[2]);
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int count = epoll_wait(epoll_descriptor, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            struct client *c = events[i].data.ptr;
            if (c->listens) {
                take_client(c);
            } else if (!(events[i].events & EPOLLOUT ? answer(c, EPOLLOUT) : serve(c))) {
                leave(c);
            }
        }
    }
}
