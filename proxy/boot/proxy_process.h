/* The proxy process: event-loop threads that serve clients, and a control loop that listens to the supervisor and serves the admin interface. */
#ifndef BOOT_PROXY_PROCESS_H
#define BOOT_PROXY_PROCESS_H

#include "proxy/admin/admin.h"
#include "proxy/boot/memory_home.h"
#include "proxy/boot/memory_watch.h"
#include "proxy/boot/proxy_loop.h"
#include "proxy/boot/reserve.h"
#include "proxy/boot/store_home.h"

struct proxy {
    int                control; /* socket to the supervisor */
    struct slab       *slab;
    struct cache      *cache;
    struct proxy_loop *loops;   /* the workers, then the control loop */
    unsigned           worker_count;
    struct live      **lives;   /* of the workers */
    struct proxy_loop *control_loop;
    struct watch      *control_watch;  /* NULL while it waits for descriptors */
    struct deadline    control_pause;
    bool               is_short;        /* of descriptors, when last looked */
    struct reserve     reserve;
    struct admin      *admin;
    struct tls_tickets *tickets; /* that seal sessions where no file has the keys; they outlive configurations */
    uint32_t           serial;  /* of the configuration that serves; 0: none yet */
    struct wall_seconds started;
    struct message_store_geometry geometry; /* count 0: no disk tier */
    bool               may_ring;  /* this account gets io_uring */
    struct disk_files  files; /* of the disk tier, where the loops themselves read and write it */
    struct store_home  store_home;
    struct memory_home memory_home;
    struct memory_watch memory_watch;
    int                memory_list; /* of the MEMORY_LIST that came before a STORE_RELEASE; −1: none */
    uint32_t           restarts[ROLE_COUNT]; /* of helpers */

    /* LISTENER messages whose CONFIG has not come yet */
    struct shared_socket *sockets[LISTENING_MAX];
    unsigned              socket_count;

    bool                is_draining, is_stopping;
    int64_t             drain_ms;      /* of the configuration that serves */
    struct deadline     drain_tick;
    struct monotonic_ms drain_deadline;
};

void proxy_main(int control, int slab) __attribute__((noreturn));

/* collect.c: admin_ports.collect; `context` is the proxy. */
void proxy_collect(void *context, struct arena *arena, struct counters *sum, struct gauge **gauges, unsigned *gauge_count);

#endif
