/* HTTP/1.1 of the load: a connection asks, reads the response to its end, asks again. Of a body only what came along with the head is copied, unless it is to be
 * checked: then as much of it as the path is long. A response must have a Content-Length. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

enum { HEAD_BYTES_MAX = 16384 };

struct http1 {
    uint32_t request_bytes, path_bytes, head_bytes, matched;
    uint64_t asked_ns, body_left;
    bool sends, in_body, closing;
    char *head; /* of a response whose head came in parts; HEAD_BYTES_MAX */
    char request[];
};

static const char GET[] = "GET ", VERSION[] = " HTTP/1.1\r\nHost: ", CLOSE[] = "\r\nConnection: close", END[] = "\r\n\r\n";

static char *append(char *to, const char *text)
{
    return mempcpy(to, text, strlen(text));
}

static bool compose_request(struct connection *c)
{
    struct http1 *h = c->http1;
    char *path = append(h->request, GET), *end = choice_next_path(&c->group->choice, path);
    if (!end) {
        return false;
    }
    h->path_bytes = (uint32_t)(end - path);
    end = append(append(append(end, VERSION), load.target), load.fields);
    end = append(c->group->close ? append(end, CLOSE) : end, END);
    h->request_bytes = (uint32_t)(end - h->request);
    return true;
}

/* What was not sent is repeated: a request is small enough to go as one. */
static void send_request(struct connection *c)
{
    struct http1 *h = c->http1;
    ssize_t sent = link_send(c, h->request, h->request_bytes);
    h->sends = sent < 0;
    if (sent == (ssize_t)h->request_bytes) {
        link_want(c, EPOLLIN);
    } else if (sent == LINK_FAILED) {
        /* Closed between two requests, or refused: once more after a new connection, when the descriptor tells. */
        c->group->refused++;
        link_open(c);
        link_want(c, EPOLLOUT);
    } else if (sent >= 0) {
        fail("a request went out in parts", NULL);
    }
}

void http1_ask(struct connection *c, uint64_t now)
{
    struct http1 *h = c->http1;
    h->head_bytes = h->matched = 0;
    h->in_body = h->closing = false;
    if (!pace_may_ask(c, &now)) {
        return;
    }
    if (!compose_request(c)) {
        link_leave(c);
        return;
    }
    h->asked_ns = now;
    if (c->descriptor < 0) {
        link_open(c);
    }
    send_request(c);
}

void http1_begin(struct connection *c)
{
    size_t request = strlen(GET) + choice_longest_path(&c->group->choice) + strlen(VERSION) + strlen(load.target) + strlen(load.fields) +
                     strlen(CLOSE) + strlen(END);
    c->http1 = calloc(1, sizeof *c->http1 + request);
    if (!c->http1) {
        fail("no memory for so many connections", NULL);
    }
    http1_ask(c, now_ns());
}

static void give_up_response(struct connection *c, uint64_t now)
{
    c->group->broken++;
    link_close(c);
    http1_ask(c, now);
}

/* The body must begin with the path; it may be shorter. */
static void check_body(struct connection *c, const char *bytes, size_t count)
{
    struct http1 *h = c->http1;
    if (!load.check || h->matched >= h->path_bytes) {
        return;
    }
    size_t compared = h->path_bytes - h->matched < count ? h->path_bytes - h->matched : count;
    if (memcmp(h->request + strlen(GET) + h->matched, bytes, compared) == 0) {
        h->matched += (uint32_t)compared;
    } else {
        c->group->wrong++;
        h->matched = h->path_bytes;
    }
}

/* Takes what a response's head says. */
static void parse_head(struct connection *c, const char *head, const char *end)
{
    struct http1 *h = c->http1;
    if (memcmp(head, "HTTP/1.", 7) != 0) {
        fail("this is no HTTP", NULL);
    }
    c->group->not_200 += memcmp(head + 9, "200", 3) != 0;
    h->closing = c->group->close;
    bool framed = false;
    for (const char *line = memchr(head, '\n', (size_t)(end - head)); line && line + 2 < end;
         line = memchr(line, '\n', (size_t)(end - line))) {
        line++;
        if ((*line | 0x20) != 'c') {
            continue;
        }
        if (strncasecmp(line, "content-length:", 15) == 0) {
            h->body_left = strtoull(line + 15, NULL, 10);
            framed = true;
        } else if (strncasecmp(line, "connection: close", 17) == 0) {
            h->closing = true;
        }
    }
    if (!framed) {
        fprintf(stderr, "%.*s", (int)(end - head), head);
        fail("a response without Content-Length", NULL);
    }
    h->in_body = true;
}

/* Puts aside the beginning of a head. */
static void keep_head(struct http1 *h, const char *bytes, size_t count)
{
    if (!h->head && !(h->head = malloc(HEAD_BYTES_MAX))) {
        fail("no memory for a head", NULL);
    }
    if (h->head_bytes + count > HEAD_BYTES_MAX) {
        fail("a response head is too large", NULL);
    }
    memcpy(h->head + h->head_bytes, bytes, count);
    h->head_bytes += (uint32_t)count;
}

/* Bytes of a head, and what came with it. True: the head is complete. */
static bool take_head(struct connection *c, const char *bytes, size_t count)
{
    struct http1 *h = c->http1;
    const char *head = bytes;
    if (h->head_bytes > 0) {
        keep_head(h, bytes, count);
        head = h->head;
        count = h->head_bytes;
    }
    const char *end = memmem(head, count, END, strlen(END));
    if (!end) {
        if (h->head_bytes == 0) {
            keep_head(h, bytes, count);
        }
        return false;
    }
    end += strlen(END);
    parse_head(c, head, end);
    size_t body = count - (size_t)(end - head);
    if (body > h->body_left) {
        fail("bytes after a response", NULL);
    }
    check_body(c, end, body);
    h->body_left -= body;
    c->group->bytes += body;
    return true;
}

/* Takes what there is of a body. */
static void take_body(struct connection *c, const char *bytes, size_t count)
{
    struct http1 *h = c->http1;
    if (count > h->body_left) {
        fail("bytes after a response", NULL);
    }
    if (bytes) {
        check_body(c, bytes, count);
    }
    h->body_left -= count;
    c->group->bytes += count;
}

static void finish_response(struct connection *c, uint64_t now)
{
    count_response(c->group, c->http1->asked_ns, now);
    if (c->http1->closing) {
        link_close(c);
    }
    if (load.hold) {
        link_leave(c);
    } else {
        http1_ask(c, now);
    }
}

/* False: there is nothing more now, or the response has ended. */
static bool receive(struct connection *c, uint64_t now)
{
    static char buffer[HEAD_BYTES_MAX];
    struct http1 *h = c->http1;
    bool drop = h->in_body && (!load.check || h->matched >= h->path_bytes);
    ssize_t got = drop ? link_drop(c, h->body_left) : link_receive(c, buffer, sizeof buffer - h->head_bytes);
    if (got == LINK_WAITS) {
        return false;
    }
    if (got == LINK_ENDED) {
        give_up_response(c, now);
        return false;
    }
    if (h->in_body) {
        take_body(c, drop ? NULL : buffer, (size_t)got);
    } else if (!take_head(c, buffer, (size_t)got)) {
        return true;
    }
    if (h->body_left > 0) {
        return true;
    }
    finish_response(c, now);
    return false;
}

void http1_go_on(struct connection *c, uint64_t now)
{
    if (c->idle) { /* closed while nothing was asked: it connects anew when it asks */
        link_close(c);
        return;
    }
    if (c->http1->sends) {
        send_request(c);
        return;
    }
    while (receive(c, now) && link_has_more(c)) {
    }
}
