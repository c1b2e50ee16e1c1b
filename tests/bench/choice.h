/* What is asked for next: an object of a pattern or of a list, in an order that a seed fixes. */
#ifndef TESTS_BENCH_CHOICE_H
#define TESTS_BENCH_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PATH_BYTES_MAX = 2048 };

enum order { ORDER_SEQUENTIAL, ORDER_ONCE, ORDER_UNIFORM, ORDER_ZIPF };

/* Walker's alias method: a column is drawn uniformly, and is either itself or its other. */
struct column {
    double share;
    uint32_t other;
};

struct choice {
    const char *pattern; /* %u stands for the object's number */
    char **paths;        /* or a list of paths, which then counts */
    uint64_t objects;
    enum order order;
    double exponent; /* of ORDER_ZIPF */
    struct column *columns;
    uint64_t random, next;
};

/* False: there is no such order. "once", "sequential", "uniform", "zipf=0.9" */
bool choice_set_order(struct choice *c, const char *word);

/* Adds the lines of a file to the list. NULL, or what is wrong with it. */
const char *choice_read_list(struct choice *c, const char *file);

/* Once all is set, before the first draw. NULL, or what is wrong. */
const char *choice_begin(struct choice *c, uint64_t seed);

/* Of all that it may write, without NUL. */
size_t choice_longest_path(const struct choice *c);

/* Writes the next path (at most PATH_BYTES_MAX bytes, no NUL) and returns its end; NULL: everything has been asked for once. */
char *choice_next_path(struct choice *c, char *to);

#endif
