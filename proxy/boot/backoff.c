#include "proxy/boot/backoff.h"

int64_t backoff_delay(struct backoff *backoff, int64_t lived_ms)
{
    if (lived_ms >= BACKOFF_FORGET_MS)
        backoff->next_ms = 0;
    int64_t delay = backoff->next_ms;
    backoff->next_ms = delay == 0 ? BACKOFF_FIRST_MS : delay * 2 < BACKOFF_MOST_MS ? delay * 2 : BACKOFF_MOST_MS;
    return delay;
}
