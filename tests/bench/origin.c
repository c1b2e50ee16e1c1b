/* The origin of the measurements: GET /s/SIZE/ANYTHING is answered with a body of SIZE bytes that begins with the path, and may be kept for a day. GET /count
 * tells how many were asked for, so that a hit is known for a hit. One loop, no file, no allocation after accept.
 *
 *     origin PORT */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    REQUEST_BYTES_MAX = 16384,
    PATH_BYTES_MAX = 2048,
    FILLER_BYTES = 1 << 20,
    EVENTS_MAX = 256,
};

struct client {
    int descriptor;
    size_t request_bytes;
    char request[REQUEST_BYTES_MAX];
    char beginning[PATH_BYTES_MAX + 512]; /* head, and the path as the body begins with it */
    size_t beginning_bytes, beginning_sent;
    uint64_t filler_left;
    bool waits; /* for room in the socket */
};

static int epoll_descriptor;
static char filler[FILLER_BYTES];
static uint64_t asked;

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(2);
}

static void fill_filler(void)
{
    uint32_t x = 1;
    for (size_t i = 0; i < sizeof filler; i++) {
        x = x * 1664525 + 1013904223;
        filler[i] = (char)(x >> 24);
    }
}

static const char *http_date(void)
{
    static char text[64];
    static time_t written;
    time_t now = time(NULL);
    if (now != written) {
        written = now;
        strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&now));
    }
    return text;
}

static void prepare_answer(struct client *c)
{
    unsigned long size = 0;
    char path[PATH_BYTES_MAX] = "", count[24];
    const char *status = "200 OK", *control = "max-age=86400", *body = path;
    bool known = sscanf(c->request, "GET %2047s", path) == 1;
    if (known && strcmp(path, "/count") == 0) {
        size = (unsigned long)snprintf(count, sizeof count, "%lu", asked);
        control = "no-store";
        body = count;
    } else if (known && sscanf(path, "/s/%lu", &size) == 1) {
        asked++;
    } else {
        status = "404 Not Found";
    }
    int head = snprintf(c->beginning, sizeof c->beginning,
                        "HTTP/1.1 %s\r\nServer: bench\r\nDate: %s\r\nContent-Type: application/octet-stream\r\nETag: \"1\"\r\n"
                        "Last-Modified: Sat, 01 Jan 2000 00:00:00 GMT\r\nCache-Control: %s\r\nContent-Length: %lu\r\n\r\n",
                        status, http_date(), control, size);
    size_t begins = strlen(body) < size ? strlen(body) : size;
    memcpy(c->beginning + head, body, begins);
    c->beginning_bytes = (size_t)head + begins;
    c->beginning_sent = 0;
    c->filler_left = size - begins;
}

static void want(struct client *c, int operation, uint32_t interest)
{
    struct epoll_event event = {.events = interest, .data.ptr = c};
    epoll_ctl(epoll_descriptor, operation, c->descriptor, &event);
}

static void leave(struct client *c)
{
    close(c->descriptor);
    free(c);
}

/* Sends what the socket takes. False: the client has gone. */
static bool send_answer(struct client *c)
{
    while (c->beginning_sent < c->beginning_bytes || c->filler_left > 0) {
        struct iovec parts[2] = {
            {c->beginning + c->beginning_sent, c->beginning_bytes - c->beginning_sent},
            {filler, c->filler_left < sizeof filler ? c->filler_left : sizeof filler},
        };
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t sent = sendmsg(c->descriptor, &message, MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN;
        }
        size_t of_beginning = (size_t)sent < parts[0].iov_len ? (size_t)sent : parts[0].iov_len;
        c->beginning_sent += of_beginning;
        c->filler_left -= (size_t)sent - of_beginning;
    }
    return true;
}

/* Answers the requests that are complete, one after the other. False: the client has gone. */
static bool answer(struct client *c)
{
    char *end;
    while (c->beginning_sent == c->beginning_bytes && c->filler_left == 0 &&
           (end = memmem(c->request, c->request_bytes, "\r\n\r\n", 4)) != NULL) {
        *end = '\0';
        prepare_answer(c);
        end += 4;
        c->request_bytes -= (size_t)(end - c->request);
        memmove(c->request, end, c->request_bytes);
        if (!send_answer(c)) {
            return false;
        }
    }
    bool waits = c->beginning_sent < c->beginning_bytes || c->filler_left > 0;
    if (waits != c->waits) {
        c->waits = waits;
        want(c, EPOLL_CTL_MOD, waits ? EPOLLOUT : EPOLLIN);
    }
    return true;
}

static void serve(struct client *c, uint32_t events)
{
    if (events & EPOLLOUT) {
        if (!send_answer(c) || !answer(c)) {
            leave(c);
        }
        return;
    }
    ssize_t got = recv(c->descriptor, c->request + c->request_bytes, sizeof c->request - c->request_bytes, 0);
    if (got <= 0) {
        leave(c);
        return;
    }
    c->request_bytes += (size_t)got;
    if (!answer(c)) {
        leave(c);
    }
}

static void take_client(int listener)
{
    int one = 1, descriptor = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (descriptor < 0) {
        return;
    }
    struct client *c = calloc(1, sizeof *c);
    if (!c) {
        fail("calloc");
    }
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->descriptor = descriptor;
    want(c, EPOLL_CTL_ADD, EPOLLIN);
}

static int listen_on(const char *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 4096) < 0) {
        fail("listen");
    }
    return listener;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("origin PORT\n", stderr);
        return 2;
    }
    fill_filler();
    epoll_descriptor = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_on(argv[1]);
    struct epoll_event event = {.events = EPOLLIN}, events[EVENTS_MAX];
    epoll_ctl(epoll_descriptor, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(epoll_descriptor, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) {
                serve(events[i].data.ptr, events[i].events);
            } else {
                take_client(listener);
            }
        }
    }
}
