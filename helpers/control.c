/* Control messages: the wire's encoding in a packet, descriptors beside it. */
#include "helpers/control.h"

#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* A child that does not read (stopped, wedged) costs the supervisor this much per message, never more. */
static const struct timeval SEND_TIMEOUT = {.tv_sec = 1};

enum { WAITS_MAX = 100 };

union descriptors {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int) * MESSAGE_FDS_MAX)];
};

_Static_assert(sizeof(((struct control_message *)0)->buffer) >= WIRE_MESSAGE_MAX, "every message fits");

int control_make(int pair[2])
{
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    if (setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &SEND_TIMEOUT, sizeof(SEND_TIMEOUT)) < 0) {
        int error = errno;
        close(pair[0]);
        close(pair[1]);
        errno = error;
        return -1;
    }
    return 0;
}

/* A user may have so many descriptors on their way as each of his processes may open (unix(7)); all others wait for one that is taken, as they would for
 * room in the socket. False: that has been a second, and errno is as it was. */
static bool wait_for_receivers(unsigned *waits)
{
    static const struct timespec pause = {.tv_nsec = 1000000000 / WAITS_MAX};
    if (++*waits > WAITS_MAX)
        return false;
    nanosleep(&pause, NULL);
    return true;
}

static int send_packet(int socket, enum message_type type, const void *payload, struct bytes tail, const int *fds, unsigned fd_count,
                       int flags)
{
    assert(fd_count == message_fd_count(type) && tail.len <= MESSAGE_TAIL_MAX);
    _Alignas(8) char buffer[WIRE_MESSAGE_MAX];
    union descriptors control = {0};
    struct iovec data = {buffer, wire_size(type, tail.len)};
    struct msghdr packet = {.msg_iov = &data, .msg_iovlen = 1};
    wire_encode(buffer, type, payload, tail);
    if (fd_count) {
        packet.msg_control = &control;
        packet.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(header), fds, sizeof(int) * fd_count);
    }
    unsigned waits = 0;
    while (sendmsg(socket, &packet, MSG_NOSIGNAL | flags) < 0)
        if (errno != EINTR && !(errno == ETOOMANYREFS && wait_for_receivers(&waits)))
            return -1;
    return 0;
}

int control_send(int socket, enum message_type type, const void *payload, struct bytes tail, const int *fds, unsigned fd_count)
{
    return send_packet(socket, type, payload, tail, fds, fd_count, 0);
}

int control_try_send(int socket, enum message_type type, const void *payload, struct bytes tail)
{
    return send_packet(socket, type, payload, tail, NULL, 0, MSG_DONTWAIT);
}

static void send_line(void *context, struct bytes line)
{
    static _Thread_local struct log_quota quota;
    struct message_error_line about = {0};
    unsigned left_out;
    if (!log_may(&quota, clock_wall(), CONTROL_LOG_LINES, &left_out))
        return;
    about.left_out = left_out;
    if (control_try_send((int)(intptr_t)context, MESSAGE_ERROR_LINE, &about, line) < 0) {
        ssize_t ignored = write(STDERR_FILENO, line.at, line.len); /* nowhere to report that this fails, too */
        (void)ignored;
    }
}

void control_log_to(int socket)
{
    log_set_process_sink(send_line, (void *)(intptr_t)socket);
}

static void close_all(struct control_message *message)
{
    for (unsigned i = 0; i < message->fd_count; i++)
        close(message->fds[i]);
    message->fd_count = 0;
}

/* Descriptors are taken before anything else is looked at, so that a bad packet leaks none. */
static void take_descriptors(struct msghdr *packet, struct control_message *message)
{
    for (struct cmsghdr *header = CMSG_FIRSTHDR(packet); header; header = CMSG_NXTHDR(packet, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
            if (message->fd_count < MESSAGE_FDS_MAX)
                message->fds[message->fd_count++] = fd;
            else
                close(fd);
        }
    }
}

/* The packet that was looked at. */
static void drop_packet(int socket)
{
    struct msghdr nothing = {0};
    while (recvmsg(socket, &nothing, MSG_DONTWAIT) < 0 && errno == EINTR) {
    }
}

/* Looked at first, descriptors included, and then taken: those that there is no room for are lost with a packet that is taken at once. */
enum control_event control_receive(int socket, enum role self, enum role peer, bool wait, struct control_message *message)
{
    union descriptors control;
    struct iovec data = {message->buffer, sizeof(message->buffer)};
    struct msghdr packet = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t received;
    size_t used;
    message->fd_count = 0;
    do
        received = recvmsg(socket, &packet, MSG_PEEK | MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    while (received < 0 && errno == EINTR);
    if (received < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? CONTROL_AGAIN : CONTROL_CLOSED;
    take_descriptors(&packet, message);
    if ((packet.msg_flags & MSG_CTRUNC) && message->fd_count < MESSAGE_FDS_MAX) {
        close_all(message);
        return CONTROL_NO_DESCRIPTORS;
    }
    drop_packet(socket);
    if (received == 0 || (packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ||
        !wire_decode(bytes_from(message->buffer, received), peer, self, message->fd_count, &message->message, &used) ||
        used != (size_t)received) {
        close_all(message);
        return CONTROL_CLOSED;
    }
    return CONTROL_MESSAGE;
}
