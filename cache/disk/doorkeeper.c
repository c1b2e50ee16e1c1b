/* See doorkeeper.h. */
#include "cache/disk/doorkeeper.h"

#include <stdlib.h>
#include <string.h>

typedef uint32_t doorkeeper_set[DOORKEEPER_WAYS]; /* 0: none */

struct doorkeeper {
    uint64_t sets_count;
    doorkeeper_set sets[];
};

struct doorkeeper *doorkeeper_new(uint64_t names)
{
    uint64_t sets = names / DOORKEEPER_WAYS;
    sets = sets < DOORKEEPER_SETS_MIN ? DOORKEEPER_SETS_MIN : sets;
    struct doorkeeper *doorkeeper = calloc(1, sizeof *doorkeeper + sets * sizeof *doorkeeper->sets);
    if (doorkeeper == NULL)
        abort();
    doorkeeper->sets_count = sets;
    return doorkeeper;
}

void doorkeeper_free(struct doorkeeper **doorkeeper)
{
    free(*doorkeeper);
    *doorkeeper = NULL;
}

bool doorkeeper_ask(struct doorkeeper *doorkeeper, uint64_t hash)
{
    uint32_t *set = doorkeeper->sets[hash % doorkeeper->sets_count];
    uint32_t print = (uint32_t)(hash >> 32) | 1;
    unsigned way = 0;
    while (way < DOORKEEPER_WAYS - 1 && set[way] != print)
        way++;
    bool is_known = set[way] == print;
    memmove(set + 1, set, way * sizeof *set);
    set[0] = print;
    return is_known;
}
