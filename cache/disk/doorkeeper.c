/* See doorkeeper.h. */
#include "cache/disk/doorkeeper.h"

#include <stdlib.h>
#include <string.h>

struct doorkeeper {
    uint32_t sets[DOORKEEPER_SETS][DOORKEEPER_WAYS]; /* 0: none */
};

struct doorkeeper *doorkeeper_new(void)
{
    struct doorkeeper *doorkeeper = calloc(1, sizeof *doorkeeper);
    if (doorkeeper == NULL)
        abort();
    return doorkeeper;
}

void doorkeeper_free(struct doorkeeper **doorkeeper)
{
    free(*doorkeeper);
    *doorkeeper = NULL;
}

bool doorkeeper_ask(struct doorkeeper *doorkeeper, uint64_t hash)
{
    uint32_t *set = doorkeeper->sets[hash >> 8 & (DOORKEEPER_SETS - 1)];
    uint32_t print = (uint32_t)(hash >> 32) | 1;
    unsigned way = 0;
    while (way < DOORKEEPER_WAYS - 1 && set[way] != print)
        way++;
    bool is_known = set[way] == print;
    memmove(set + 1, set, way * sizeof *set);
    set[0] = print;
    return is_known;
}
