/* The streams of a connection that are open or half-closed, by their numbers. It begins with nothing and grows with the streams: most connections have few. */
#ifndef CLIENT_H2_TABLE_H
#define CLIENT_H2_TABLE_H

#include <stdint.h>

/* What a stream has of it. */
struct h2_table_link {
    struct h2_table_link *next; /* of the same bucket */
    int32_t id;
};

/* Zeroed at first. */
struct h2_table {
    struct h2_table_link **buckets;
    uint32_t capacity, count; /* the first: 0 or a power of two */
};

void h2_table_free(struct h2_table *table);

static inline struct h2_table_link **h2_table_bucket(const struct h2_table *table, int32_t id)
{
    return &table->buckets[((uint32_t)id >> 1) & (table->capacity - 1)]; /* a client's are odd */
}

/* NULL: it is not there. */
static inline struct h2_table_link *h2_table_find(const struct h2_table *table, int32_t id)
{
    struct h2_table_link *link = table->count > 0 ? *h2_table_bucket(table, id) : 0;
    while (link && link->id != id)
        link = link->next;
    return link;
}

/* None of that number is there. */
void h2_table_add(struct h2_table *table, struct h2_table_link *link, int32_t id);
/* It is there. */
void h2_table_remove(struct h2_table *table, struct h2_table_link *link);

#endif
