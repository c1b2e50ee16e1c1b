/* The inside of a load; not for callers: load.h is. Whose memory it is: load_record.c. */
#ifndef CACHE_LOAD_STATE_H
#define CACHE_LOAD_STATE_H

#include "cache/cache_state.h"
#include "cache/disk/store_state.h"

enum load_state { LOAD_READING, LOAD_DONE, LOAD_FAILED };

struct load {
    /* immutable after new */
    struct cache      *cache;
    struct disk_io    *io;
    struct object_name name;     /* its texts lie behind the struct */
    struct object     *selector; /* a reference, or NULL */
    struct store_where where;
    /* loop of `io` only */
    struct disk_read read;
    struct object   *cell;  /* owns what is below, until it is an object */
    struct extent    front; /* capacity 0: none */
    uint32_t         page_count;
    uint64_t         bytes; /* in the table's account */
    bool             has_retried;
    /* shared, under the table's lock */
    struct list     link;  /* in the table, while it reads */
    struct list     waits;
    struct object  *object; /* a reference, or NULL: what was loaded */
    _Atomic uint8_t state;  /* enum load_state; read without the lock */
};

/* load.c, for load_search.c. */
struct load *load_new(struct cache *cache, struct disk_io *io, const struct object_name *name, struct object *selector, const struct store_where *where);
/* The end of a load, whoever waits for it. `object` (a reference, or NULL) is held for them. */
void load_end(struct load *load, enum load_state state, struct object *object);
/* One more that waits. Takes the table's lock. */
void load_join(struct load *load, struct load_wait *wait);

/* Memory for a record of the entry's class, whose front has `front_bytes` (0: not known yet); what was taken before is given back first. False: there is
 * none, or loads have as much as they may. Sets the destination in load->read. */
bool load_take_space(struct load *load, uint32_t front_bytes);
/* All that the load still has; what a helper may still write to is not given back. */
void load_give_space(struct load *load);
/* The record that was read: an object with one reference, with nothing more than it needs, or NULL: it is not what was looked for. */
struct object *load_build(struct load *load);

#endif
