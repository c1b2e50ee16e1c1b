/* An HTTP/1.1 load that costs little: it shall be the server that is measured.
 *
 * DESIGN: one thread, one epoll, keep-alive connections in groups. A connection asks, reads the response to its end, asks again (a closed loop). Groups
 * run side by side in one process, so that a busy group does not keep a slow one from the processor. Which object is asked for next is drawn from
 * the group's generator, which is seeded: two runs ask for the same. One clock reading a response. Of a body only what came along with the head is copied, the
 * rest is dropped in the kernel. Latency goes to a histogram whose steps are 1/64 of the value.
 *
 * A response must have a Content-Length. With --check its body must begin with the path asked for, as tests/bench/origin.c answers. */
#include "choice.h"
#include "histogram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    GROUPS_MAX = 64,
    REQUEST_BYTES_MAX = 8192,
    HEAD_BYTES_MAX = 16384,
    EVENTS_MAX = 256,
    PATIENCE_SECONDS = 60, /* without any response: the server hangs */
};

static const uint64_t SECOND_NS = 1000000000;

struct group {
    const char *name;
    uint32_t connections;
    struct choice choice;
    bool close;
    uint32_t active; /* connections that still have something to ask */
    struct histogram latency;
    uint64_t bytes, refused, broken, wrong, not_200;
};

struct connection {
    struct group *group;
    int descriptor;
    uint32_t interest, request_bytes, path_bytes, head_bytes, matched;
    uint64_t asked_ns, body_left;
    bool in_body, closing;
    char request[REQUEST_BYTES_MAX];
    char head[HEAD_BYTES_MAX]; /* of a response whose head came in parts */
};

static struct {
    struct sockaddr_in address;
    const char *target;
    double seconds, warm_up;
    uint64_t seed;
    bool check;
    char fields[REQUEST_BYTES_MAX - PATH_BYTES_MAX - 256];
    struct group groups[GROUPS_MAX];
    uint32_t group_count;
} load = {.seconds = 3, .seed = 1};

static int epoll_descriptor;
static uint64_t heard_ns; /* when the last response ended */

static _Noreturn void fail(const char *what, const char *detail)
{
    fprintf(stderr, "load: %s%s%s\n", what, detail ? ": " : "", detail ? detail : "");
    exit(2);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

static const char GET[] = "GET ";

static bool compose_request(struct connection *c)
{
    char *path = mempcpy(c->request, GET, strlen(GET)), *end = choice_next_path(&c->group->choice, path);
    if (!end) {
        return false;
    }
    c->path_bytes = (uint32_t)(end - path);
    end = mempcpy(end, " HTTP/1.1\r\nHost: ", 17);
    end = mempcpy(end, load.target, strlen(load.target));
    end = mempcpy(end, load.fields, strlen(load.fields));
    if (c->group->close) {
        end = mempcpy(end, "\r\nConnection: close", 19);
    }
    c->request_bytes = (uint32_t)((char *)mempcpy(end, "\r\n\r\n", 4) - c->request);
    return true;
}

/* ---- a connection ----------------------------------------------------------------------------------------------------------------------- */

static void want(struct connection *c, uint32_t interest)
{
    if (c->interest == interest) {
        return;
    }
    struct epoll_event event = {.events = interest, .data.ptr = c};
    epoll_ctl(epoll_descriptor, c->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->descriptor, &event);
    c->interest = interest;
}

static void disconnect(struct connection *c)
{
    if (c->descriptor >= 0) {
        close(c->descriptor);
        c->descriptor = -1;
        c->interest = 0;
    }
}

static void connect_anew(struct connection *c)
{
    disconnect(c);
    int one = 1;
    c->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->descriptor < 0) {
        fail("socket", strerror(errno));
    }
    setsockopt(c->descriptor, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(c->descriptor, (struct sockaddr *)&load.address, sizeof load.address) < 0 && errno != EINPROGRESS) {
        fail("connect", strerror(errno));
    }
}

/* Sends the request at hand. What was not sent is repeated: a request is small enough to go as one. */
static void send_request(struct connection *c)
{
    ssize_t sent = send(c->descriptor, c->request, c->request_bytes, MSG_NOSIGNAL);
    if (sent == (ssize_t)c->request_bytes) {
        want(c, EPOLLIN);
    } else if (sent < 0 && (errno == EAGAIN || errno == ENOTCONN)) {
        want(c, EPOLLOUT);
    } else if (sent < 0) {
        /* Closed between two requests, or refused: once more after a new connection, when the descriptor tells. */
        c->group->refused++;
        connect_anew(c);
        want(c, EPOLLOUT);
    } else {
        fail("a request went out in parts", NULL);
    }
}

static void ask(struct connection *c, uint64_t now)
{
    c->head_bytes = c->matched = 0;
    c->in_body = c->closing = false;
    if (!compose_request(c)) {
        disconnect(c);
        c->group->active--;
        return;
    }
    c->asked_ns = now;
    if (c->descriptor < 0) {
        connect_anew(c);
    }
    send_request(c);
}

static void give_up_response(struct connection *c, uint64_t now)
{
    c->group->broken++;
    disconnect(c);
    ask(c, now);
}

/* The body must begin with the path; it may be shorter. */
static void check_body(struct connection *c, const char *bytes, size_t count)
{
    if (!load.check || c->matched >= c->path_bytes) {
        return;
    }
    size_t compared = c->path_bytes - c->matched < count ? c->path_bytes - c->matched : count;
    if (memcmp(c->request + strlen(GET) + c->matched, bytes, compared) == 0) {
        c->matched += (uint32_t)compared;
    } else {
        c->group->wrong++;
        c->matched = c->path_bytes;
    }
}

/* Takes what a response's head says. */
static void parse_head(struct connection *c, const char *head, const char *end)
{
    if (memcmp(head, "HTTP/1.", 7) != 0) {
        fail("this is no HTTP", NULL);
    }
    c->group->not_200 += memcmp(head + 9, "200", 3) != 0;
    c->closing = c->group->close;
    bool framed = false;
    for (const char *line = memchr(head, '\n', (size_t)(end - head)); line && line + 2 < end;
         line = memchr(line, '\n', (size_t)(end - line))) {
        line++;
        if ((*line | 0x20) != 'c') {
            continue;
        }
        if (strncasecmp(line, "content-length:", 15) == 0) {
            c->body_left = strtoull(line + 15, NULL, 10);
            framed = true;
        } else if (strncasecmp(line, "connection: close", 17) == 0) {
            c->closing = true;
        }
    }
    if (!framed) {
        fprintf(stderr, "%.*s", (int)(end - head), head);
        fail("a response without Content-Length", NULL);
    }
    c->in_body = true;
}

static void finish_response(struct connection *c, uint64_t now)
{
    heard_ns = now;
    histogram_add(&c->group->latency, now - c->asked_ns);
    if (c->closing) {
        disconnect(c);
    }
    ask(c, now);
}

/* Bytes of a head, and what came with it. True: the head is complete. */
static bool take_head(struct connection *c, const char *bytes, size_t count)
{
    const char *head = bytes;
    if (c->head_bytes > 0) {
        if (c->head_bytes + count > sizeof c->head) {
            fail("a response head is too large", NULL);
        }
        memcpy(c->head + c->head_bytes, bytes, count);
        head = c->head;
        count += c->head_bytes;
    }
    const char *end = memmem(head, count, "\r\n\r\n", 4);
    if (!end) {
        memmove(c->head, head, count);
        c->head_bytes = (uint32_t)count;
        return false;
    }
    end += 4;
    parse_head(c, head, end);
    size_t body = count - (size_t)(end - head);
    if (body > c->body_left) {
        fail("bytes after a response", NULL);
    }
    check_body(c, end, body);
    c->body_left -= body;
    c->group->bytes += body;
    return true;
}

static void receive(struct connection *c, uint64_t now)
{
    static char buffer[HEAD_BYTES_MAX];
    /* Only a body's beginning is looked at: the rest is dropped by the kernel, tcp(7). */
    bool drop = c->in_body && (!load.check || c->matched >= c->path_bytes);
    size_t room = sizeof buffer - c->head_bytes;
    ssize_t got = drop ? recv(c->descriptor, NULL, c->body_left, MSG_TRUNC) : recv(c->descriptor, buffer, room, 0);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        give_up_response(c, now);
        return;
    }
    if (!c->in_body) {
        if (!take_head(c, buffer, (size_t)got)) {
            return;
        }
    } else {
        if ((size_t)got > c->body_left) {
            fail("bytes after a response", NULL);
        }
        if (!drop) {
            check_body(c, buffer, (size_t)got);
        }
        c->body_left -= (size_t)got;
        c->group->bytes += (size_t)got;
    }
    if (c->body_left == 0) {
        finish_response(c, now);
    }
}

/* ---- a run ------------------------------------------------------------------------------------------------------------------------------ */

static void forget_results(struct group *g)
{
    memset(&g->latency, 0, sizeof g->latency);
    g->bytes = g->refused = g->broken = g->wrong = g->not_200 = 0;
}

static void begin(void)
{
    epoll_descriptor = epoll_create1(EPOLL_CLOEXEC);
    for (uint32_t i = 0; i < load.group_count; i++) {
        struct group *g = &load.groups[i];
        struct connection *connections = calloc(g->connections, sizeof *connections);
        if (!connections) {
            fail("no memory for so many connections", NULL);
        }
        const char *wrong = choice_begin(&g->choice, load.seed + i);
        if (wrong) {
            fail(g->name, wrong);
        }
        g->active = g->connections;
        for (uint32_t j = 0; j < g->connections; j++) {
            connections[j].group = g;
            connections[j].descriptor = -1;
            ask(&connections[j], now_ns());
        }
    }
}

static bool anyone_active(void)
{
    for (uint32_t i = 0; i < load.group_count; i++) {
        if (load.groups[i].active > 0) {
            return true;
        }
    }
    return false;
}

/* Runs until `deadline_ns`, or until nobody has anything left to ask. Returns the time at its end. */
static uint64_t run_until(uint64_t deadline_ns)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t now = heard_ns = now_ns();
    while (now < deadline_ns && anyone_active()) {
        int count = epoll_wait(epoll_descriptor, events, EVENTS_MAX, 50);
        now = now_ns();
        if (now > heard_ns + PATIENCE_SECONDS * SECOND_NS) {
            fail("the server does not answer any more", NULL);
        }
        for (int i = 0; i < count; i++) {
            struct connection *c = events[i].data.ptr;
            if (c->interest == EPOLLOUT) {
                send_request(c);
            } else {
                receive(c, i == 0 ? now : now_ns());
            }
        }
    }
    return now;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void report(double seconds, double cpu)
{
    static const struct {
        const char *name;
        double quantile;
    } rows[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    printf("{\"seconds\": %.3f, \"client_cpu_seconds\": %.3f, \"groups\": {", seconds, cpu);
    for (uint32_t i = 0; i < load.group_count; i++) {
        const struct group *g = &load.groups[i];
        const struct histogram *h = &g->latency;
        printf("%s\"%s\": {\"connections\": %u, \"requests\": %lu, \"rate\": %.1f, \"bytes\": %lu, ", i ? ", " : "", g->name,
               g->connections, h->total, (double)h->total / seconds, g->bytes);
        printf("\"not_200\": %lu, \"wrong\": %lu, \"broken\": %lu, \"refused\": %lu, ", g->not_200, g->wrong, g->broken, g->refused);
        printf("\"latency_us\": {\"least\": %.1f, \"mean\": %.1f", (double)h->least / 1000,
               h->total ? (double)h->sum / (double)h->total / 1000 : 0);
        for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
            printf(", \"%s\": %.1f", rows[row].name, (double)histogram_quantile(h, rows[row].quantile) / 1000);
        }
        printf(", \"most\": %.1f}}", (double)h->most / 1000);
    }
    printf("}}\n");
}

/* ---- the command line ------------------------------------------------------------------------------------------------------------------- */

static const char USAGE[] = "load [--seconds S] [--warm-up S] [--seed N] [--header 'NAME: VALUE']… [--check] ADDRESS:PORT GROUP…\n"
                            "GROUP: --group NAME --connections N (--path PATH | --pattern PATH-WITH-%u --objects N | --list FILE) [--order "
                            "once|sequential|uniform|zipf=A] [--close]\n"
                            "Asks until the seconds are over, or each group of order `once` has asked for everything. Prints JSON.\n";

static struct group *add_group(const char *name)
{
    if (load.group_count == GROUPS_MAX) {
        fail("too many groups", name);
    }
    struct group *g = &load.groups[load.group_count++];
    *g = (struct group){.name = name, .connections = 1, .choice.pattern = "/"};
    return g;
}

static void add_field(const char *field)
{
    if (strlen(load.fields) + strlen(field) + 3 > sizeof load.fields) {
        fail("the request's fields are too large", field);
    }
    strcat(strcat(load.fields, "\r\n"), field);
}

/* Those from CONNECTIONS on belong to the group before them. */
enum { SECONDS = 1, WARM_UP, SEED, HEADER, CHECK, GROUP, CONNECTIONS, PATH, OBJECTS, LIST, ORDER, CLOSE };

static const struct option OPTIONS[] = {
    {"group", 1, NULL, GROUP},     {"connections", 1, NULL, CONNECTIONS},
    {"path", 1, NULL, PATH},       {"pattern", 1, NULL, PATH},
    {"objects", 1, NULL, OBJECTS}, {"list", 1, NULL, LIST},
    {"order", 1, NULL, ORDER},     {"close", 0, NULL, CLOSE},
    {"seconds", 1, NULL, SECONDS}, {"warm-up", 1, NULL, WARM_UP},
    {"seed", 1, NULL, SEED},       {"header", 1, NULL, HEADER},
    {"check", 0, NULL, CHECK},     {0},
};

static _Noreturn void explain_usage(void)
{
    fputs(USAGE, stderr);
    exit(2);
}

static void take_option(int option)
{
    struct group *g = load.group_count ? &load.groups[load.group_count - 1] : NULL;
    const char *wrong;
    if (option >= CONNECTIONS && !g) {
        explain_usage();
    }
    switch (option) {
    case GROUP:
        add_group(optarg);
        return;
    case SECONDS:
        load.seconds = atof(optarg);
        return;
    case WARM_UP:
        load.warm_up = atof(optarg);
        return;
    case SEED:
        load.seed = strtoull(optarg, NULL, 10);
        return;
    case HEADER:
        add_field(optarg);
        return;
    case CHECK:
        load.check = true;
        return;
    case CONNECTIONS:
        g->connections = (uint32_t)strtoul(optarg, NULL, 10);
        return;
    case PATH:
        g->choice.pattern = optarg;
        return;
    case OBJECTS:
        g->choice.objects = strtoull(optarg, NULL, 10);
        return;
    case LIST:
        wrong = choice_read_list(&g->choice, optarg);
        if (wrong) {
            fail(optarg, wrong);
        }
        return;
    case ORDER:
        if (!choice_set_order(&g->choice, optarg)) {
            fail("no such order", optarg);
        }
        return;
    case CLOSE:
        g->close = true;
        return;
    }
    explain_usage();
}

static void parse_target(const char *target)
{
    char host[INET_ADDRSTRLEN] = "", *colon = strrchr(target, ':');
    if (!colon || (size_t)(colon - target) >= sizeof host) {
        fail("not ADDRESS:PORT", target);
    }
    memcpy(host, target, (size_t)(colon - target));
    load.target = target;
    load.address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    if (inet_pton(AF_INET, host, &load.address.sin_addr) != 1) {
        fail("not an IPv4 address", host);
    }
}

int main(int argc, char **argv)
{
    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, NULL)) != -1;) {
        take_option(option);
    }
    if (optind + 1 != argc || load.group_count == 0) {
        explain_usage();
    }
    parse_target(argv[optind]);
    begin();
    if (load.warm_up > 0) {
        run_until(now_ns() + (uint64_t)(load.warm_up * 1e9));
        for (uint32_t i = 0; i < load.group_count; i++) {
            forget_results(&load.groups[i]);
        }
    }
    double cpu = cpu_seconds();
    uint64_t began = now_ns(), ended = run_until(load.seconds > 0 ? began + (uint64_t)(load.seconds * 1e9) : UINT64_MAX);
    report((double)(ended - began) / 1e9, cpu_seconds() - cpu);
    return 0;
}
