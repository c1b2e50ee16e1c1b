/* Clients, and their origin, that leave a small cache no rest: hits beside evictions, purges, aborted and slow readers and pipelines, every byte checked.
 *
 *     hammer origin PORT
 *     hammer load PORT REQUESTS THREADS KEYS SEED
 *
 * A body is known from its key and the place in it alone, so that a byte of another response, or of another place, is seen for what it is. Blocking sockets, a
 * thread a connection. What the clients do follows from the seed; how it meets in the server does not. `load` prints what was done; it exits with 1 on the
 * first wrong byte, and says which. A kept connection that ends between two responses, as at a reload, is opened again. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { HEAD_MAX = 8192, PIECE = 65536, DEPTH = 8, SLOW_BUFFER = 4096, PATIENCE_SECONDS = 120 };

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(2);
}

static uint64_t mixed(uint64_t x)
{
    x = (x ^ x >> 31) * 0x7fb5d329728ea185;
    x = (x ^ x >> 27) * 0x81dadef4bc2dd44d;
    return x ^ x >> 33;
}

/* Sizes around every border: of a chunk, of a page, of both with a head beside them. */
static uint32_t size_of(uint32_t key)
{
    static const uint32_t sizes[] = {0,     1,     100,   700,   1024,  3000,   9000,   15900, 16384,
                                     20000, 40000, 61000, 65536, 65537, 100000, 180000, 300000};
    return sizes[mixed(key) % (sizeof sizes / sizeof *sizes)];
}

static void pattern(uint32_t key, uint32_t from, char *out, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes;) {
        uint64_t word = mixed((uint64_t)key << 32 | (from + i) / 8);
        uint32_t skip = (from + i) % 8, here = 8 - skip < bytes - i ? 8 - skip : bytes - i;
        memcpy(out + i, (char *)&word + skip, here);
        i += here;
    }
}

static void send_all(int fd, const char *at, size_t bytes)
{
    while (bytes > 0) {
        ssize_t sent = send(fd, at, bytes, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* reading will tell */
        at += sent;
        bytes -= (size_t)sent;
    }
}

static struct sockaddr_in local(const char *port)
{
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

/* ---- the origin ------------------------------------------------------------------------------------------------------------------------- */

/* Every fifth key has a body of unknown length. */
static void answer(int fd, uint32_t key)
{
    char head[256], *body = malloc(PIECE + 32);
    uint32_t size = size_of(key);
    bool chunked = key % 5 == 0;
    int length = chunked
                     ? snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nTransfer-Encoding: chunked\r\n\r\n")
                     : snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nCache-Control: max-age=3600\r\nContent-Length: %u\r\n\r\n", size);
    send_all(fd, head, (size_t)length);
    for (uint32_t at = 0, here; at < size; at += here) {
        here = size - at < PIECE ? size - at : PIECE;
        int line = chunked ? sprintf(body, "%x\r\n", here) : 0;
        pattern(key, at, body + line, here);
        memcpy(body + line + here, "\r\n", 2);
        send_all(fd, body, (size_t)line + here + (chunked ? 2 : 0));
    }
    if (chunked)
        send_all(fd, "0\r\n\r\n", 5);
    free(body);
}

static void *serve(void *of)
{
    int fd = (int)(intptr_t)of;
    char head[HEAD_MAX];
    size_t held = 0;
    for (ssize_t got; (got = recv(fd, head + held, sizeof head - 1 - held, 0)) > 0;) {
        held += (size_t)got;
        head[held] = '\0';
        unsigned key;
        if (!strstr(head, "\r\n\r\n"))
            continue;
        if (sscanf(head, "GET /%u ", &key) != 1)
            break;
        answer(fd, key);
        held = 0;
    }
    close(fd);
    return NULL;
}

static int run_origin(const char *port)
{
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in address = local(port);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 256) < 0)
        fail("listen");
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        pthread_t thread;
        if (fd < 0)
            fail("accept");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) != 0)
            fail("thread");
        pthread_detach(thread);
    }
}

/* ---- clients ---------------------------------------------------------------------------------------------------------------------------- */

static struct {
    struct sockaddr_in address;
    uint32_t keys;
    _Atomic int64_t left;
    _Atomic uint64_t answers, purges, hits, aborted, reopened, bytes;
} load;

struct client {
    int fd; /* -1: none */
    uint64_t random;
    char input[PIECE];
    size_t at, held;
};

static uint32_t drawn(struct client *client, uint32_t below)
{
    return (uint32_t)((mixed(++client->random) >> 32) * below >> 32);
}

/* A few keys are asked for most of the time, all of them now and then. */
static uint32_t draw_key(struct client *client)
{
    uint32_t range = load.keys >> drawn(client, 8);
    return drawn(client, range ? range : 1);
}

static void disconnect(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    client->at = client->held = 0;
}

static void connect_if_needed(struct client *client)
{
    struct timeval patience = {.tv_sec = PATIENCE_SECONDS};
    int one = 1, small = SLOW_BUFFER;
    if (client->fd >= 0)
        return;
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (drawn(client, 4) == 0) /* a slow one: what it is sent stays in the server's hands for long */
        setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(client->fd, (struct sockaddr *)&load.address, sizeof load.address) < 0)
        fail("connect");
}

/* False: the connection ended. */
static bool more(struct client *client)
{
    if (client->at == client->held)
        client->at = client->held = 0;
    if (client->held == sizeof client->input)
        return false;
    ssize_t got = recv(client->fd, client->input + client->held, sizeof client->input - client->held, 0);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        fprintf(stderr, "hammer: no answer for %d s\n", PATIENCE_SECONDS);
        exit(1);
    }
    if (got > 0)
        client->held += (size_t)got;
    return got > 0;
}

/* The head's text, or NULL when the connection ended before its first byte. */
static char *read_head(struct client *client, char head[HEAD_MAX])
{
    size_t bytes = 0;
    while (bytes < 4 || memcmp(head + bytes - 4, "\r\n\r\n", 4) != 0) {
        if (client->at == client->held && !more(client)) {
            if (bytes == 0)
                return NULL;
            fprintf(stderr, "hammer: a head was cut short\n");
            exit(1);
        }
        if (bytes == HEAD_MAX - 1)
            exit(1);
        head[bytes++] = client->input[client->at++];
    }
    head[bytes] = '\0';
    return head;
}

static void check(uint32_t key, uint32_t from, const char *got, uint32_t bytes)
{
    static _Thread_local char expected[PIECE];
    pattern(key, from, expected, bytes);
    if (memcmp(got, expected, bytes) == 0)
        return;
    uint32_t i = 0;
    while (got[i] == expected[i])
        i++;
    fprintf(stderr, "hammer: key %u of %u bytes: byte %u is wrong\n", key, size_of(key), from + i);
    exit(1);
}

/* `bytes` of the body from `from` on. */
static void read_body(struct client *client, uint32_t key, uint32_t from, uint32_t bytes)
{
    while (bytes > 0) {
        if (client->at == client->held && !more(client)) {
            fprintf(stderr, "hammer: key %u of %u bytes ends at %u\n", key, size_of(key), from);
            exit(1);
        }
        uint32_t here = client->held - client->at < bytes ? (uint32_t)(client->held - client->at) : bytes;
        check(key, from, client->input + client->at, here);
        client->at += here;
        from += here;
        bytes -= here;
    }
}

static void read_chunks(struct client *client, uint32_t key)
{
    for (uint32_t at = 0, bytes = 1; bytes > 0; at += bytes) {
        char line[16];
        size_t length = 0;
        while (length < 2 || line[length - 1] != '\n') {
            if ((client->at == client->held && !more(client)) || length == sizeof line - 1) {
                fprintf(stderr, "hammer: key %u is no chunked body\n", key);
                exit(1);
            }
            line[length++] = client->input[client->at++];
        }
        line[length] = '\0';
        bytes = (uint32_t)strtoul(line, NULL, 16);
        read_body(client, key, at, bytes);
        for (int i = 0; i < 2; i++, client->at++) {
            if (client->at == client->held && !more(client))
                exit(1);
        }
        if (bytes == 0 && at != size_of(key)) {
            fprintf(stderr, "hammer: key %u of %u bytes has %u\n", key, size_of(key), at);
            exit(1);
        }
    }
}

/* False: it did not come; the connection is closed. */
static bool read_answer(struct client *client, uint32_t key, bool is_purge)
{
    char text[HEAD_MAX], *head = read_head(client, text);
    if (head == NULL) {
        atomic_fetch_add(&load.reopened, 1);
        disconnect(client);
        return false;
    }
    const char *length = strcasestr(head, "\r\nContent-Length: ");
    if (is_purge) {
        for (uint32_t left = length ? (uint32_t)atoi(length + 18) : 0; left > 0; left--, client->at++) {
            if (client->at == client->held && !more(client))
                exit(1);
        }
        atomic_fetch_add(&load.purges, 1);
    } else {
        if (strncmp(head, "HTTP/1.1 200 ", 13) != 0 || (length && (uint32_t)atoi(length + 18) != size_of(key))) {
            fprintf(stderr, "hammer: key %u of %u bytes: %s", key, size_of(key), head);
            exit(1);
        }
        if (length)
            read_body(client, key, 0, size_of(key));
        else
            read_chunks(client, key);
        atomic_fetch_add(&load.answers, 1);
        atomic_fetch_add(&load.hits, strstr(head, "outrigger; hit") != NULL);
        atomic_fetch_add(&load.bytes, size_of(key));
    }
    if (strcasestr(head, "\r\nConnection: close"))
        disconnect(client);
    return true;
}

static void ask(struct client *client, const char *method, const uint32_t *keys, unsigned count)
{
    char request[DEPTH * 64], *at = request;
    connect_if_needed(client);
    for (unsigned i = 0; i < count; i++)
        at += sprintf(at, "%s /%u HTTP/1.1\r\nHost: hammer\r\n\r\n", method, keys[i]);
    send_all(client->fd, request, (size_t)(at - request));
}

static void one(struct client *client)
{
    uint32_t keys[DEPTH], deed = drawn(client, 100);
    unsigned count = deed < 4 ? DEPTH : 1;
    bool is_purge = deed >= 4 && deed < 8;
    for (unsigned i = 0; i < count; i++)
        keys[i] = draw_key(client);
    ask(client, is_purge ? "PURGE" : "GET", keys, count);
    if (deed == 99) { /* goes away in the middle */
        more(client);
        disconnect(client);
        atomic_fetch_add(&load.aborted, 1);
        return;
    }
    for (unsigned i = 0; i < count && client->fd >= 0; i++)
        read_answer(client, keys[i], is_purge);
}

static void *run_client(void *seed)
{
    struct client *client = calloc(1, sizeof *client);
    client->fd = -1;
    client->random = mixed((uint64_t)(intptr_t)seed) << 20;
    while (atomic_fetch_sub(&load.left, 1) > 0)
        one(client);
    disconnect(client);
    free(client);
    return NULL;
}

static int run_load(char **words)
{
    unsigned threads = (unsigned)atoi(words[2]);
    pthread_t *running = calloc(threads, sizeof *running);
    load.address = local(words[0]);
    load.left = atoll(words[1]);
    load.keys = (uint32_t)atoi(words[3]);
    for (unsigned i = 0; i < threads; i++) {
        if (pthread_create(&running[i], NULL, run_client, (void *)(intptr_t)(atoi(words[4]) * 1000 + (int)i)) != 0)
            fail("thread");
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(running[i], NULL);
    printf("{\"answers\": %lu, \"hits\": %lu, \"purges\": %lu, \"aborted\": %lu, \"reopened\": %lu, \"bytes\": %lu}\n",
           (unsigned long)load.answers, (unsigned long)load.hits, (unsigned long)load.purges, (unsigned long)load.aborted,
           (unsigned long)load.reopened, (unsigned long)load.bytes);
    free(running);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "origin") == 0)
        return run_origin(argv[2]);
    if (argc == 7 && strcmp(argv[1], "load") == 0)
        return run_load(argv + 2);
    fprintf(stderr, "usage: hammer origin PORT | hammer load PORT REQUESTS THREADS KEYS SEED\n");
    return 2;
}
