/* Which descriptors of a loop can be read or written: an epoll instance, and what it was told.
 *
 * Everything here belongs to the loop's thread. A turn: readiness_wait → readiness_dispatch → readiness_look → (the rest of the turn) → readiness_free_closed.
 *
 * Invariants: 1. what is asked for is told before the loop waits, and not earlier: what changes within a turn and back costs nothing, and a connection that
 * comes and goes within one is never told of; 2. after polled_close nothing is delivered, whatever the turn's events still hold: its memory outlives
 * them, and a descriptor of the same number is another struct polled.
 */
#ifndef NET_READINESS_H
#define NET_READINESS_H

#include "base/list.h"

#include <stdint.h>
#include <sys/epoll.h>

struct loop;
struct polled;

/* Errors and hang-ups are told with all of them, and come as what was asked for; READY_ERRORS is for who asks for nothing else. */
enum { READY_READ = 1, READY_WRITE = 2, READY_ERRORS = 4 };

struct polled_kind {
    /* With one bit at least of what is asked for; READY_ERRORS alone: an error, whatever is asked for. Level-triggered. May close anything. */
    void (*ready)(struct polled *polled, unsigned ready);
    /* It is closed and the turn is over, or the loop ends. */
    void (*free)(struct polled *polled);
};

/* Embedded in its owner. */
struct polled {
    struct list link; /* in told, untold or closed */
    const struct polled_kind *kind;
    struct loop *loop;
    int fd;              /* -1: closed */
    uint8_t asked, told; /* 0: nothing, and then the kernel does not know it */
    bool is_new;         /* what it waits for is probably there: looked at before the kernel is told */
};

enum { READINESS_EVENTS_MAX = 1024 }; /* a turn; those left over have the next one */

struct readiness {
    int epoll_fd;
    struct list told, untold, closed;
};

/* False with errno. */
bool readiness_init(struct readiness *readiness);
/* Frees everything that is left. */
void readiness_end(struct readiness *readiness);

/* Asks for nothing yet. */
void polled_init(struct polled *polled, struct loop *loop, int fd, const struct polled_kind *kind);
/* READY_… together; 0: nothing at all. */
void polled_ask(struct polled *polled, unsigned ready);
/* polled_ask, and the kernel is told at once. False: the descriptor cannot be polled (errno). */
bool polled_ask_now(struct polled *polled, unsigned ready);
/* Closes the descriptor, which takes it out of the epoll instance: it must be the only one for its open file. */
void polled_close(struct polled *polled);
/* Likewise for a descriptor that is somebody else's, who closes it later. */
void polled_leave(struct polled *polled);

/* Tells what is untold and waits, at most so long. Returns the number of events. */
int  readiness_wait(struct readiness *readiness, struct epoll_event events[READINESS_EVENTS_MAX], int timeout_ms);
void readiness_dispatch(const struct epoll_event *events, int count);
/* Delivers READY_READ to what is new and asks for it. */
void readiness_look(struct readiness *readiness);
void readiness_free_closed(struct readiness *readiness);

#endif
