/* For test programs that are no Criterion tests: what is wrong ends them with a line; and randomness that a seed repeats. */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                                                                   \
    do {                                                                                                                                   \
        if (!(condition)) {                                                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                                                \
            abort();                                                                                                                       \
        }                                                                                                                                  \
    } while (0)

/* A number below `limit`; `state` is not 0, and changes (xorshift64, Marsaglia 2003). */
static inline unsigned random_number(uint64_t *state, unsigned limit)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return (unsigned)(x >> 20) % limit;
}

#endif
