/* How much more a stream socket takes, and that it does not take megabytes for a client that reads slowly.
 *
 * DESIGN. Left to itself, the kernel lets a socket's buffer grow to megabytes, and takes all of that for whoever asks for something large and reads nothing: in one
 * turn of the loop, during which nobody else is served, and before anything that becomes more urgent. What it has sent and waits to be acknowledged has to be
 * there, for the path's sake; what it has not begun to send has not, beyond what keeps it busy until the loop comes back. So that is bounded, which
 * costs no call for a connection: accepted sockets inherit it. The socket is writable again when less than half of the bound is left. docs/HITPATH.md
 * has the measurements.
 */
#ifndef NET_SOCKET_ROOM_H
#define NET_SOCKET_ROOM_H

#include <stddef.h>

enum { SOCKET_UNSENT_MAX_BYTES = 256 * 1024 };

struct socket_room {
    size_t free;   /* bytes that a send(2) would find room for now, the kernel's own overhead reckoned in; it may take less when it is short of memory */
    size_t queued; /* that it has, with that overhead, and the peer has not taken */
};

/* Of a socket whose unsent bytes are bounded, or of any other, which has more room than that. Of a descriptor that does not say: {SIZE_MAX, 0}. */
struct socket_room socket_room(int fd);

/* The kernel takes no more than SOCKET_UNSENT_MAX_BYTES and a packet, and what can be sent at once, on the connections that this listening socket accepts
 * from now on. Nothing where it is no TCP socket. */
void socket_bound_unsent(int fd);

#endif
