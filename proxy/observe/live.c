/* See live.h. Lock order: none, one loop's lock at a time. */
#include "proxy/observe/live.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VIEWER_BYTES = 256 * 1024, /* of all its queues together, between one look and the next */
    QUEUE_MIN_BYTES = 8 * 1024,
    LINE_MAX_BYTES = 3072,
    LEFT_OUT_MAX_BYTES = 64,
};

_Static_assert((int)LINE_MAX_BYTES >= (int)ACCESS_LINE_MIN, "a line fits");

struct queue {
    const struct live_filter *filter;
    char *lines;
    size_t used, size;
    uint64_t left_out;
    uint64_t missed; /* the viewer's alone: of the loop's, those that it has been told of */
};

struct live {
    _Atomic unsigned watched; /* by how many */
    _Atomic uint64_t missed;  /* written by the loop: requests that came while the lock was held */
    /* under lock */
    pthread_mutex_t lock;
    struct queue *queues[LIVE_VIEWERS_MAX];
};

_Static_assert(offsetof(struct live, watched) == 0, "live_is_watched");

struct live_viewer {
    struct live *const *loops;
    unsigned count, place;
    struct queue *queues; /* one a loop */
    char *spare;          /* what a queue gets for its lines */
    char *text;           /* what live_take returned */
};

struct live *live_new(void)
{
    struct live *live = calloc(1, sizeof *live);
    if (live == NULL)
        abort();
    pthread_mutex_init(&live->lock, NULL);
    return live;
}

void live_free(struct live **live)
{
    if (*live != NULL)
        pthread_mutex_destroy(&(*live)->lock);
    free(*live);
    *live = NULL;
}

/* ---- filters ---------------------------------------------------------------------------------------------------------------------------- */

void live_filter_add_status(struct live_filter *filter, unsigned status)
{
    filter->by_status = true;
    if (status < LIVE_STATUS_WORDS * 64)
        filter->statuses[status / 64] |= UINT64_C(1) << status % 64;
}

static bool has_status(const struct live_filter *filter, unsigned status)
{
    return status < LIVE_STATUS_WORDS * 64 && (filter->statuses[status / 64] >> status % 64 & 1) != 0;
}

/* Takes from `prefix` what it shares with `part`. False: they differ before either ends. */
static bool follow(struct bytes *prefix, struct bytes part, bool is_exact)
{
    size_t length = prefix->len < part.len ? prefix->len : part.len;
    struct bytes mine = bytes_from(prefix->at, length), theirs = bytes_from(part.at, length);
    *prefix = bytes_from(prefix->at + length, prefix->len - length);
    return is_exact ? bytes_equal(mine, theirs) : bytes_equal_nocase(mine, theirs);
}

/* A target of another form than "/path" is a URL by itself, or has none. */
static bool url_begins_with(const struct access_entry *entry, struct bytes prefix)
{
    bool is_path = entry->target.len > 0 && entry->target.at[0] == '/';
    if (!is_path || prefix.at[0] == '/')
        return bytes_starts_with(entry->target, prefix);
    bool has_scheme = memmem(prefix.at, prefix.len, "://", strlen("://")) != NULL;
    return (!has_scheme || (follow(&prefix, entry->scheme, false) && follow(&prefix, BYTES("://"), true))) &&
           follow(&prefix, entry->host, false) && follow(&prefix, entry->target, true) && prefix.len == 0;
}

bool live_filter_matches(const struct live_filter *filter, const struct access_entry *entry)
{
    const char *reason = entry->error[0] ? entry->error : entry->detail;
    return (!filter->by_status || has_status(filter, access_entry_status(entry))) &&
           (filter->results == 0 || (filter->results >> entry->result & 1) != 0) && entry->duration_us >= filter->slower_than_us &&
           (filter->site.at == NULL || (entry->site.at != NULL && bytes_equal(filter->site, entry->site))) &&
           (filter->reason.at == NULL || bytes_equal(filter->reason, bytes_from_string(reason))) &&
           (filter->url.at == NULL || url_begins_with(entry, filter->url));
}

/* ---- on the loop ------------------------------------------------------------------------------------------------------------------------ */

static void put(struct queue *queue, const struct access_entry *entry)
{
    if (!live_filter_matches(queue->filter, entry))
        return;
    if (queue->size - queue->used < LINE_MAX_BYTES)
        queue->left_out++;
    else
        queue->used += access_log_format(entry, ACCESS_JSON, queue->lines + queue->used, LINE_MAX_BYTES);
}

static uint64_t missed_by(struct live *live)
{
    return atomic_load_explicit(&live->missed, memory_order_relaxed);
}

void live_show(struct live *live, const struct access_entry *entry)
{
    if (pthread_mutex_trylock(&live->lock) != 0) {
        atomic_store_explicit(&live->missed, missed_by(live) + 1, memory_order_relaxed);
        return;
    }
    for (unsigned i = 0; i < LIVE_VIEWERS_MAX; i++) {
        if (live->queues[i] != NULL)
            put(live->queues[i], entry);
    }
    pthread_mutex_unlock(&live->lock);
}

/* ---- of a viewer ------------------------------------------------------------------------------------------------------------------------ */

static void set_queue(struct live *live, unsigned place, struct queue *queue)
{
    pthread_mutex_lock(&live->lock);
    live->queues[place] = queue;
    pthread_mutex_unlock(&live->lock);
    if (queue != NULL)
        atomic_fetch_add_explicit(&live->watched, 1, memory_order_relaxed);
    else
        atomic_fetch_sub_explicit(&live->watched, 1, memory_order_relaxed);
}

/* LIVE_VIEWERS_MAX: none. Viewers come and go on one thread: a place that is free at the first loop is free at all. */
static unsigned free_place(struct live *live)
{
    unsigned place = 0;
    pthread_mutex_lock(&live->lock);
    while (place < LIVE_VIEWERS_MAX && live->queues[place] != NULL)
        place++;
    pthread_mutex_unlock(&live->lock);
    return place;
}

static void *allocate(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL)
        abort();
    return memory;
}

struct live_viewer *live_watch(struct live *const *loops, unsigned count, const struct live_filter *filter)
{
    unsigned place = count > 0 ? free_place(loops[0]) : LIVE_VIEWERS_MAX;
    size_t size = count > 0 && VIEWER_BYTES / count > QUEUE_MIN_BYTES ? VIEWER_BYTES / count : QUEUE_MIN_BYTES;
    if (place == LIVE_VIEWERS_MAX)
        return NULL;
    struct live_viewer *viewer = allocate(sizeof *viewer);
    *viewer = (struct live_viewer){.loops = loops,
                                   .count = count,
                                   .place = place,
                                   .queues = allocate(count * sizeof *viewer->queues),
                                   .spare = allocate(size),
                                   .text = allocate(count * size + LEFT_OUT_MAX_BYTES)};
    for (unsigned i = 0; i < count; i++) {
        viewer->queues[i] = (struct queue){.filter = filter, .lines = allocate(size), .size = size, .missed = missed_by(loops[i])};
        set_queue(loops[i], place, &viewer->queues[i]);
    }
    return viewer;
}

void live_unwatch(struct live_viewer **viewer)
{
    if (*viewer == NULL)
        return;
    for (unsigned i = 0; i < (*viewer)->count; i++) {
        set_queue((*viewer)->loops[i], (*viewer)->place, NULL);
        free((*viewer)->queues[i].lines);
    }
    free((*viewer)->queues);
    free((*viewer)->spare);
    free((*viewer)->text);
    free(*viewer);
    *viewer = NULL;
}

struct bytes live_take(struct live_viewer *viewer)
{
    size_t length = 0;
    uint64_t left_out = 0;
    for (unsigned i = 0; i < viewer->count; i++) {
        struct queue *queue = &viewer->queues[i];
        char *lines = viewer->spare;
        pthread_mutex_lock(&viewer->loops[i]->lock);
        size_t used = queue->used;
        viewer->spare = queue->lines;
        queue->lines = lines;
        queue->used = 0;
        left_out += queue->left_out;
        queue->left_out = 0;
        pthread_mutex_unlock(&viewer->loops[i]->lock);
        uint64_t missed = missed_by(viewer->loops[i]);
        left_out += missed - queue->missed;
        queue->missed = missed;
        memcpy(viewer->text + length, viewer->spare, used);
        length += used;
    }
    if (left_out > 0)
        length += (size_t)snprintf(viewer->text + length, LEFT_OUT_MAX_BYTES, "{\"left_out\":%llu}\n", (unsigned long long)left_out);
    return bytes_from(viewer->text, length);
}
