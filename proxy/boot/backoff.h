/* How long to wait before a process that ended is started again: at once the first time, then longer and longer up to a second; one that lived for a
 * while begins anew. */
#ifndef BOOT_BACKOFF_H
#define BOOT_BACKOFF_H

#include <stdint.h>

enum {
    BACKOFF_FIRST_MS = 50,
    BACKOFF_MOST_MS = 1000,     /* HARDENING: a helper that crashes at each start is started at most once a second */
    BACKOFF_FORGET_MS = 10000,  /* of life: what ended it is not what ended the one before */
};

/* Zeroed: no death so far. */
struct backoff {
    int64_t next_ms;
};

/* It ended after `lived_ms`: milliseconds to wait before the next start. */
int64_t backoff_delay(struct backoff *backoff, int64_t lived_ms);

#endif
