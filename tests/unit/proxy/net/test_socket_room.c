/* What a socket has room for, and what a TLS connection keeps of a response whose client does not read. */
#include "proxy/net/socket_room.h"
#include "proxy/net/tls_loop.h"

#include "tests/unit/proxy/net/tls_peer.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/sockios.h>

enum {
    RESPONSE_BYTES = 24 * 1000 * 1000,
    KEPT_MAX_BYTES = 4096,
    BOUNDED_BYTES = SOCKET_UNSENT_MAX_BYTES + 128 * 1024, /* what can be sent at once is little here; packets are 64 KiB at most */
};

static int ours, theirs;

static void connect_both(bool is_bounded)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    static const int little = 4096;
    int listening = socket(AF_INET, SOCK_STREAM, 0), failed = bind(listening, (struct sockaddr *)&address, sizeof(address));
    cr_assert(!failed && listen(listening, 1) == 0 && getsockname(listening, (struct sockaddr *)&address, &length) == 0);
    if (is_bounded)
        socket_bound_unsent(listening);
    theirs = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(theirs, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little));
    failed = connect(theirs, (struct sockaddr *)&address, sizeof(address));
    cr_assert(!failed);
    ours = accept(listening, NULL, NULL);
    fcntl(ours, F_SETFL, O_NONBLOCK);
    close(listening);
}

static size_t queued_in_kernel(void)
{
    int bytes = 0;
    ioctl(ours, SIOCOUTQ, &bytes);
    return (size_t)bytes;
}

Test(socket_room, it_shrinks_by_what_is_sent_and_is_nothing_in_the_end)
{
    static char some[10000];
    connect_both(false);
    struct socket_room before = socket_room(ours);
    cr_assert(before.free > sizeof(some) && before.free < SIZE_MAX && before.queued == 0, "%zu", before.free);
    while (send(ours, some, sizeof(some), MSG_NOSIGNAL) > 0)
        ;
    struct socket_room after = socket_room(ours);
    cr_expect(after.free < sizeof(some) && after.queued > before.free, "%zu %zu", after.free, after.queued);
    close(ours);
    close(theirs);
}

Test(socket_room, what_is_unsent_is_bounded_and_there_is_room_for_what_it_says)
{
    static char large[16 << 20];
    connect_both(true);
    size_t room, queued = 0;
    while ((room = socket_room(ours).free) > 0) {
        ssize_t sent = send(ours, large, room, MSG_NOSIGNAL);
        cr_assert_eq(sent, (ssize_t)room);
        queued += room;
    }
    cr_expect(queued >= SOCKET_UNSENT_MAX_BYTES, "%zu", queued);
    send(ours, large, sizeof(large), MSG_NOSIGNAL);
    cr_expect(queued_in_kernel() < BOUNDED_BYTES, "%zu", queued_in_kernel());
    close(ours);
    close(theirs);
}

Test(socket_room, it_does_not_say_of_what_is_no_socket)
{
    int pipes[2], failed = pipe(pipes);
    cr_assert(!failed);
    cr_expect_eq(socket_room(pipes[0]).free, SIZE_MAX);
}

/* ---- TLS -------------------------------------------------------------------------------------------------------------------------------- */

static struct loop *loop;
static struct connection *connection;
static bool may_leave;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told = PTHREAD_COND_INITIALIZER;

static void *shake_and_wait(void *context)
{
    SSL_CTX *made = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(made);
    (void)context;
    SSL_set_fd(ssl, theirs);
    cr_expect(SSL_connect(ssl) == 1);
    pthread_mutex_lock(&lock);
    while (!may_leave)
        pthread_cond_wait(&told, &lock);
    pthread_mutex_unlock(&lock);
    close(theirs);
    SSL_free(ssl);
    SSL_CTX_free(made);
    return NULL;
}

static void on_connected(void *owner, enum error error)
{
    (void)owner;
    cr_assert_eq(error, ERROR_OK);
    loop_stop(loop);
}

static void nothing(void *owner)
{
    (void)owner;
}

static const struct connection_events events = {.readable = nothing, .writable = nothing, .connected = on_connected};

static void leave(pthread_t thread)
{
    pthread_mutex_lock(&lock);
    may_leave = true;
    pthread_cond_signal(&told);
    pthread_mutex_unlock(&lock);
    pthread_join(thread, NULL);
}

static void write_to_who_does_not_read(bool is_bounded)
{
    struct pair pair = pair_make("EC", "www.example.org", NULL), other = pair_make("EC", "other.example", NULL);
    struct tls_site_settings sites[2];
    struct tls_certificate_settings certificates[2];
    struct tls_server_settings settings = settings_of_two(sites, certificates, &pair, &other);
    struct tls_tickets *tickets = tls_tickets_new();
    pthread_t thread;
    char *response = calloc(1, RESPONSE_BYTES);
    size_t written = 0, most = 0;
    ssize_t taken;
    signal(SIGPIPE, SIG_IGN);
    connect_both(is_bounded);
    settings.tickets = tickets;
    loop = loop_new(0);
    struct tls_server *server = tls_server_new(&settings, note_report, NULL);
    connection = connection_adopt(loop, ours, &events, NULL);
    bool started = connection_start_tls(connection, server, false, BYTES_NONE);
    cr_assert(started);
    pthread_create(&thread, NULL, shake_and_wait, NULL);
    loop_run(loop);
    do {
        const struct iovec iov = {response + written, RESPONSE_BYTES - written};
        taken = connection_writev(connection, &iov, 1);
        written += taken > 0 ? (size_t)taken : 0;
        size_t queued = queued_in_kernel(), kept = connection_queued_bytes(connection) - queued_in_kernel();
        if (queued >= queued_in_kernel() && kept > most) /* nothing left in between */
            most = kept;
    } while (taken > 0 && written < RESPONSE_BYTES);
    cr_expect_eq(taken, CONNECTION_AGAIN);
    cr_expect(most <= KEPT_MAX_BYTES, "%zu", most);
    cr_expect(!is_bounded || queued_in_kernel() < BOUNDED_BYTES, "%zu", queued_in_kernel());
    cr_expect(!is_bounded || !tls_loop_of(loop)->was_scarce);
    leave(thread);
    connection_reset(&connection);
    loop_free(&loop);
    tls_server_unref(&server);
    tls_tickets_unref(&tickets);
    pair_free(&pair);
    pair_free(&other);
    free(response);
}

Test(socket_room, little_is_sealed_ahead_for_a_client_that_does_not_read, .timeout = 60)
{
    write_to_who_does_not_read(false);
}

Test(socket_room, that_the_kernel_is_full_is_no_scarcity_of_memory, .timeout = 60)
{
    write_to_who_does_not_read(true);
}
