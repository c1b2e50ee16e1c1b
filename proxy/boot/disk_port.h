/* The cache's port to its disks (cache/disk/disk_io.h), filled with a loop's client of the store helpers, or with calls made by the loop itself. */
#ifndef BOOT_DISK_PORT_H
#define BOOT_DISK_PORT_H

#include "cache/disk/disk_io.h"
#include "helpers/store_client.h"
#include "proxy/boot/disk_inline.h"
#include "proxy/net/loop.h"
#include "proxy/observe/counters.h"

struct disk_port {
    struct disk_io       io;
    struct store_client *client; /* owned */
    struct disk_inline  *made_here; /* owned; NULL: the helpers make the calls */
    struct loop         *loop;
    struct counters     *counters; /* of the loop */
};

/* `made_here` as in struct disk_port; taken over. */
void disk_port_init(struct disk_port *port, struct loop *loop, struct counters *counters, const struct helper_hooks *hooks, int64_t deadline_ms,
                    struct disk_inline *made_here);
/* What is under way ends without its `done`. */
void disk_port_clear(struct disk_port *port);

#endif
