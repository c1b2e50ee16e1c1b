/* See socket_room.h. */
#include "proxy/net/socket_room.h"

#include <linux/sock_diag.h>
#include <stdint.h>
#include <sys/socket.h>

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

enum {
    KERNEL_OVERHEAD = 2
}; /* a packet's own cost, in what the kernel counts, may be as much as what it carries: small windows make small ones */

struct socket_room socket_room(int fd)
{
    uint32_t memory[SK_MEMINFO_VARS];
    socklen_t length = sizeof(memory);
    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &length) != 0 || length < sizeof(memory))
        return (struct socket_room){SIZE_MAX, 0};
    uint32_t limit = memory[SK_MEMINFO_SNDBUF], queued = memory[SK_MEMINFO_WMEM_QUEUED];
    return (struct socket_room){limit > queued ? (limit - queued) / KERNEL_OVERHEAD : 0, queued};
}
