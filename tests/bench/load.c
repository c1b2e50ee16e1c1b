/* A load that costs little: it shall be the server that is measured.
 *
 * DESIGN: one thread, one epoll, connections in groups, each a closed loop: it asks, reads the response to its end, asks again; or, with a rate, an open one
 * (load_pace.c). Groups run side by side in one process, so that a busy group does not keep a slow one from the processor. Which object is asked for next is
 * drawn from the group's generator, which is seeded: two runs ask for the same. One clock reading a response. Latency goes to a histogram whose steps are 1/64
 * of the value.
 *
 * With --check a body must begin with the path asked for, as tests/bench/origin.c answers. */
#include "load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_SECONDS = 60 }; /* without any response: the server hangs */

static const uint64_t SECOND_NS = 1000000000, WAIT_NS = 50000000;

struct load load = {.seconds = 3, .seed = 1};

_Noreturn void fail(const char *what, const char *detail)
{
    fprintf(stderr, "load: %s%s%s\n", what, detail ? ": " : "", detail ? detail : "");
    exit(2);
}

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

void count_response(struct group *g, uint64_t asked_ns, uint64_t now)
{
    load.heard_ns = now;
    histogram_add(&g->latency, now - asked_ns);
}

/* ---- a run ------------------------------------------------------------------------------------------------------------------------------ */

static void forget_results(struct group *g)
{
    memset(&g->latency, 0, sizeof g->latency);
    g->bytes = g->refused = g->broken = g->wrong = g->not_200 = g->handshakes = g->resumed = 0;
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
    struct connection *ready[EVENTS_MAX];
    uint64_t now = load.heard_ns = now_ns();
    while (now < deadline_ns && anyone_active()) {
        uint64_t most = WAIT_NS;
        for (uint32_t i = 0; i < load.group_count; i++) {
            most = pace_wait_ns(&load.groups[i], now_ns(), most);
        }
        int count = link_wait(ready, most);
        now = now_ns();
        if (now > load.heard_ns + PATIENCE_SECONDS * SECOND_NS) {
            fail("the server does not answer any more", NULL);
        }
        for (int i = 0; i < count; i++) {
            (ready[i]->group->streams ? http2_go_on : http1_go_on)(ready[i], i == 0 ? now : now_ns());
        }
        for (uint32_t i = 0; i < load.group_count; i++) {
            pace_ask(&load.groups[i], now_ns());
        }
    }
    return now;
}

/* Connections come in batches: a server's queue of those to be accepted is short. */
enum { BATCH = 128 };
static const uint64_t BATCH_NS = 2000000;

static void begin(void)
{
    link_begin();
    for (uint32_t i = 0; i < load.group_count; i++) {
        struct group *g = &load.groups[i];
        struct connection *connections = calloc(g->connections, sizeof *connections);
        if (!connections) {
            fail("no memory for so many connections", NULL);
        }
        if (g->pace.rate > 0 && g->streams) {
            fail(g->name, "no rate over HTTP/2");
        }
        const char *wrong = choice_begin(&g->choice, load.seed + i);
        if (wrong) {
            fail(g->name, wrong);
        }
        g->active = g->connections;
        for (uint32_t j = 0; j < g->connections; j++) {
            connections[j].group = g;
            connections[j].descriptor = -1;
            (g->streams ? http2_begin : http1_begin)(&connections[j]);
            if (j % BATCH == BATCH - 1) {
                run_until(now_ns() + BATCH_NS);
            }
        }
    }
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* What the watched processes have used, to the nanosecond; of one that has ended, nothing. */
static double watched_seconds(void)
{
    double sum = 0;
    for (uint32_t i = 0; i < load.watched_count; i++) {
        clockid_t clock;
        struct timespec used;
        if (clock_getcpuclockid(load.watched[i], &clock) == 0 && clock_gettime(clock, &used) == 0) {
            sum += (double)used.tv_sec + (double)used.tv_nsec / 1e9;
        }
    }
    return sum;
}

static void report(double seconds, double cpu, double watched)
{
    static const struct {
        const char *name;
        double quantile;
    } rows[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    printf("{\"seconds\": %.3f, \"client_cpu_seconds\": %.3f, \"cpu_seconds\": %.6f, \"groups\": {", seconds, cpu, watched);
    for (uint32_t i = 0; i < load.group_count; i++) {
        const struct group *g = &load.groups[i];
        const struct histogram *h = &g->latency;
        printf("%s\"%s\": {\"connections\": %u, \"requests\": %lu, \"rate\": %.1f, \"bytes\": %lu, ", i ? ", " : "", g->name,
               g->connections, h->total, (double)h->total / seconds, g->bytes);
        printf("\"not_200\": %lu, \"wrong\": %lu, \"broken\": %lu, \"refused\": %lu, ", g->not_200, g->wrong, g->broken, g->refused);
        printf("\"handshakes\": %lu, \"resumed\": %lu, ", g->handshakes, g->resumed);
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

static const char USAGE[] =
    "load [--seconds S] [--warm-up S] [--seed N] [--header 'NAME: VALUE']… [--watch PID]… [--check] [--hold] ADDRESS:PORT GROUP…\n"
    "GROUP: --group NAME --connections N (--path PATH | --pattern PATH-WITH-%u --objects N | --list FILE) [--order "
    "once|sequential|uniform|zipf=A] [--close] [--rate N] [--tls [--resume] [--http2 STREAMS]]\n"
    "Asks until the seconds are over, or each group of order `once` has asked for everything. Prints JSON. With --hold,\n"
    "connections that have nothing left to ask stay until standard input ends. With --rate, so many requests a second, answered\n"
    "or not; their latency counts from when they should have been made.\n";

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
enum {
    SECONDS = 1,
    WARM_UP,
    SEED,
    HEADER,
    WATCH,
    CHECK,
    HOLD,
    GROUP,
    CONNECTIONS,
    PATH,
    OBJECTS,
    LIST,
    ORDER,
    CLOSE,
    RATE,
    TLS,
    RESUME,
    HTTP2
};

static const struct option OPTIONS[] = {
    {"group", 1, NULL, GROUP},     {"connections", 1, NULL, CONNECTIONS},
    {"path", 1, NULL, PATH},       {"pattern", 1, NULL, PATH},
    {"objects", 1, NULL, OBJECTS}, {"list", 1, NULL, LIST},
    {"order", 1, NULL, ORDER},     {"close", 0, NULL, CLOSE},
    {"rate", 1, NULL, RATE},       {"seconds", 1, NULL, SECONDS},
    {"warm-up", 1, NULL, WARM_UP}, {"seed", 1, NULL, SEED},
    {"header", 1, NULL, HEADER},   {"watch", 1, NULL, WATCH},
    {"check", 0, NULL, CHECK},     {"hold", 0, NULL, HOLD},
    {"tls", 0, NULL, TLS},         {"resume", 0, NULL, RESUME},
    {"http2", 1, NULL, HTTP2},     {0},
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
    case WATCH:
        if (load.watched_count == WATCHED_MAX) {
            fail("too many processes to watch", optarg);
        }
        load.watched[load.watched_count++] = atoi(optarg);
        return;
    case CHECK:
        load.check = true;
        return;
    case HOLD:
        load.hold = true;
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
    case RATE:
        g->pace.rate = atof(optarg);
        if (g->pace.rate <= 0) {
            fail("no such rate", optarg);
        }
        return;
    case TLS:
        g->tls = true;
        return;
    case RESUME:
        g->resume = true;
        return;
    case HTTP2:
        g->streams = (uint32_t)strtoul(optarg, NULL, 10);
        if (g->streams == 0 || g->streams > STREAMS_MAX) {
            fail("too many streams, or none", optarg);
        }
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
    double cpu = cpu_seconds(), watched = watched_seconds();
    uint64_t began = now_ns(), ended = run_until(load.seconds > 0 ? began + (uint64_t)(load.seconds * 1e9) : UINT64_MAX);
    watched = watched_seconds() - watched;
    report((double)(ended - began) / 1e9, cpu_seconds() - cpu, watched);
    if (load.hold) {
        fflush(stdout);
        while (getchar() != EOF) {
        }
    }
    return 0;
}
