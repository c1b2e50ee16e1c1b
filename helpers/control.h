/* The control socket between the supervisor and each process it started: SOCK_SEQPACKET, one message a packet, descriptors attached. Rare traffic. */
#ifndef HELPERS_CONTROL_H
#define HELPERS_CONTROL_H

#include "helpers/wire.h"

struct control_message {
    struct message message; /* borrowed from `buffer` */
    int            fds[MESSAGE_FDS_MAX];
    unsigned       fd_count; /* the receiver owns them */
    _Alignas(8) char buffer[16384];
};

/* −1 with errno. Both ends close-on-exec and blocking. */
int control_make(int pair[2]);

/* Descriptors are borrowed (the kernel duplicates them). Blocks when the peer does not read; the supervisor's end has a send timeout of 1 s, which is also how
 * long too many descriptors on their way are waited for (ETOOMANYREFS). −1 with errno. */
int control_send(int socket, enum message_type type, const void *payload, struct bytes tail, const int *fds, unsigned fd_count);

/* Likewise, without descriptors, and never waits. */
int control_try_send(int socket, enum message_type type, const void *payload, struct bytes tail);

/* In a child: error lines that no thread's sink takes, and those of signal handlers, go to the supervisor at the other end of `socket`, which writes them where
 * error_log says; to stderr when it does not take them. Never waits. At most CONTROL_LOG_LINES a second of a thread. */
void control_log_to(int socket);

enum { CONTROL_LOG_LINES = 20 };

enum control_event { CONTROL_MESSAGE, CONTROL_AGAIN, CONTROL_NO_DESCRIPTORS, CONTROL_CLOSED };

/* CONTROL_AGAIN only on a non-blocking read (`wait` false). A packet that breaks a rule counts as CONTROL_CLOSED. CONTROL_NO_DESCRIPTORS: this process may not
 * open as many as the next packet has; the packet stays, to be asked for again. */
enum control_event control_receive(int socket, enum role self, enum role peer, bool wait, struct control_message *message);

#endif
