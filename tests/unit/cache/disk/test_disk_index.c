#include "cache/disk/disk_index.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* Well spread: what a hash of a name is. */
static uint64_t name(uint64_t number)
{
    uint64_t hash = (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
    hash = (hash ^ hash >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    hash = (hash ^ hash >> 27) * UINT64_C(0x94d049bb133111eb);
    return hash ^ hash >> 31;
}

static struct disk_entry at(uint64_t unit)
{
    return (struct disk_entry){.unit = unit, .size_class = (uint8_t)(unit % 64), .is_lasting = unit % 3 == 0};
}

static void assert_is_at(struct disk_index *index, uint64_t number, uint64_t unit)
{
    struct disk_entry found, expected = at(unit);
    cr_assert(disk_index_find(index, name(number), &found), "%lu is gone", (unsigned long)number);
    cr_assert_eq(found.unit, unit);
    cr_assert_eq(found.size_class, expected.size_class);
    cr_assert_eq(found.is_lasting, expected.is_lasting);
}

Test(disk_index, finds_what_was_put_and_nothing_else)
{
    struct disk_index *index = disk_index_new();
    struct disk_entry entry = at(DISK_INDEX_UNITS_MAX - 1), found;
    cr_assert_not(disk_index_find(index, name(1), &found));
    cr_assert_not(disk_index_put(index, name(1), &entry));
    assert_is_at(index, 1, DISK_INDEX_UNITS_MAX - 1);
    cr_assert_not(disk_index_find(index, name(2), &found));
    cr_assert_eq(disk_index_count(index), 1);
    cr_assert(disk_index_remove(index, name(1)));
    cr_assert_not(disk_index_remove(index, name(1)));
    cr_assert_not(disk_index_find(index, name(1), &found));
    cr_assert_eq(disk_index_count(index), 0);
    disk_index_free(&index);
    cr_assert_null(index);
}

Test(disk_index, what_is_put_replaces_what_has_its_tag)
{
    struct disk_index *index = disk_index_new();
    struct disk_entry first = at(10), second = at(20);
    uint64_t other = name(7) ^ UINT64_C(1) << 63; /* the same in all bits that are kept */
    disk_index_put(index, name(7), &first);
    cr_assert(disk_index_put(index, other, &second));
    assert_is_at(index, 7, 20);
    cr_assert_eq(disk_index_count(index), 1);
    disk_index_free(&index);
}

Test(disk_index, a_hit_is_noted_until_it_is_put_anew)
{
    struct disk_index *index = disk_index_new();
    struct disk_entry entry = at(10), found;
    disk_index_put(index, name(7), &entry);
    cr_assert(disk_index_find(index, name(7), &found) && !found.was_hit);
    cr_assert(disk_index_touch(index, name(7)));
    cr_assert_not(disk_index_touch(index, name(8)));
    cr_assert(disk_index_find(index, name(7), &found) && found.was_hit);
    assert_is_at(index, 7, 10);
    disk_index_put(index, name(7), &entry);
    cr_assert(disk_index_find(index, name(7), &found) && !found.was_hit);
    disk_index_free(&index);
}

Test(disk_index, what_is_new_takes_the_place_of_nothing)
{
    struct disk_index *index = disk_index_new();
    struct disk_entry first = at(10), second = at(20), there;
    cr_assert(disk_index_put_new(index, name(7), &first, &there));
    disk_index_prefetch(index, name(7));
    cr_assert_not(disk_index_put_new(index, name(7), &second, &there));
    cr_assert_eq(there.unit, 10);
    assert_is_at(index, 7, 10);
    cr_assert_eq(disk_index_count(index), 1);
    disk_index_free(&index);
}

Test(disk_index, is_removed_or_moved_only_where_it_is_known_to_lie)
{
    struct disk_index *index = disk_index_new();
    struct disk_entry entry = at(10), other = at(30);
    disk_index_put(index, name(7), &entry);
    cr_assert_not(disk_index_remove_at(index, name(7), 11));
    cr_assert_not(disk_index_move(index, name(7), 11, &other));
    assert_is_at(index, 7, 10);
    cr_assert(disk_index_move(index, name(7), 10, &other));
    assert_is_at(index, 7, 30);
    cr_assert_not(disk_index_move(index, name(8), 10, &other));
    cr_assert(disk_index_remove_at(index, name(7), 30));
    cr_assert_eq(disk_index_count(index), 0);
    disk_index_free(&index);
}

Test(disk_index, a_range_is_removed)
{
    enum { COUNT = 5000 };
    struct disk_index *index = disk_index_new();
    for (uint64_t i = 0; i < COUNT; i++) {
        struct disk_entry entry = at(i);
        disk_index_put(index, name(i), &entry);
    }
    cr_assert_eq(disk_index_remove_range(index, 1000, 3000), 2000);
    cr_assert_eq(disk_index_count(index), COUNT - 2000);
    for (uint64_t i = 0; i < COUNT; i++) {
        struct disk_entry found;
        cr_assert_eq(disk_index_find(index, name(i), &found), i < 1000 || i >= 3000);
    }
    disk_index_free(&index);
}

Test(disk_index, takes_at_most_12_bytes_a_record_whatever_their_number)
{
    struct disk_index *index = disk_index_new();
    uint64_t next = 1000, most = 0, displaced = 0;
    for (uint64_t i = 0; i < 1000 * 1000; i++) {
        struct disk_entry entry = at(i);
        displaced += disk_index_put(index, name(i), &entry); /* one among them has the tag of another */
        if (i + 1 < next)
            continue;
        uint64_t bytes = disk_index_bytes(index);
        cr_assert_leq(bytes, 12 * (i + 1), "%lu bytes for %lu", (unsigned long)bytes, (unsigned long)(i + 1));
        most = bytes * 100 / (i + 1) > most ? bytes * 100 / (i + 1) : most;
        next = next + next / 100;
    }
    printf("disk_index: at most %lu.%02lu bytes a record from 1,000 to 1,000,000\n", (unsigned long)most / 100, (unsigned long)most % 100);
    cr_assert_leq(displaced, 2);
    cr_assert_eq(disk_index_count(index), 1000 * 1000 - displaced);
    for (uint64_t i = 0; i < 1000 * 1000; i++) {
        struct disk_entry found;
        cr_assert(disk_index_find(index, name(i), &found));
        displaced -= found.unit != i;
    }
    cr_assert_eq(displaced, 0);
    disk_index_free(&index);
}

/* Any order of changes, against an array. */
Test(disk_index, is_as_its_model_after_any_changes)
{
    enum { NAMES = 3000, STEPS = 300000 };
    static uint64_t model[NAMES]; /* unit + 1 */
    struct disk_index *index = disk_index_new();
    uint64_t random = 1, count = 0;
    for (uint64_t step = 0; step < STEPS; step++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        uint64_t number = (random >> 33) % NAMES, unit = step;
        struct disk_entry entry = at(unit);
        bool is_there = model[number] != 0;
        switch (random >> 60) {
        default:
            cr_assert_eq(disk_index_put(index, name(number), &entry), is_there);
            model[number] = unit + 1;
            break;
        case 0:
        case 1:
        case 2:
        case 3:
        case 4:
        case 5:
            cr_assert_eq(disk_index_remove(index, name(number)), is_there);
            model[number] = 0;
            break;
        case 6:
            cr_assert_eq(disk_index_move(index, name(number), model[number] - 1, &entry), is_there);
            model[number] = is_there ? unit + 1 : 0;
            break;
        case 7:
            cr_assert_eq(disk_index_remove_at(index, name(number), model[number] - 1), is_there);
            model[number] = 0;
            break;
        }
    }
    for (uint64_t i = 0; i < NAMES; i++) {
        struct disk_entry found;
        cr_assert_eq(disk_index_find(index, name(i), &found), model[i] != 0);
        count += model[i] != 0;
        if (model[i] != 0)
            assert_is_at(index, i, model[i] - 1);
    }
    cr_assert_eq(disk_index_count(index), count);
    disk_index_free(&index);
}
