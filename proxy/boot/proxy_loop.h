/* One event loop of the proxy, wired: its worker, its ends of the helpers' channels, its listeners, and the orders that the control loop gives it.
 *
 * DESIGN. Loops share the cache and nothing else. What the control loop wants of another loop it writes into an order, which the loop carries out in its
 * own thread, in the order given. What the control loop wants to show of another loop it reads from its counters and from its gauges, which the loop
 * publishes a few times a second; neither makes a loop wait.
 */
#ifndef BOOT_PROXY_LOOP_H
#define BOOT_PROXY_LOOP_H

#include "base/memory_ladder.h"
#include "base/ref.h"
#include "helpers/helper_set.h"
#include "proxy/boot/disk_port.h"
#include "proxy/boot/listening.h"
#include "proxy/boot/origin_gauges.h"
#include "proxy/listener.h"

#include <pthread.h>

/* A bound socket that several loops accept from; closed when the last of them lets go. */
struct shared_socket {
    struct ref         ref;
    int                fd;
    enum listener_kind kind;
    char               text[LISTENING_TEXT_MAX]; /* its address as configured: with the kind, what tells it from others */
};

void shared_socket_unref(struct shared_socket *socket);

/* A configuration on its way to all loops. */
struct generation {
    _Atomic unsigned      untaken; /* loops that do not serve by it yet */
    uint32_t              serial;
    struct config        *config;  /* a reference */
    struct tls_server    *tls;     /* a reference; NULL: no listener needs it */
    struct origin_tls    *origin_tls;
    struct shared_socket *sockets[LISTENING_MAX]; /* references */
    unsigned              socket_count;
};

enum order_kind {
    ORDER_CHANNEL,   /* about, channel_fds */
    ORDER_GONE,      /* about: that helper is dead */
    ORDER_CONFIGURE, /* generation; the last loop to take it orders the control loop TAKEN */
    ORDER_DRAIN,
    ORDER_CUT,
    ORDER_MEMORY,    /* memory_level */
    /* to the control loop */
    ORDER_TAKEN, /* generation */
    ORDER_HUNG,  /* about */
};

struct order {
    struct list            link;
    enum order_kind        kind;
    struct message_channel about;
    int                    memory, bell;
    struct generation     *generation;
    enum memory_level      memory_level;
};

/* Published by the loop, read by the control loop: no lock, each figure good by itself. */
struct loop_gauges {
    _Atomic uint64_t connections;
    _Atomic bool     is_draining; /* the order was carried out before `connections` was published */
    struct role_gauges {
        _Atomic uint64_t requests, retries, failures, timeouts, queue_depth, helpers_alive;
    } disk, store, resolver;
    _Atomic uint64_t log_backlog_bytes;
    _Atomic uint64_t memory_level; /* that it serves by */
    _Atomic uint64_t origin_idle, origin_addresses, origin_addresses_down;
};

struct proxy_loop {
    struct worker worker; /* the loop's thread only, as everything down to `next_look` */
    struct helper_end {
        struct proxy_loop *loop;
        struct watch      *watch; /* NULL: nothing comes from it */
        enum role          role;
        unsigned           number;
    } ends[ROLE_COUNT][HELPERS_MAX];
    struct listening_loop {
        struct shared_socket *socket; /* a reference */
        struct listener      *listener;
    } listeners[LISTENING_MAX];
    unsigned            listener_count;
    enum memory_level   memory_level;
    struct disk_port    disk_port;
    struct monotonic_ms next_tick, next_look; /* next_look: at what is not worth a look every tick */
    struct monotonic_ms next_sizing;          /* of the control loop; 0: before its first look */

    /* shared, immutable after new */
    struct proxy_loop *control;
    void (*take_order)(const struct order *order); /* of the control loop: its own kinds */
    pthread_t thread;

    /* shared, under lock */
    pthread_mutex_t lock;
    struct list     orders;

    struct mail        mail;   /* thread-safe */
    struct loop_gauges gauges; /* written by the loop, read by any */
    struct origin_gauges origins;
};

struct proxy_loop_settings {
    unsigned           number;
    struct cache      *cache;
    struct config     *config;
    struct proxy_loop *control; /* NULL: this is it */
    struct slab       *slab;
    bool               has_store; /* there is a disk tier… */
    bool               has_rings; /* …whose helpers have io_uring… */
    void (*tell_heir)(struct bytes key, struct bytes group); /* see worker.h */
    const struct disk_files *files; /* …and, where there are any, the loop itself reads and writes it */
};

/* Aborts when the kernel gives no loop: the supervisor starts us again. */
void proxy_loop_init(struct proxy_loop *loop, const struct proxy_loop_settings *settings);
/* Starts its thread. */
void proxy_loop_start(struct proxy_loop *loop);
/* Runs it in the calling thread. */
void proxy_loop_run(struct proxy_loop *loop);
/* Thread-safe; takes the order, which is malloc'ed. */
void proxy_loop_order(struct proxy_loop *loop, struct order *order);
/* Zeroed, from the heap. */
struct order *order_new(enum order_kind kind);

#endif
