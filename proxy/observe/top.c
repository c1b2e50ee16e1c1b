/* See top.h. */
#include "proxy/observe/top.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    RATE_MS = 1000,        /* how often the rate is looked at */
    COUNTED_PER_RATE = 20, /* requests, in that time, that are counted; up to twice as many: thousands in a window */
    BURST = 4,             /* times as many, and fewer are counted from then on without waiting for that look */
    WINDOWS = 2,
    LISTS = TOP_KINDS * TOP_MEASURES,
};

const char *const top_kind_words[TOP_KINDS] = {"urls", "sites", "tags", "statuses"};
const char *const top_measure_words[TOP_MEASURES] = {"requests", "bytes", "misses"};

struct name {
    uint16_t length;
    char text[TOP_NAME_BYTES];
};

struct table {
    uint64_t hashes[TOP_ENTRIES]; /* apart, for the search */
    uint64_t counts[TOP_ENTRIES], errors[TOP_ENTRIES];
    struct name names[TOP_ENTRIES];
    unsigned used;
};

struct window {
    struct table tables[TOP_KINDS][TOP_MEASURES];
};

struct top {
    /* the loop's alone */
    uint32_t left, every; /* requests until the next one that is counted; of how many one is */
    uint64_t seen;        /* requests since the last look at the rate */
    uint32_t counted;     /* of these, since `every` is what it is */
    struct monotonic_ms next_rate, next_window;
    /* under lock */
    pthread_mutex_t lock;
    unsigned present;
    struct window windows[WINDOWS];
};

struct top *top_new(void)
{
    struct top *top = calloc(1, sizeof *top);
    if (top == NULL)
        abort();
    pthread_mutex_init(&top->lock, NULL);
    top->left = top->every = 1;
    return top;
}

void top_free(struct top **top)
{
    if (*top != NULL)
        pthread_mutex_destroy(&(*top)->lock);
    free(*top);
    *top = NULL;
}

/* ---- one list --------------------------------------------------------------------------------------------------------------------------- */

/* FNV-1a: who picks names that collide merges two rows of a list. */
static uint64_t hash_of(struct bytes name)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ (unsigned char)name.at[i]) * UINT64_C(1099511628211);
    return hash;
}

static unsigned least(const struct table *table)
{
    unsigned at = 0;
    for (unsigned i = 1; i < table->used; i++) {
        if (table->counts[i] < table->counts[at])
            at = i;
    }
    return at;
}

static void set_name(struct name *name, struct bytes text)
{
    name->length = (uint16_t)(text.len < TOP_NAME_BYTES ? text.len : TOP_NAME_BYTES);
    memcpy(name->text, text.at, name->length);
}

static void add(struct table *table, struct bytes name, uint64_t hash, uint64_t count)
{
    if (count == 0)
        return;
    for (unsigned i = 0; i < table->used; i++) {
        if (table->hashes[i] == hash) {
            table->counts[i] += count;
            return;
        }
    }
    unsigned at = table->used < TOP_ENTRIES ? table->used++ : least(table);
    table->hashes[at] = hash;
    table->errors[at] = table->counts[at]; /* 0, where the place was free */
    table->counts[at] += count;
    set_name(&table->names[at], name);
}

static void add_all(struct top *top, enum top_kind kind, struct bytes name, const struct top_request *request)
{
    struct table *tables = top->windows[top->present].tables[kind];
    uint64_t hash = hash_of(name);
    add(&tables[TOP_REQUESTS], name, hash, top->every);
    add(&tables[TOP_BYTES], name, hash, request->bytes * top->every);
    add(&tables[TOP_MISSES], name, hash, request->is_miss ? top->every : 0);
}

/* ---- on the loop ------------------------------------------------------------------------------------------------------------------------ */

bool top_wants(struct top *top)
{
    if (--top->left > 0)
        return false;
    top->seen += top->every;
    if (++top->counted == BURST * COUNTED_PER_RATE) {
        top->every *= 2;
        top->counted = 0;
    }
    top->left = top->every;
    return true;
}

static size_t put(char *out, size_t length, struct bytes text)
{
    size_t some = text.len < TOP_NAME_BYTES - length ? text.len : TOP_NAME_BYTES - length;
    if (some > 0)
        memcpy(out + length, text.at, some);
    return length + some;
}

void top_count(struct top *top, const struct top_request *request)
{
    const struct bytes parts[] = {
        request->scheme, BYTES("://"), request->host, request->path, request->query.at != NULL ? BYTES("?") : BYTES(""), request->query};
    char url[TOP_NAME_BYTES], status[DECIMAL_BYTES_MAX];
    size_t length = 0;
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++)
        length = put(url, length, parts[i]);
    if (pthread_mutex_trylock(&top->lock) != 0)
        return;
    if (request->site.at != NULL) {
        add_all(top, TOP_URLS, bytes_from(url, length), request);
        add_all(top, TOP_SITES, request->site, request);
    }
    for (unsigned i = 0; i < request->tags_count; i++)
        add_all(top, TOP_TAGS, request->tags[i], request);
    add_all(top, TOP_STATUSES, bytes_from(status, (size_t)(bytes_put_decimal(status, request->status) - status)), request);
    pthread_mutex_unlock(&top->lock);
}

static void begin_window(struct top *top)
{
    pthread_mutex_lock(&top->lock);
    top->present = (top->present + 1) % WINDOWS;
    struct window *window = &top->windows[top->present];
    for (unsigned kind = 0; kind < TOP_KINDS; kind++) {
        for (unsigned measure = 0; measure < TOP_MEASURES; measure++) {
            struct table *table = &window->tables[kind][measure];
            memset(table->counts, 0, sizeof table->counts);
            table->used = 0;
        }
    }
    pthread_mutex_unlock(&top->lock);
}

void top_tick(struct top *top, struct monotonic_ms now)
{
    if (monotonic_since(now, top->next_rate) >= 0) {
        top->every = top->seen < 2 * COUNTED_PER_RATE ? 1 : (uint32_t)(top->seen / COUNTED_PER_RATE);
        top->left = top->left < top->every ? top->left : top->every;
        top->seen = top->counted = 0;
        top->next_rate = monotonic_add(now, RATE_MS);
    }
    if (monotonic_since(now, top->next_window) >= 0) {
        begin_window(top);
        top->next_window = monotonic_add(now, TOP_WINDOW_MS);
    }
}

/* ---- by whoever shows them -------------------------------------------------------------------------------------------------------------- */

struct merging {
    struct top_row *rows;
    uint64_t *hashes;
    unsigned count;
};

static void merge_table(struct merging *all, const struct table *table, struct arena *arena)
{
    for (unsigned i = 0; i < table->used; i++) {
        unsigned at = 0;
        while (at < all->count && all->hashes[at] != table->hashes[i])
            at++;
        if (at == all->count) {
            all->hashes[all->count] = table->hashes[i];
            all->rows[all->count++] = (struct top_row){.name = arena_copy(arena, bytes_from(table->names[i].text, table->names[i].length))};
        }
        all->rows[at].count += table->counts[i];
        all->rows[at].error += table->errors[i];
    }
}

static int by_count(const void *a, const void *b)
{
    const struct top_row *one = a, *other = b;
    return one->count < other->count ? 1 : one->count > other->count ? -1 : 0;
}

void top_merge(struct top *const *tops, unsigned count, unsigned rows_max, struct arena *arena, struct top_lists *lists)
{
    struct window *copies = malloc(sizeof(struct window) * WINDOWS * count);
    size_t places = (size_t)TOP_ENTRIES * WINDOWS * count;
    if (copies == NULL)
        abort();
    for (unsigned i = 0; i < count; i++) {
        pthread_mutex_lock(&tops[i]->lock);
        memcpy(&copies[(size_t)i * WINDOWS], tops[i]->windows, sizeof tops[i]->windows);
        pthread_mutex_unlock(&tops[i]->lock);
    }
    for (unsigned list = 0; list < LISTS; list++) {
        struct merging all = {arena_alloc(arena, places * sizeof *all.rows), arena_alloc(arena, places * sizeof *all.hashes), 0};
        for (unsigned i = 0; i < count * WINDOWS; i++)
            merge_table(&all, &copies[i].tables[list / TOP_MEASURES][list % TOP_MEASURES], arena);
        qsort(all.rows, all.count, sizeof *all.rows, by_count);
        lists->by[list / TOP_MEASURES][list % TOP_MEASURES] = (struct top_list){all.rows, all.count < rows_max ? all.count : rows_max};
    }
    free(copies);
}
