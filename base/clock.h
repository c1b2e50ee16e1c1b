/* Time, in types that cannot be mixed up. Only loops and process mains read clocks; everything that decides is given `now`. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

struct monotonic_ms {
    int64_t ms;
};

struct wall_seconds {
    int64_t s; /* since 1970-01-01T00:00:00Z */
};

static inline struct monotonic_ms clock_monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (struct monotonic_ms){(int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000};
}

/* For measuring what takes less than a millisecond. */
static inline uint64_t clock_monotonic_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static inline struct wall_seconds clock_wall(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (struct wall_seconds){now.tv_sec};
}

static inline struct monotonic_ms monotonic_add(struct monotonic_ms from, int64_t ms)
{
    return (struct monotonic_ms){from.ms + ms};
}

/* later − earlier, in milliseconds. */
static inline int64_t monotonic_since(struct monotonic_ms later, struct monotonic_ms earlier)
{
    return later.ms - earlier.ms;
}

#endif
