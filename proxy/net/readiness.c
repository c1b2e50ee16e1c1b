/* See readiness.h.
 *
 * DESIGN. A new connection is the case that is made cheap: its request is usually there when it is accepted, and an epoll_ctl costs more than to read in
 * vain. So it is looked at once in the turn that accepts it, and told to the kernel only if it is still there, and waits for something, at the end of the
 * turn. Closing the descriptor takes it out of the epoll instance without a call, since no other descriptor refers to its open file: the proxy neither
 * forks nor passes on the descriptors of its connections. Those that it was itself given (listeners, channels) are taken out by a call (polled_leave).
 */
#include "proxy/net/readiness.h"
#include "proxy/net/loop_inside.h"

#include <assert.h>
#include <unistd.h>

bool readiness_init(struct readiness *readiness)
{
    list_init(&readiness->told);
    list_init(&readiness->untold);
    list_init(&readiness->closed);
    readiness->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return readiness->epoll_fd >= 0;
}

static void free_all(struct list *list)
{
    for (struct list *node; (node = list_pop_front(list)) != NULL;) {
        struct polled *polled = LIST_OWNER(node, struct polled, link);
        polled->kind->free(polled);
    }
}

void readiness_free_closed(struct readiness *readiness)
{
    free_all(&readiness->closed);
}

void readiness_end(struct readiness *readiness)
{
    free_all(&readiness->told);
    free_all(&readiness->untold);
    free_all(&readiness->closed);
    close(readiness->epoll_fd);
}

static void move(struct polled *polled, struct list *to)
{
    list_remove(&polled->link);
    list_push_back(to, &polled->link);
}

void polled_init(struct polled *polled, struct loop *loop, int fd, const struct polled_kind *kind)
{
    *polled = (struct polled){.kind = kind, .loop = loop, .fd = fd};
    list_push_back(&loop_readiness(loop)->told, &polled->link);
}

/* False: the kernel does not take it. */
static bool tell(struct readiness *readiness, struct polled *polled)
{
    unsigned asked = polled->asked;
    /* With neither bit the kernel still reports errors and hang-ups: that is READY_ERRORS. */
    struct epoll_event event = {
        .events = (asked & READY_READ ? (uint32_t)EPOLLIN : 0) | (asked & READY_WRITE ? (uint32_t)EPOLLOUT : 0),
        .data.ptr = polled,
    };
    int operation = asked == 0 ? EPOLL_CTL_DEL : polled->told == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    if (asked != polled->told && epoll_ctl(readiness->epoll_fd, operation, polled->fd, &event) != 0)
        return false;
    polled->told = (uint8_t)asked;
    polled->is_new = false;
    move(polled, &readiness->told);
    return true;
}

void polled_ask(struct polled *polled, unsigned ready)
{
    if (polled->asked == ready)
        return;
    polled->asked = (uint8_t)ready;
    move(polled, &loop_readiness(polled->loop)->untold);
}

bool polled_ask_now(struct polled *polled, unsigned ready)
{
    polled->asked = (uint8_t)ready;
    return tell(loop_readiness(polled->loop), polled);
}

void polled_close(struct polled *polled)
{
    close(polled->fd);
    polled->fd = -1;
    polled->asked = polled->told = 0;
    move(polled, &loop_readiness(polled->loop)->closed);
}

void polled_leave(struct polled *polled)
{
    struct readiness *readiness = loop_readiness(polled->loop);
    polled->asked = 0;
    bool is_told = tell(readiness, polled);
    assert(is_told); /* or it was closed before: its events might come for ever, to memory that is something else by then */
    (void)is_told;
    polled->fd = -1;
    move(polled, &readiness->closed);
}

/* What the kernel has no memory for is tried again before each wait: its owner's deadline ends that. */
static void tell_all(struct readiness *readiness)
{
    LIST_FOR_EACH_SAFE(node, &readiness->untold)
    tell(readiness, LIST_OWNER(node, struct polled, link));
}

int readiness_wait(struct readiness *readiness, struct epoll_event events[READINESS_EVENTS_MAX], int timeout_ms)
{
    tell_all(readiness);
    int count = epoll_wait(readiness->epoll_fd, events, READINESS_EVENTS_MAX, timeout_ms);
    return count < 0 ? 0 : count; /* EINTR */
}

static void deliver(struct polled *polled, uint32_t events)
{
    unsigned asked = polled->asked, ready = (events & EPOLLIN ? READY_READ : 0) | (events & EPOLLOUT ? READY_WRITE : 0);
    if (events & EPOLLERR)
        ready = READY_ERRORS;
    else if (ready == 0) /* EPOLLHUP alone */
        ready = asked;
    else
        ready &= asked;
    /* A callback of this turn may have closed it, or asked for something else. */
    if (asked != 0 && ready != 0)
        polled->kind->ready(polled, ready);
}

void readiness_dispatch(const struct epoll_event *events, int count)
{
    for (int i = 0; i < count; i++)
        deliver(events[i].data.ptr, events[i].events);
}

void readiness_look(struct readiness *readiness)
{
    struct list present;
    if (list_is_empty(&readiness->untold))
        return;
    list_init(&present);
    for (struct list *node; (node = list_pop_front(&readiness->untold)) != NULL;)
        list_push_back(&present, node);
    for (struct list *node; (node = list_pop_front(&present)) != NULL;) {
        struct polled *polled = LIST_OWNER(node, struct polled, link);
        list_push_back(&readiness->untold, node);
        if (polled->is_new) {
            polled->is_new = false;
            deliver(polled, EPOLLIN);
        }
    }
}
