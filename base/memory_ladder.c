#include "base/memory_ladder.h"

enum { GROWTH_PERCENT = 80 };

static const unsigned entered_above_percent[MEMORY_LEVELS] = {
    [MEMORY_ENDS_KEEP_ALIVE] = 85, [MEMORY_EVICTS] = 90, [MEMORY_REFUSES_MISSES] = 95, [MEMORY_STOPS_ACCEPTING] = 98};
static const unsigned left_below_percent[MEMORY_LEVELS] = {
    [MEMORY_ENDS_KEEP_ALIVE] = 82, [MEMORY_EVICTS] = 86, [MEMORY_REFUSES_MISSES] = 92, [MEMORY_STOPS_ACCEPTING] = 95};

static uint64_t part_of(uint64_t bytes, unsigned percent)
{
    return bytes / 100 * percent + bytes % 100 * percent / 100;
}

/* The rung for what is used, as seen from `before`. */
static enum memory_level level_for(enum memory_level before, uint64_t used_bytes, uint64_t limit_bytes)
{
    enum memory_level level = MEMORY_PLENTY;
    for (enum memory_level rung = MEMORY_ENDS_KEEP_ALIVE; limit_bytes > 0 && rung < MEMORY_LEVELS; rung++) {
        unsigned percent = rung <= before ? left_below_percent[rung] : entered_above_percent[rung];
        if (used_bytes >= part_of(limit_bytes, percent))
            level = rung;
    }
    return level;
}

enum memory_level memory_ladder_step(struct memory_ladder *ladder, uint64_t used_bytes, uint64_t limit_bytes)
{
    enum memory_level level = level_for(ladder->level, used_bytes, limit_bytes);
    if (level >= ladder->level || limit_bytes == 0) {
        ladder->level = level;
        ladder->calm = 0;
    } else if (++ladder->calm == MEMORY_CALM_LOOKS) {
        ladder->level--;
        ladder->calm = 0;
    }
    return ladder->level;
}

uint64_t memory_for_growth(uint64_t limit_bytes)
{
    return part_of(limit_bytes, GROWTH_PERCENT);
}

uint64_t memory_for_cache(enum memory_level level, uint64_t used_bytes, uint64_t limit_bytes, uint64_t held_bytes)
{
    uint64_t goal = memory_for_growth(limit_bytes);
    if (limit_bytes == 0)
        return UINT64_MAX;
    if (used_bytes <= goal)
        return held_bytes + (goal - used_bytes);
    if (level < MEMORY_EVICTS)
        return held_bytes;
    return held_bytes > used_bytes - goal ? held_bytes - (used_bytes - goal) : 0;
}

uint64_t memory_margin(uint64_t available_bytes)
{
    enum { PART = 8 };
    static const uint64_t most = UINT64_C(1) << 30, least = UINT64_C(16) << 20;
    uint64_t margin = available_bytes / PART;
    margin = margin > most ? most : margin < least ? least : margin;
    return margin < available_bytes ? margin : available_bytes / 2;
}
