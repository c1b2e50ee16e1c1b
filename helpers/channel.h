/* A channel: two rings in shared memory between one loop and one helper, and a socket as the bell.
 *
 * DESIGN. Each direction is a single-producer single-consumer ring of bytes (CHANNEL_RING_BYTES) holding whole messages. Sending only moves a head;
 * channel_flush rings the bell once, and only when the other side said that it sleeps. The bell is a socket pair, not an eventfd, because a socket
 * also tells of the peer's death: end of file. The receiver copies a message out of the ring before it looks at it, so that a peer that misbehaves
 * cannot change it after the check.
 * A channel whose peer broke a rule is broken for good: channel_receive says CHANNEL_BROKEN from then on.
 */
#ifndef HELPERS_CHANNEL_H
#define HELPERS_CHANNEL_H

#include "helpers/wire.h"

enum { CHANNEL_RING_BYTES = 256 * 1024 };

struct channel;

struct channel_fds {
    int memory;  /* both ends get it */
    int bell[2]; /* [0] the proxy's end, [1] the helper's */
};

/* Made by the supervisor. −1 with errno. All close-on-exec, bells non-blocking. */
int channel_make(struct channel_fds *fds);

/* Takes both descriptors. `self` and `peer` decide which ring is which and which messages may arrive. NULL with errno. */
struct channel *channel_open(int memory, int bell, enum role self, enum role peer);
void            channel_close(struct channel **channel);

int channel_fd(const struct channel *channel); /* poll for reading */

/* False when the ring has no room: the caller drops, waits or answers otherwise. Does not wake the peer. */
bool channel_send(struct channel *channel, enum message_type type, const void *payload, struct bytes tail);
/* Wakes the peer when it sleeps and something was sent since. At most one system call. */
void channel_flush(struct channel *channel);

enum channel_event { CHANNEL_MESSAGE, CHANNEL_EMPTY, CHANNEL_BROKEN };

/* `message` is borrowed until the next call. CHANNEL_EMPTY: this side is marked as sleeping, and a wake follows the next flush of the peer. */
enum channel_event channel_receive(struct channel *channel, struct message *message);
/* The same, but CHANNEL_EMPTY does not mark this side as sleeping: no wake follows, the caller looks again by itself soon. */
enum channel_event channel_receive_awake(struct channel *channel, struct message *message);
/* The last message goes back into the ring, as if it had not been received: for a process that ends now and leaves it to another. */
void channel_give_back(struct channel *channel);
/* Swallows the bell's bytes; call when channel_fd is readable. False: the peer is gone (what it sent before can still be received). */
bool channel_answer_bell(struct channel *channel);

/* Bytes waiting to be taken by the peer: the queue's depth for metrics. */
size_t channel_backlog(const struct channel *channel);

/* Positions in the stream of bytes to the peer. A message that ended at channel_sent has been taken when channel_taken reaches that value: what a
 * dead peer can have been working on. */
uint64_t channel_sent(const struct channel *channel);
uint64_t channel_taken(const struct channel *channel);

/* Sends again, through `channel`, what the dead peer of `dead` never took. What finds no room is left; returns the number of messages left behind. */
size_t channel_adopt_backlog(struct channel *channel, struct channel *dead);

#endif
