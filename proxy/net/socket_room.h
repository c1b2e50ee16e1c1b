/* How much more a stream socket takes. */
#ifndef NET_SOCKET_ROOM_H
#define NET_SOCKET_ROOM_H

#include <stddef.h>

struct socket_room {
    size_t free;   /* bytes that a send(2) would find room for now, the kernel's own overhead reckoned in; it may take less when it is short of memory */
    size_t queued; /* that it has, with that overhead, and the peer has not taken */
};

/* Of a socket that does not say: {SIZE_MAX, 0}. */
struct socket_room socket_room(int fd);

#endif
