/* A loop's requests to the disk helpers: files of `files:` origins, read straight into the slab.
 *
 * Each request goes to the helper with the fewest under way. When its helper dies or hangs it is sent to another; one that takes several helpers with
 * it fails (helper_set.h). The owner keeps the request and its destination alive until `done`, which comes from disk_client_receive, _tick, _lost or
 * _attach and may make further requests. Belongs to one loop; knows no loop: boot polls the channels.
 */
#ifndef HELPERS_DISK_CLIENT_H
#define HELPERS_DISK_CLIENT_H

#include "base/error.h"
#include "helpers/helper_set.h"

struct file_request {
    /* in: borrowed until done */
    const char *root;
    const char *path; /* relative, normalised, no leading slash, no dot segments; "" = the root itself */
    uint64_t    offset, length, slab_offset;
    uint64_t    inode, size; /* these and what follows: as in message_file_read */
    int64_t     mtime_ns;
    uint64_t    ahead;
    void (*done)(struct file_request *request);
    void *context;
    /* out */
    enum error                 error;            /* ERROR_OK: an answer came (look at answer.status) */
    bool                       destination_lost; /* a helper that cannot be stopped may still write there (fill_lose_space) */
    struct message_file_answer answer;
    struct helper_call call; /* the client's own */
};

struct disk_client;

struct disk_client *disk_client_new(const struct helper_hooks *hooks, int64_t deadline_ms, unsigned queue_max);
/* Requests under way are dropped without their `done`. */
void disk_client_free(struct disk_client **client);

/* Takes the channel. A helper's earlier channel is closed. */
void disk_client_attach(struct disk_client *client, unsigned helper, unsigned generation, struct channel *channel);
/* The process is certainly dead: its requests are sent again. Closes its channel: stop polling before. */
void disk_client_lost(struct disk_client *client, unsigned helper, unsigned generation);

/* Calls `done` later, never from inside. Queue full or no helper at all: done with ERROR_OVERLOADED / ERROR_HELPER_UNAVAILABLE from the next tick.
 * While a helper is being replaced, requests wait for it up to their deadline. */
void disk_client_read(struct disk_client *client, struct file_request *request, struct monotonic_ms now);

/* The channel of `helper` is readable. False: nothing more will come through it, stop polling it. */
bool disk_client_receive(struct disk_client *client, unsigned helper, struct monotonic_ms now);
void disk_client_flush(struct disk_client *client);                         /* at the end of each loop turn */
void disk_client_tick(struct disk_client *client, struct monotonic_ms now); /* deadlines; about every 50 ms */
void disk_client_stats(const struct disk_client *client, struct helper_stats *stats);

#endif
