/* The deadlines of one loop: a hashed timing wheel (Varghese & Lauck, SOSP 1987, scheme 6). Knows no clock: `now` is given.
 *
 * DESIGN. A deadline lies in the slot of its tick, rounded up, so that it is never early; one that is further away than the wheel is wide lies in the slot
 * that comes round first and is looked at once each turn of the wheel. Setting a deadline to a later time only stores the time: when its old slot comes,
 * it is moved to its new one. Thus the keep-alive timer of a busy connection costs a store per request and a move every few seconds.
 */
#ifndef NET_WHEEL_H
#define NET_WHEEL_H

#include "proxy/net/loop.h"

enum { WHEEL_SLOTS = 1024 }; /* 51 s: most timeouts are shorter */

struct wheel {
    int64_t     tick; /* the last one that was worked off */
    struct list slots[WHEEL_SLOTS];
};

void wheel_init(struct wheel *wheel, struct monotonic_ms now);
void wheel_set(struct wheel *wheel, struct deadline *deadline, struct monotonic_ms when);
/* Calls `expired` of every deadline that has come by `now`. They may set and clear any deadline and free their owners. */
void wheel_advance(struct wheel *wheel, struct monotonic_ms now);

#endif
