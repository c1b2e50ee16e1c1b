/* The cache's port to its disks (cache/disk/disk_io.h), filled with a loop's client of the store helpers. */
#ifndef BOOT_DISK_PORT_H
#define BOOT_DISK_PORT_H

#include "cache/disk/disk_io.h"
#include "helpers/store_client.h"
#include "proxy/net/loop.h"
#include "proxy/observe/counters.h"

struct disk_port {
    struct disk_io       io;
    struct store_client *client; /* owned */
    struct loop         *loop;
    struct counters     *counters; /* of the loop */
};

void disk_port_init(struct disk_port *port, struct loop *loop, struct counters *counters, const struct helper_hooks *hooks, int64_t deadline_ms);
/* What is under way ends without its `done`. */
void disk_port_clear(struct disk_port *port);

#endif
