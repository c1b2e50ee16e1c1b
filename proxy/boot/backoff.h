/* How long to wait before a process that ended is started again: at once when it lived for a second, and the first time; else longer and longer up to a
 * second. One that crashes at each start is thus started once a second (HARDENING: processes), and one that is killed now and then is replaced at once. */
#ifndef BOOT_BACKOFF_H
#define BOOT_BACKOFF_H

#include <stdint.h>

enum {
    BACKOFF_FIRST_MS = 50,
    BACKOFF_MOST_MS = 1000,
    BACKOFF_FORGET_MS = 1000, /* of life */
};

/* Zeroed: no death so far. */
struct backoff {
    int64_t next_ms;
};

/* It ended after `lived_ms`: milliseconds to wait before the next start. */
int64_t backoff_delay(struct backoff *backoff, int64_t lived_ms);

#endif
