#include "proxy/boot/listening.h"

#include "tests/unit/free_port.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct listening_set none;
static char errors[1024];

static struct config *parse(const char *listen, const char *socket_path)
{
    char yaml[1024];
    snprintf(yaml, sizeof yaml,
             "listen: [%s]\nadmin: {listen: off, socket: %s}\nsites:\n  - hosts: \"*\"\n    origin: http://127.0.0.1:1\n", listen,
             socket_path);
    struct config *config = config_parse(BYTES("test"), bytes_from_string(yaml), stderr);
    cr_assert_not_null(config);
    return config;
}

static bool open_set(struct listening_set *set, struct config *config, const struct listening_set *before,
                     const struct listening_set *inherited)
{
    memset(errors, 0, sizeof errors);
    FILE *stream = fmemopen(errors, sizeof errors - 1, "w");
    bool opened = listening_open(set, config, before, inherited, stream);
    fclose(stream);
    return opened;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static const char *socket_path(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/listening-test-%d.sock", (int)getpid());
    return path;
}

static struct config *parse_socket(void)
{
    char list[64];
    snprintf(list, sizeof list, "127.0.0.1:%u", free_port());
    return parse(list, socket_path());
}

static bool can_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bool connected = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return connected;
}

Test(listening, the_next_set_takes_what_both_have_and_only_the_rest_is_closed)
{
    char list[64];
    unsigned kept = free_port(), gone = free_port();
    struct listening_set first, second;
    snprintf(list, sizeof list, "127.0.0.1:%u, 127.0.0.1:%u", kept, gone);
    struct config *a = parse(list, "off");
    snprintf(list, sizeof list, "127.0.0.1:%u", kept);
    struct config *b = parse(list, "off");
    cr_assert(open_set(&first, a, &none, &none), "%s", errors);
    cr_assert_eq(first.count, 2);
    int kept_fd = first.at[0].fd, gone_fd = first.at[1].fd;
    cr_assert(open_set(&second, b, &first, &none), "%s", errors);
    cr_assert_eq(second.at[0].fd, kept_fd);
    listening_close(&first, &second);
    cr_assert(is_open(kept_fd));
    cr_assert_not(is_open(gone_fd));
    listening_close(&second, NULL);
    cr_assert_not(is_open(kept_fd));
    config_unref(&a);
    config_unref(&b);
}

Test(listening, an_address_in_use_is_told_and_leaves_nothing_open)
{
    char list[64], expected[128];
    unsigned port = free_port();
    struct listening_set first, second;
    snprintf(list, sizeof list, "127.0.0.1:%u", port);
    struct config *a = parse(list, "off");
    snprintf(list, sizeof list, "127.0.0.1:%u, 127.0.0.1:%u", free_port(), port);
    struct config *b = parse(list, "off");
    cr_assert(open_set(&first, a, &none, &none));
    int next = dup(0);
    close(next);
    cr_assert_not(open_set(&second, b, &none, &none));
    snprintf(expected, sizeof expected, "listen 127.0.0.1:%u: Address already in use (another server listens there)\n", port);
    cr_assert_str_eq(errors, expected);
    cr_assert_eq(second.count, 0);
    int after = dup(0);
    cr_assert_eq(after, next, "a descriptor was left open");
    listening_close(&first, NULL);
    config_unref(&a);
    config_unref(&b);
}

Test(listening, a_unix_socket_is_for_owner_and_group_and_its_file_goes_with_it)
{
    struct stat status;
    struct listening_set set;
    struct config *config = parse_socket();
    unlink(socket_path());
    cr_assert(open_set(&set, config, &none, &none), "%s", errors);
    cr_assert_eq(stat(socket_path(), &status), 0);
    cr_assert_eq(status.st_mode & 0777, 0660);
    cr_assert(can_connect(socket_path()));
    listening_close(&set, NULL);
    cr_assert_neq(stat(socket_path(), &status), 0);
    config_unref(&config);
}

Test(listening, a_stale_unix_socket_is_replaced_and_a_live_one_is_not)
{
    struct listening_set set, other;
    struct config *config = parse_socket();
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, socket_path());
    unlink(socket_path());
    int stale = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(bind(stale, (struct sockaddr *)&address, sizeof address), 0);
    close(stale);
    cr_assert(open_set(&set, config, &none, &none), "%s", errors);
    cr_assert_not(open_set(&other, config, &none, &none));
    cr_assert(strstr(errors, "Address already in use"), "%s", errors);
    cr_assert(can_connect(socket_path()));
    listening_close(&set, NULL);
    config_unref(&config);
}

Test(listening, a_file_in_the_way_is_left_alone)
{
    struct listening_set set;
    struct config *config = parse_socket();
    close(open(socket_path(), O_CREAT | O_WRONLY, 0600));
    cr_assert_not(open_set(&set, config, &none, &none));
    cr_assert(strstr(errors, "the file is in the way"), "%s", errors);
    cr_assert_eq(unlink(socket_path()), 0);
    config_unref(&config);
}

/* In the place where a service manager puts it. */
static void pass_socket(unsigned port, const char *name)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((in_port_t)port)};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    char pid[16];
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 1) != 0)
        _exit(100);
    dup2(fd, 3);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_FDNAMES", name, 1);
}

/* The number of the first thing that is not as it should be. In a process of its own, for descriptor 3 is the test framework's. */
static int inherit(unsigned port)
{
    struct listening_set inherited, set;
    char list[64];
    pass_socket(port, "web");
    listening_inherit(&inherited);
    if (inherited.count != 1 || strcmp(inherited.at[0].text, "web") != 0 || getenv("LISTEN_FDS"))
        return 1;
    if (!(fcntl(3, F_GETFD) & FD_CLOEXEC) || !(fcntl(3, F_GETFL) & O_NONBLOCK))
        return 2;
    snprintf(list, sizeof list, "\"0.0.0.0:%u\"", port); /* systemd's ListenStream=PORT listens on [::] for both */
    struct config *config = parse(list, "off");
    if (!open_set(&set, config, &none, &inherited) || set.count != 1 || set.at[0].fd != 3)
        return 3;
    listening_close(&inherited, &set);
    if (!is_open(3))
        return 4;
    listening_close(&set, NULL);
    config_unref(&config);
    return is_open(3) ? 5 : 0;
}

Test(listening, a_socket_of_the_service_manager_replaces_the_configured_one)
{
    unsigned port = free_port();
    int status;
    pid_t child = fork();
    if (child == 0)
        _exit(inherit(port));
    waitpid(child, &status, 0);
    cr_assert(WIFEXITED(status));
    cr_assert_eq(WEXITSTATUS(status), 0, "step %d", WEXITSTATUS(status));
}

Test(listening, sockets_for_another_process_are_not_taken)
{
    struct listening_set inherited;
    setenv("LISTEN_PID", "1", 1);
    setenv("LISTEN_FDS", "1", 1);
    listening_inherit(&inherited);
    cr_assert_eq(inherited.count, 0);
}

static int family_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    return getsockname(fd, (struct sockaddr *)&address, &length) == 0 ? address.ss_family : -1;
}

/* Every-address of IPv4 and of IPv6 are alike only where there is but one of them. */
Test(listening, sockets_go_to_another_binary_each_to_its_address)
{
    struct listening_set set, passed, taken;
    char list[128], byte = 0;
    int pair[2];
    unsigned port = free_port();
    snprintf(list, sizeof list, "\"0.0.0.0:%u\", \"[::]:%u\", 127.0.0.1:%u", port, port, free_port());
    struct config *config = parse(list, socket_path());
    cr_assert(open_set(&set, config, &none, &none), "%s", errors);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    const struct listening_files files = {1, {STDERR_FILENO}};
    struct listening_files came;
    cr_assert(listening_send(pair[0], 'T', &set, &files));
    cr_assert_eq(listening_receive(pair[1], &byte, &passed, &came), 1);
    cr_assert_eq(came.count, 1, "what is no socket");
    close(came.at[0]);
    cr_assert_eq(byte, 'T');
    cr_assert_eq(passed.count, set.count);
    cr_assert_lt(listening_receive(pair[1], &byte, &taken, &came), 0);
    cr_assert_eq(errno, EAGAIN);
    cr_assert(open_set(&taken, config, &none, &passed), "%s", errors);
    cr_expect_eq(family_of(taken.at[0].fd), AF_INET);
    cr_expect_eq(family_of(taken.at[1].fd), AF_INET6);
    cr_expect(fcntl(taken.at[0].fd, F_GETFD) & FD_CLOEXEC);
    listening_close(&passed, &taken);
    for (unsigned i = 0; i < taken.count; i++)
        cr_expect(is_open(taken.at[i].fd), "%u", i);
    cr_expect(can_connect(socket_path()), "its file is still there");
    listening_close(&taken, NULL);
    cr_expect_neq(access(socket_path(), F_OK), 0);
    listening_close(&set, NULL);
    close(pair[0]);
    cr_assert_eq(listening_receive(pair[1], &byte, &passed, &came), 0);
    cr_assert_eq(passed.count, 0);
    config_unref(&config);
}
