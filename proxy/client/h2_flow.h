/* Windows (RFC 9113 §5.2, §6.9): how much may still come, and how much may still be sent. */
#ifndef CLIENT_H2_FLOW_H
#define CLIENT_H2_FLOW_H

#include "proxy/client/h2_wire.h"

#include <stdbool.h>

/* What the other side may send: of a connection, or of a stream. */
struct h2_inflow {
    int32_t  left;  /* below 0: the window was made smaller (§6.9.2) */
    uint32_t size;  /* of the window when it is open */
    uint32_t taken; /* of what came, and not told yet */
};

static inline struct h2_inflow h2_inflow_open(uint32_t size)
{
    return (struct h2_inflow){(int32_t)size, size, 0};
}

/* So much came. False: more than may. */
static inline bool h2_inflow_receive(struct h2_inflow *flow, uint32_t bytes)
{
    if ((int64_t)bytes > flow->left)
        return false;
    flow->left -= (int32_t)bytes;
    return true;
}

/* So much of it makes room. Returns by how much the window is to be opened now; 0: it is not worth a frame yet. */
static inline uint32_t h2_inflow_take(struct h2_inflow *flow, uint32_t bytes)
{
    flow->taken += bytes;
    if (flow->taken == 0 || flow->taken < flow->size / 2)
        return 0;
    uint32_t increment = flow->taken;
    flow->left += (int32_t)increment;
    flow->taken = 0;
    return increment;
}

/* The other side knows of another size (§6.9.2). */
static inline void h2_inflow_resize(struct h2_inflow *flow, uint32_t size)
{
    flow->left += (int32_t)(size - flow->size);
    flow->size = size;
}

/* What may be sent there: opened by so much, or less than nothing. False: beyond the maximum (§6.9.1). */
static inline bool h2_outflow_open(int32_t *window, int64_t by)
{
    if (*window + by > H2_WINDOW_MAX)
        return false;
    *window = (int32_t)(*window + by);
    return true;
}

#endif
