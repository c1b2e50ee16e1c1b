/* See socket_room.h. */
#include "proxy/net/socket_room.h"

#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

enum {
    KERNEL_OVERHEAD = 2
}; /* a packet's own cost, in what the kernel counts, may be as much as what it carries: small windows make small ones */

/* What is queued is not all unsent; while it is little, that is not worth a system call. A Unix socket has no bound. */
static size_t room_for_unsent(int fd, size_t queued)
{
    int unsent = (int)queued;
    if (queued > SOCKET_UNSENT_MAX_BYTES / 2 && ioctl(fd, SIOCOUTQNSD, &unsent) != 0)
        return SIZE_MAX;
    return unsent < SOCKET_UNSENT_MAX_BYTES ? SOCKET_UNSENT_MAX_BYTES - (size_t)unsent : 0;
}

struct socket_room socket_room(int fd)
{
    uint32_t memory[SK_MEMINFO_VARS];
    socklen_t length = sizeof(memory);
    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &length) != 0 || length < sizeof(memory))
        return (struct socket_room){SIZE_MAX, 0};
    uint32_t limit = memory[SK_MEMINFO_SNDBUF], queued = memory[SK_MEMINFO_WMEM_QUEUED];
    size_t free = limit > queued ? (limit - queued) / KERNEL_OVERHEAD : 0, unsent = room_for_unsent(fd, queued);
    return (struct socket_room){free < unsent ? free : unsent, queued};
}

void socket_bound_unsent(int fd)
{
    static const int most = SOCKET_UNSENT_MAX_BYTES;
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &most, sizeof(most));
}
