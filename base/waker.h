/* How one loop tells another that something is ready, without either knowing what a loop is: `cache/` and `helpers/` call
 * waker_wake; proxy/net fills `post` with its mailbox. */
#ifndef BASE_WAKER_H
#define BASE_WAKER_H

struct waker {
    /* Thread-safe and cheap; called with the cache's locks held, so it MUST NOT call back into the cache, block or free
     * the waker. Several wakes before the owner runs count as one. */
    void (*post)(struct waker *waker);
};

static inline void waker_wake(struct waker *waker)
{
    waker->post(waker);
}

#endif
