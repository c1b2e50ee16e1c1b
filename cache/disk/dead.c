/* See dead.h. Open addressing; 16 bytes a name, at least half full, and freed when recovery ends. */
#include "cache/disk/dead.h"

#include <stdlib.h>

enum { DEAD_MIN = 1024 };

struct grave {
    uint64_t hash, sequence; /* sequence 0: free */
};

struct dead {
    struct grave *graves;
    uint64_t size, count; /* size: a power of two */
};

static struct grave *new_graves(uint64_t size)
{
    struct grave *graves = calloc(size, sizeof *graves);
    if (graves == NULL)
        abort();
    return graves;
}

struct dead *dead_new(void)
{
    struct dead *dead = malloc(sizeof *dead);
    if (dead == NULL)
        abort();
    *dead = (struct dead){.graves = new_graves(DEAD_MIN), .size = DEAD_MIN};
    return dead;
}

void dead_free(struct dead **dead_pointer)
{
    struct dead *dead = *dead_pointer;
    *dead_pointer = NULL;
    if (dead != NULL)
        free(dead->graves);
    free(dead);
}

static struct grave *grave_of(struct grave *graves, uint64_t size, uint64_t hash)
{
    uint64_t at = hash & (size - 1);
    while (graves[at].sequence != 0 && graves[at].hash != hash)
        at = (at + 1) & (size - 1);
    return &graves[at];
}

static void grow(struct dead *dead)
{
    struct grave *graves = new_graves(dead->size * 2);
    for (uint64_t i = 0; i < dead->size; i++) {
        if (dead->graves[i].sequence != 0)
            *grave_of(graves, dead->size * 2, dead->graves[i].hash) = dead->graves[i];
    }
    free(dead->graves);
    dead->graves = graves;
    dead->size *= 2;
}

void dead_add(struct dead *dead, uint64_t hash, uint64_t sequence)
{
    struct grave *grave = grave_of(dead->graves, dead->size, hash);
    if (grave->sequence == 0 && ++dead->count * 4 > dead->size * 3) {
        grow(dead);
        grave = grave_of(dead->graves, dead->size, hash);
    }
    grave->hash = hash;
    grave->sequence = sequence > grave->sequence ? sequence : grave->sequence;
}

uint64_t dead_find(const struct dead *dead, uint64_t hash)
{
    return grave_of(dead->graves, dead->size, hash)->sequence;
}
