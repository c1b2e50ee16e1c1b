/* See h2_table.h. */
#include "proxy/client/h2_table.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 8 };

void h2_table_free(struct h2_table *table)
{
    free(table->buckets);
    *table = (struct h2_table){.buckets = NULL};
}

static void put(struct h2_table *table, struct h2_table_link *link)
{
    struct h2_table_link **bucket = h2_table_bucket(table, link->id);
    link->next = *bucket;
    *bucket = link;
}

static void grow(struct h2_table *table)
{
    struct h2_table larger = {.capacity = table->capacity ? table->capacity * 2 : FIRST_CAPACITY, .count = table->count};
    larger.buckets = calloc(larger.capacity, sizeof(struct h2_table_link *));
    assert(larger.buckets);
    for (uint32_t i = 0; i < table->capacity; i++) {
        for (struct h2_table_link *link = table->buckets[i], *next; link; link = next) {
            next = link->next;
            put(&larger, link);
        }
    }
    free(table->buckets);
    *table = larger;
}

void h2_table_add(struct h2_table *table, struct h2_table_link *link, int32_t id)
{
    if (table->count == table->capacity)
        grow(table);
    link->id = id;
    put(table, link);
    table->count++;
}

void h2_table_remove(struct h2_table *table, struct h2_table_link *link)
{
    struct h2_table_link **at = h2_table_bucket(table, link->id);
    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    table->count--;
}
