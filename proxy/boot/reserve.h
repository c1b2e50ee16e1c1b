/* Descriptors that are kept for what the supervisor sends, when clients have all others. */
#ifndef BOOT_RESERVE_H
#define BOOT_RESERVE_H

#include <stdbool.h>

enum { RESERVE_DESCRIPTORS = 16 }; /* a configuration, and channels of one helper to some loops, on their way */

struct reserve {
    int at[RESERVE_DESCRIPTORS]; /* −1: given up */
};

void reserve_init(struct reserve *reserve);
/* As many of those that are missing as can be had now. */
void reserve_open(struct reserve *reserve);
/* False: there was none. */
bool reserve_give_up(struct reserve *reserve);

#endif
