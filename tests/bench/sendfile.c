/* writev or sendfile? CPU time of sending a body from pages of a memory file, as the slab has it, over loopback: the server's thread on core 0, a client that
 * drops what comes on core 1, one response after the other. `writev` gathers the head and 64 KiB pages, `sendfile` sends the head with MSG_MORE and then page
 * by page, `one sendfile` the body in one call, as if it lay in one piece (which pages do not). Bodies are many, so that they are not in the processor's
 * cache, or always the same. The ways take turns; medians.
 *
 *     sendfile [ROUNDS] */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { HEAD = 300, PAGE = 65536, SLAB = 256 << 20, PIECES = 64, ROUNDS_MAX = 31, BYTES_A_ROUND = 100 << 20, WAYS = 3 };

static const char *const ways[WAYS] = {"writev", "sendfile", "one sendfile"};
static int server, client;
static char head[HEAD];

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void pin(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Is told a length, takes so much, and says so. */
static void *take(void *of)
{
    pin(1);
    const int *lengths = of;
    for (size_t length; read(lengths[0], &length, sizeof length) == sizeof length;) {
        for (ssize_t got; length > 0; length -= (size_t)got) {
            if ((got = recv(client, NULL, length, MSG_TRUNC)) <= 0)
                fail("recv");
        }
        if (send(client, "", 1, 0) != 1)
            fail("send");
    }
    return NULL;
}

static void gather(char *body, size_t size)
{
    for (size_t done = 0; done < HEAD + size;) {
        struct iovec iov[PIECES];
        int count = 0;
        size_t at = done;
        if (at < HEAD) {
            iov[count++] = (struct iovec){head + at, HEAD - at};
            at = HEAD;
        }
        for (size_t here; at < HEAD + size && count < PIECES; at += here) {
            size_t left = HEAD + size - at, to_page = PAGE - (at - HEAD) % PAGE;
            here = left < to_page ? left : to_page;
            iov[count++] = (struct iovec){body + at - HEAD, here};
        }
        ssize_t sent = writev(server, iov, count);
        if (sent < 0)
            fail("writev");
        done += (size_t)sent;
    }
}

static void send_pages(int file, size_t from, size_t size, size_t piece)
{
    if (send(server, head, HEAD, MSG_MORE) != HEAD)
        fail("send");
    for (size_t done = 0; done < size;) {
        size_t left = size - done, to_page = piece - done % piece;
        off_t at = (off_t)(from + done);
        ssize_t sent = sendfile(server, file, &at, left < to_page ? left : to_page);
        if (sent <= 0)
            fail("sendfile");
        done += (size_t)sent;
    }
}

static double measure(int way, int file, char *slab, size_t size, size_t objects, int lengths)
{
    size_t stride = (size + PAGE - 1) / PAGE * PAGE, count = BYTES_A_ROUND / (size + 40000), length = HEAD + size;
    double before = cpu_us();
    for (size_t i = 0; i < count; i++) {
        size_t from = i % objects * stride;
        char done;
        if (write(lengths, &length, sizeof length) != sizeof length)
            fail("write");
        if (way == 0)
            gather(slab + from, size);
        else
            send_pages(file, from, size, way == 1 ? PAGE : SIZE_MAX);
        if (recv(server, &done, 1, 0) != 1)
            fail("recv");
    }
    return (cpu_us() - before) / (double)count;
}

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void compare(int file, char *slab, size_t size, size_t objects, unsigned rounds, int lengths)
{
    double took[WAYS][ROUNDS_MAX];
    for (unsigned round = 0; round < rounds; round++) {
        for (int way = 0; way < WAYS; way++)
            took[way][round] = measure(way, file, slab, size, objects, lengths);
    }
    printf("%8zu bytes, %-11s", size, objects == 1 ? "the same" : "many bodies");
    for (int way = 0; way < WAYS; way++) {
        qsort(took[way], rounds, sizeof **took, by_size);
        printf("   %s %7.1f µs", ways[way], took[way][rounds / 2]);
    }
    printf("\n");
    fflush(stdout);
}

static void connect_both(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    client = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, length) < 0 || getsockname(listener, (struct sockaddr *)&address, &length) < 0 ||
        listen(listener, 1) < 0 || connect(client, (struct sockaddr *)&address, length) < 0 || (server = accept(listener, NULL, NULL)) < 0)
        fail("connection");
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {16384, 65536, 102400, 1000000};
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 5;
    int file = memfd_create("sendfile", MFD_CLOEXEC), lengths[2];
    pthread_t thread;
    if (rounds < 1 || rounds > ROUNDS_MAX || file < 0 || ftruncate(file, SLAB) < 0 || pipe(lengths) < 0)
        fail("sendfile");
    char *slab = mmap(NULL, SLAB, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (slab == MAP_FAILED)
        fail("mmap");
    memset(slab, 'x', SLAB);
    connect_both();
    if (pthread_create(&thread, NULL, take, lengths) != 0)
        fail("thread");
    pin(0);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        compare(file, slab, sizes[i], 1, rounds, lengths[1]);
        compare(file, slab, sizes[i], SLAB / (sizes[i] + PAGE), rounds, lengths[1]);
    }
    return 0;
}
