#include "helpers/control.h"

#include "base/log.h"
#include "tests/unit/descriptors.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static struct control_message message;

static void make(int pair[2])
{
    cr_assert_eq(control_make(pair), 0);
}

/* Descriptors open in this process: what leaks. */
static unsigned count_descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

Test(control, a_message_arrives_with_its_tail)
{
    int pair[2];
    struct message_roots roots = {.count = 2};
    make(pair);
    cr_assert_eq(control_send(pair[0], MESSAGE_ROOTS, &roots, bytes_from("/a\0/b", 6), NULL, 0), 0);
    cr_assert_eq(control_receive(pair[1], ROLE_DISK, ROLE_SUPERVISOR, true, &message), CONTROL_MESSAGE);
    cr_assert_eq(message.message.type, MESSAGE_ROOTS);
    cr_assert_eq(((const struct message_roots *)message.message.payload)->count, 2);
    cr_assert(bytes_equal(message.message.tail, bytes_from("/a\0/b", 6)));
    cr_assert_eq(message.fd_count, 0);
}

Test(control, descriptors_arrive_and_are_the_receivers)
{
    int pair[2], ends[2];
    char byte = 0;
    struct message_log_file file = {.kind = LOG_KIND_ACCESS};
    make(pair);
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(control_send(pair[0], MESSAGE_LOG_FILE, &file, BYTES("/var/log/x"), &ends[1], 1), 0);
    close(ends[1]);
    cr_assert_eq(control_receive(pair[1], ROLE_LOG, ROLE_SUPERVISOR, true, &message), CONTROL_MESSAGE);
    cr_assert_eq(message.fd_count, 1);
    cr_assert(fcntl(message.fds[0], F_GETFD) & FD_CLOEXEC);
    cr_assert_eq(write(message.fds[0], "x", 1), 1);
    close(message.fds[0]);
    cr_assert_eq(read(ends[0], &byte, 1), 1);
    cr_assert_eq(byte, 'x');
    cr_assert_eq(read(ends[0], &byte, 1), 0, "no other copy is left");
}

Test(control, two_descriptors_keep_their_order)
{
    int pair[2], first[2], second[2];
    char byte;
    struct message_channel about = {.role = ROLE_PROXY};
    make(pair);
    cr_assert_eq(pipe(first), 0);
    cr_assert_eq(pipe(second), 0);
    cr_assert_eq(control_send(pair[0], MESSAGE_CHANNEL, &about, BYTES_NONE, (int[]){first[1], second[1]}, 2), 0);
    cr_assert_eq(control_receive(pair[1], ROLE_RESOLVER, ROLE_SUPERVISOR, true, &message), CONTROL_MESSAGE);
    cr_assert_eq(write(message.fds[0], "1", 1), 1);
    cr_assert_eq(write(message.fds[1], "2", 1), 1);
    cr_assert_eq(read(first[0], &byte, 1), 1);
    cr_assert_eq(byte, '1');
    cr_assert_eq(read(second[0], &byte, 1), 1);
    cr_assert_eq(byte, '2');
}

Test(control, an_empty_socket_says_again_and_a_closed_one_closed)
{
    int pair[2];
    make(pair);
    cr_assert_eq(control_receive(pair[1], ROLE_DISK, ROLE_SUPERVISOR, false, &message), CONTROL_AGAIN);
    close(pair[0]);
    cr_assert_eq(control_receive(pair[1], ROLE_DISK, ROLE_SUPERVISOR, false, &message), CONTROL_CLOSED);
    cr_assert_eq(control_receive(pair[1], ROLE_DISK, ROLE_SUPERVISOR, true, &message), CONTROL_CLOSED);
    struct message_empty nothing = {0};
    cr_assert_eq(control_send(pair[1], MESSAGE_READY, &nothing, BYTES_NONE, NULL, 0), -1, "and no SIGPIPE");
}

Test(control, a_packet_waits_until_there_is_room_for_its_descriptors)
{
    int pair[2];
    rlim_t before;
    struct message_channel about = {.role = ROLE_PROXY, .generation = 7};
    struct message_empty nothing = {0};
    make(pair);
    cr_assert_eq(control_send(pair[0], MESSAGE_CHANNEL, &about, BYTES_NONE, (int[]){STDIN_FILENO, STDOUT_FILENO}, 2), 0);
    cr_assert_eq(control_send(pair[0], MESSAGE_STOP, &nothing, BYTES_NONE, NULL, 0), 0);
    unsigned open_before = count_descriptors();
    for (int room = 0; room < 2; room++) {
        leave_descriptors(room, &before);
        cr_assert_eq(control_receive(pair[1], ROLE_PROXY, ROLE_SUPERVISOR, room == 0, &message), CONTROL_NO_DESCRIPTORS);
        cr_assert_eq(message.fd_count, 0);
        give_descriptors_back(before);
        cr_assert_eq(count_descriptors(), open_before);
    }
    leave_descriptors(2, &before);
    cr_assert_eq(control_receive(pair[1], ROLE_PROXY, ROLE_SUPERVISOR, true, &message), CONTROL_MESSAGE);
    give_descriptors_back(before);
    cr_assert_eq(message.fd_count, 2);
    cr_assert_eq(((const struct message_channel *)message.message.payload)->generation, 7);
    cr_assert_eq(count_descriptors(), open_before + 2, "and each is there once");
    cr_assert_eq(control_receive(pair[1], ROLE_PROXY, ROLE_SUPERVISOR, false, &message), CONTROL_MESSAGE);
    cr_assert_eq(message.message.type, MESSAGE_STOP);
    cr_assert_eq(control_receive(pair[1], ROLE_PROXY, ROLE_SUPERVISOR, false, &message), CONTROL_AGAIN);
}

static int crowded[2];

/* Everything that is on its way. */
static void take_all(int number)
{
    (void)number;
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * 8)];
    } control;
    char byte;
    struct iovec data = {&byte, 1};
    for (;;) {
        struct msghdr packet = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        if (recvmsg(crowded[1], &packet, MSG_DONTWAIT) <= 0)
            return;
        for (size_t at = CMSG_LEN(0); packet.msg_controllen > 0 && at < control.header.cmsg_len; at += sizeof(int)) {
            int fd;
            memcpy(&fd, (char *)&control + at, sizeof fd);
            close(fd);
        }
    }
}

/* A user without privileges, who has as many descriptors on their way as he may; they are taken in a moment if `are_taken`. Never returns. */
static void send_in_a_crowd(bool are_taken)
{
    struct message_channel about = {.role = ROLE_PROXY};
    struct rlimit files = {32, 32};
    struct itimerval moment = {.it_value = {.tv_usec = 50000}};
    int fds[] = {STDIN_FILENO, STDOUT_FILENO}, pair[2], size = 1 << 20, sent = 0;
    bool was_privileged = setgroups(0, NULL) == 0 && setresgid(64123, 64123, 64123) == 0 && setresuid(64123, 64123, 64123) == 0;
    (void)was_privileged; /* else the limit is ours as it is */
    if (setrlimit(RLIMIT_NOFILE, &files) < 0 || control_make(pair) < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET, 0, crowded) < 0)
        _exit(11);
    setsockopt(crowded[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    while (sent < 1000 && control_send(crowded[0], MESSAGE_CHANNEL, &about, BYTES_NONE, fds, 2) == 0)
        sent++;
    if (sent == 1000 || errno != ETOOMANYREFS)
        _exit(12);
    signal(SIGALRM, take_all);
    if (are_taken)
        setitimer(ITIMER_REAL, &moment, NULL);
    bool is_sent = control_send(pair[0], MESSAGE_CHANNEL, &about, BYTES_NONE, fds, 2) == 0;
    _exit(is_sent ? 0 : errno == ETOOMANYREFS ? 1 : 13);
}

static int exit_of_crowd(bool are_taken)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        send_in_a_crowd(are_taken);
    cr_assert_eq(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Test(control, too_many_descriptors_on_their_way_are_waited_for_but_not_for_ever, .timeout = 30)
{
    cr_assert_eq(exit_of_crowd(true), 0);
    cr_assert_eq(exit_of_crowd(false), 1);
}

/* Sends what control_send would refuse, with `fd_count` descriptors attached. */
static void send_raw(int socket, const void *at, size_t len, unsigned fd_count)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int) * 8)];
    } control = {0};
    struct iovec data = {(void *)at, len};
    struct msghdr packet = {.msg_iov = &data, .msg_iovlen = 1};
    if (fd_count) {
        packet.msg_control = &control;
        packet.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        *CMSG_FIRSTHDR(&packet) =
            (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int) * fd_count)};
        memset(CMSG_DATA(CMSG_FIRSTHDR(&packet)), 0, sizeof(int) * fd_count); /* stdin, several times */
    }
    cr_assert_eq(sendmsg(socket, &packet, 0), (ssize_t)len);
}

static void expect_refusal(const void *at, size_t len, unsigned fd_count, enum role self, const char *why)
{
    int pair[2];
    make(pair);
    unsigned before = count_descriptors();
    send_raw(pair[0], at, len, fd_count);
    cr_assert_eq(control_receive(pair[1], self, ROLE_SUPERVISOR, true, &message), CONTROL_CLOSED, "%s", why);
    cr_assert_eq(message.fd_count, 0, "%s", why);
    cr_assert_eq(count_descriptors(), before, "%s: a descriptor leaked", why);
    close(pair[0]);
    close(pair[1]);
}

Test(control, a_packet_that_breaks_a_rule_closes_and_leaks_nothing)
{
    static _Alignas(8) char packet[16384];
    struct message_log_file file = {0};
    size_t size = wire_size(MESSAGE_LOG_FILE, 3);
    wire_encode(packet, MESSAGE_LOG_FILE, &file, BYTES("log"));
    expect_refusal(packet, size, 0, ROLE_LOG, "descriptor missing");
    expect_refusal(packet, size, 2, ROLE_LOG, "a descriptor too many");
    expect_refusal(packet, size, 5, ROLE_LOG, "more descriptors than any message has");
    expect_refusal(packet, size, 1, ROLE_DISK, "for another role");
    expect_refusal(packet, size - 8, 1, ROLE_LOG, "cut short");
    expect_refusal(packet, size + 8, 1, ROLE_LOG, "bytes behind the message");
    expect_refusal(packet, sizeof(packet), 1, ROLE_LOG, "far too long");
    expect_refusal("x", 1, 1, ROLE_LOG, "half a header");
    struct message_empty nothing = {0};
    wire_encode(packet, MESSAGE_READY, &nothing, BYTES_NONE);
    expect_refusal(packet, wire_size(MESSAGE_READY, 0), 0, ROLE_PROXY, "wrong direction");
}

Test(control, a_child_that_does_not_read_holds_the_supervisor_for_a_second_only, .timeout = 30)
{
    int pair[2];
    struct message_empty nothing = {0};
    struct timeval timeout;
    socklen_t len = sizeof(timeout);
    make(pair);
    cr_assert_eq(getsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &timeout, &len), 0);
    cr_assert_eq(timeout.tv_sec, 1);
    int result = 0;
    for (int i = 0; i < 100000 && result == 0; i++)
        result = control_send(pair[0], MESSAGE_DRAIN, &nothing, BYTES_NONE, NULL, 0);
    cr_assert_eq(result, -1);
}

/* ---- error lines ---------------------------------------------------------------------------------------------------------------------------- */

static bool receive_line(int socket, unsigned *left_out)
{
    if (control_receive(socket, ROLE_SUPERVISOR, ROLE_DISK, false, &message) != CONTROL_MESSAGE)
        return false;
    cr_assert_eq(message.message.type, MESSAGE_ERROR_LINE);
    *left_out = ((const struct message_error_line *)message.message.payload)->left_out;
    return true;
}

static bool line_says(const char *text)
{
    struct bytes line = message.message.tail;
    return line.len > 0 && line.at[line.len - 1] == '\n' && memmem(line.at, line.len, text, strlen(text));
}

Test(control, a_childs_error_lines_and_those_of_its_signal_handlers_reach_the_supervisor)
{
    int pair[2];
    unsigned left_out;
    make(pair);
    log_init("disk", LOG_LEVEL_INFO);
    control_log_to(pair[1]);
    log_error("area", "the %dst", 1);
    log_debug("area", "not wanted");
    log_write_from_handler(LOG_LEVEL_WARN, "sandbox", "the 2nd");
    cr_assert(receive_line(pair[0], &left_out));
    cr_expect(left_out == 0 && line_says(" error disk[") && line_says("] area: the 1st\n"));
    cr_assert(receive_line(pair[0], &left_out));
    cr_expect(left_out == 0 && line_says(" warn disk[") && line_says("] sandbox: the 2nd\n"));
    cr_assert_not(receive_line(pair[0], &left_out));
}

/* In one second: a clock that ticks meanwhile asks for another try. */
Test(control, a_child_that_logs_without_end_is_cut_short_and_says_by_how_much)
{
    enum { LINES = CONTROL_LOG_LINES + 7 };
    int pair[2];
    unsigned got, left_out, total;
    struct wall_seconds before;
    make(pair);
    control_log_to(pair[1]);
    do {
        before = clock_wall();
        while (clock_wall().s == before.s)
            continue;
        before = clock_wall();
        while (receive_line(pair[0], &left_out))
            continue;
        for (unsigned i = 0; i < LINES; i++)
            log_error("area", "line %u", i);
    } while (clock_wall().s != before.s);
    for (got = 0, total = 0; receive_line(pair[0], &left_out); got++)
        total += got == 0 ? 0 : left_out; /* the first may speak of an earlier try */
    cr_assert_eq(got, CONTROL_LOG_LINES);
    cr_assert_eq(total, 0);
    while (clock_wall().s == before.s)
        continue;
    log_error("area", "afterwards");
    cr_assert(receive_line(pair[0], &left_out));
    cr_assert_eq(left_out, LINES - CONTROL_LOG_LINES);
}

Test(control, lines_that_the_supervisor_does_not_take_go_to_stderr_and_nobody_waits, .timeout = 30)
{
    int pair[2], ends[2], size = 1;
    char seen[4096 + 1];
    struct message_empty nothing = {0};
    make(pair);
    cr_assert_eq(pipe(ends), 0);
    cr_assert_eq(setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
    while (send(pair[1], &nothing, sizeof nothing, MSG_DONTWAIT) > 0)
        continue;
    int saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    control_log_to(pair[1]);
    log_error("area", "no room");
    close(pair[0]);
    log_error("area", "nobody there");
    dup2(saved, STDERR_FILENO);
    ssize_t len = read(ends[0], seen, sizeof seen - 1);
    cr_assert_gt(len, 0);
    seen[len] = '\0';
    cr_expect(strstr(seen, "area: no room\n") && strstr(seen, "area: nobody there\n"), "%s", seen);
}
