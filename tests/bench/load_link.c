/* Bytes of the load's connections, over TCP or TLS; one epoll for all of them.
 *
 * New connections a request come from many addresses of the loopback network: one address has ports for 28,000 a minute, since a closed connection's is held. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
    SOURCES = 200, /* addresses from 127.0.0.2 on */
    READ_AHEAD_BYTES = 64 * 1024,
};

static int epoll_descriptor;
static SSL_CTX *tls_context;

static _Noreturn void fail_in_tls(void)
{
    char text[256];
    ERR_error_string_n(ERR_get_error(), text, sizeof text);
    fail("TLS", text);
}

/* Keeps the ticket for the connection's successors: the newest, or again the last where none is given with a resumed session. */
static int take_session(SSL *tls, SSL_SESSION *session)
{
    struct connection *c = SSL_get_app_data(tls);
    if (!c->group->resume) {
        return 0;
    }
    SSL_SESSION_free(c->session);
    c->session = session;
    return 1;
}

/* Certificates are not looked at, the server's signature is, as in every handshake. */
void link_begin(void)
{
    signal(SIGPIPE, SIG_IGN);    /* TLS writes */
    prctl(PR_SET_TIMERSLACK, 1); /* a wait ends when it should, not up to 50 µs later */
    epoll_descriptor = epoll_create1(EPOLL_CLOEXEC);
    tls_context = SSL_CTX_new(TLS_client_method());
    if (!tls_context) {
        fail_in_tls();
    }
    SSL_CTX_set_min_proto_version(tls_context, TLS1_3_VERSION);
    SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(tls_context, 1);
    SSL_CTX_set_default_read_buffer_len(tls_context, READ_AHEAD_BYTES);
    SSL_CTX_set_session_cache_mode(tls_context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(tls_context, take_session);
}

void link_want(struct connection *c, uint32_t interest)
{
    if (c->interest == interest) {
        return;
    }
    struct epoll_event event = {.events = interest, .data.ptr = c};
    epoll_ctl(epoll_descriptor, c->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->descriptor, &event);
    c->interest = interest;
}

int link_wait(struct connection **ready, uint64_t most_ns)
{
    struct epoll_event events[EVENTS_MAX];
    struct timespec most = {.tv_sec = (time_t)(most_ns / 1000000000), .tv_nsec = (long)(most_ns % 1000000000)};
    int count = epoll_pwait2(epoll_descriptor, events, EVENTS_MAX, &most, NULL);
    for (int i = 0; i < count; i++) {
        ready[i] = events[i].data.ptr;
    }
    return count;
}

void link_close(struct connection *c)
{
    if (c->descriptor >= 0) {
        if (c->tls) {
            SSL_set_shutdown(c->tls, SSL_SENT_SHUTDOWN); /* or its session could not be resumed */
            SSL_free(c->tls);
        }
        close(c->descriptor);
        c->tls = NULL;
        c->descriptor = -1;
        c->interest = 0;
    }
}

void link_leave(struct connection *c)
{
    if (load.hold && c->descriptor >= 0) {
        epoll_ctl(epoll_descriptor, EPOLL_CTL_DEL, c->descriptor, NULL);
        c->interest = 0;
    } else {
        link_close(c);
    }
    c->group->active--;
}

static void begin_tls(struct connection *c)
{
    static const unsigned char HTTP1[] = "\x08http/1.1", HTTP2[] = "\x02h2";
    c->tls = SSL_new(tls_context);
    if (!c->tls || SSL_set_fd(c->tls, c->descriptor) != 1) {
        fail_in_tls();
    }
    SSL_set_app_data(c->tls, c);
    SSL_set_connect_state(c->tls);
    SSL_set_tlsext_host_name(c->tls, "localhost");
    SSL_set_alpn_protos(c->tls, c->group->streams ? HTTP2 : HTTP1, c->group->streams ? sizeof HTTP2 - 1 : sizeof HTTP1 - 1);
    if (c->session) {
        SSL_SESSION *once = SSL_SESSION_dup(c->session); /* what was resumed from cannot be resumed from again */
        SSL_set_session(c->tls, once);
        SSL_SESSION_free(once);
    }
    c->greeted = false;
}

static void choose_source(int descriptor)
{
    static uint32_t turn;
    int one = 1;
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + turn++ % SOURCES)};
    setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(descriptor, (struct sockaddr *)&source, sizeof source) < 0) {
        fail("bind", strerror(errno));
    }
}

void link_open(struct connection *c)
{
    link_close(c);
    int one = 1;
    c->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->descriptor < 0) {
        fail("socket", strerror(errno));
    }
    setsockopt(c->descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c->group->close) {
        choose_source(c->descriptor);
    }
    if (connect(c->descriptor, (struct sockaddr *)&load.address, sizeof load.address) < 0 && errno != EINPROGRESS) {
        fail("connect", strerror(errno));
    }
    if (c->group->tls) {
        begin_tls(c);
    }
}

static void greet(struct connection *c)
{
    const unsigned char *protocol;
    unsigned length;
    SSL_get0_alpn_selected(c->tls, &protocol, &length);
    if (c->group->streams && length != 2) {
        fail("the server does not choose HTTP/2", NULL);
    }
    c->greeted = true;
    c->group->handshakes++;
    c->group->resumed += (uint64_t)SSL_session_reused(c->tls);
}

/* Of what SSL_read or SSL_write returned. */
static ssize_t outcome_of_tls(struct connection *c, int returned)
{
    if (returned > 0) {
        if (!c->greeted) {
            greet(c);
        }
        return returned;
    }
    switch (SSL_get_error(c->tls, returned)) {
    case SSL_ERROR_WANT_READ:
        link_want(c, EPOLLIN);
        return LINK_WAITS;
    case SSL_ERROR_WANT_WRITE:
        link_want(c, EPOLLOUT);
        return LINK_WAITS;
    case SSL_ERROR_SSL:
        if (!SSL_is_init_finished(c->tls)) {
            fail_in_tls();
        }
        ERR_clear_error();
        return LINK_FAILED;
    default:
        ERR_clear_error();
        return LINK_FAILED;
    }
}

ssize_t link_send(struct connection *c, const char *bytes, size_t count)
{
    if (c->tls) {
        return outcome_of_tls(c, SSL_write(c->tls, bytes, (int)count));
    }
    ssize_t sent = send(c->descriptor, bytes, count, MSG_NOSIGNAL);
    if (sent >= 0) {
        return sent;
    }
    if (errno != EAGAIN && errno != ENOTCONN) {
        return LINK_FAILED;
    }
    link_want(c, EPOLLOUT);
    return LINK_WAITS;
}

static ssize_t outcome_of_receive(struct connection *c, ssize_t got)
{
    if (got < 0 && errno == EAGAIN) {
        link_want(c, EPOLLIN);
        return LINK_WAITS;
    }
    return got < 0 ? LINK_ENDED : got;
}

static ssize_t receive_tls(struct connection *c, char *to, size_t room)
{
    ssize_t outcome = outcome_of_tls(c, SSL_read(c->tls, to, (int)room));
    return outcome == LINK_FAILED ? LINK_ENDED : outcome;
}

ssize_t link_receive(struct connection *c, char *to, size_t room)
{
    return c->tls ? receive_tls(c, to, room) : outcome_of_receive(c, recv(c->descriptor, to, room, 0));
}

ssize_t link_drop(struct connection *c, size_t count)
{
    static char dropped[READ_AHEAD_BYTES];
    if (c->tls) {
        return receive_tls(c, dropped, count < sizeof dropped ? count : sizeof dropped);
    }
    /* In the kernel, tcp(7). */
    return outcome_of_receive(c, recv(c->descriptor, NULL, count, MSG_TRUNC));
}

bool link_has_more(const struct connection *c)
{
    return c->tls && SSL_has_pending(c->tls);
}
