/* What turned out not to be storable is known to the one that takes over, too. */
#include "tests/unit/cache/handover_rig.h"

TestSuite(handover_unstorable, .init = setup, .fini = teardown);

#define PRIVATE "Cache-Control: private\r\nSurrogate-Key: t\r\n"

static void fetch_private(const char *path, const char *fields)
{
    struct ask ask;
    old.rules.hit_for_miss_s = new.rules.hit_for_miss_s = 10;
    cr_assert_eq(ask_with(&old, &ask, METHOD_GET, path, fields, false), LOOKUP_FILL);
    cr_assert_eq(answer_head(&old, &ask, 200, PRIVATE, 0), ERROR_OK);
    fill_finish(&ask.lookup.fill);
    reader_close(&ask.reader);
}

/* In the new one: who asks for it waits for nobody. */
static bool is_known(const char *path, const char *fields)
{
    struct ask ask;
    enum lookup_outcome outcome = ask_with(&new, &ask, METHOD_GET, path, fields, false);
    if (outcome == LOOKUP_PASS)
        cr_assert_eq(ask.lookup.detail, DETAIL_HIT_FOR_MISS);
    close_all(&ask);
    return outcome == LOOKUP_PASS;
}

#define CREDENTIALS "Authorization: x\r\n"

Test(handover_unstorable, what_is_not_storable_is_known_until_its_time)
{
    fetch_private("/a", "");
    fetch_private("/b", CREDENTIALS);
    store(&old, "/stored", "", FRESH, 10);
    cr_assert_eq(hand_over().taken.responses, 1);
    cr_assert(is_known("/a", "") && !is_known("/a", CREDENTIALS));
    cr_assert(is_known("/b", CREDENTIALS) && !is_known("/b", ""));
    cr_assert_not(is_known("/c", ""));
    cr_assert_eq(found("/stored", ""), 10);
    new.now.s += 9;
    cr_assert(is_known("/a", ""));
    new.now.s += 1;
    cr_assert_not(is_known("/a", ""));
}

static void purge_some(struct rig *rig, unsigned how, enum purge_kind kind)
{
    if (how == 0)
        purge(rig, "/a", kind);
    else if (how == 1)
        cache_purge_tag(rig->cache, BYTES("t"), kind, rig->now);
    else if (how == 2)
        cache_purge_host(rig->cache, BYTES("example.com"), kind, rig->now);
    else
        cache_purge_all(rig->cache, kind, rig->now);
}

Test(handover_unstorable, a_purge_of_what_is_not_storable_holds_before_between_and_after)
{
    for (unsigned round = 0; round < 4 * 2 * 3; round++) {
        unsigned how = round % 4, when = round / 4 % 3;
        enum purge_kind kind = round / 12 == 0 ? PURGE_HARD : PURGE_SOFT;
        teardown();
        setup();
        fetch_private("/a", "");
        if (when == 0)
            purge_some(&old, how, kind);
        list_all();
        await_adoption();
        cr_assert_eq(is_known("/a", ""), when != 0);
        if (when == 1)
            purge_some(&new, how, kind);
        adopt_all();
        if (when == 2)
            purge_some(&new, how, kind);
        cr_assert_not(is_known("/a", ""), "%u, %u", how, when);
    }
}

Test(handover_unstorable, a_response_that_may_be_stored_after_all_ends_it)
{
    fetch_private("/a", "");
    hand_over();
    struct ask ask;
    cr_assert_eq(ask_get(&new, &ask, "/a"), LOOKUP_PASS);
    cr_assert_eq(answer_head(&new, &ask, 200, FRESH, 0), ERROR_OK);
    fill_finish(&ask.lookup.fill);
    reader_close(&ask.reader);
    cr_assert_not(is_known("/a", ""));
}

static char *unstorable_at(void)
{
    return list + (head()->entries_end + 63) / 64 * 64;
}

Test(handover_unstorable, a_version_that_does_not_know_what_is_not_storable_hands_over_the_rest)
{
    fetch_private("/a", "");
    store(&old, "/stored", "", FRESH, 10);
    list_all();
    memset(unstorable_at(), 0, 64);
    await_adoption();
    cr_assert_eq(adopt_all().taken.responses, 1);
    cr_assert_not(is_known("/a", ""));
}

Test(handover_unstorable, what_is_not_storable_is_not_believed_when_a_bit_is_another)
{
    enum { BYTES = 2 * 32 }; /* its head and one entry */
    fetch_private("/a", "");
    list_all();
    for (unsigned bit = 0; bit < 8 * BYTES; bit++) {
        unstorable_at()[bit / 8] ^= (char)(1 << bit % 8);
        await_adoption();
        cr_assert_not(is_known("/a", ""), "bit %u", bit);
        unstorable_at()[bit / 8] ^= (char)(1 << bit % 8);
    }
    await_adoption();
    cr_assert(is_known("/a", ""));
}

Test(handover_unstorable, of_what_is_not_storable_as_much_is_listed_as_there_is_room_for)
{
    struct handover_counts counts;
    fetch_private("/a", "");
    fetch_private("/b", "");
    fetch_private("/c", "");
    list_all();
    uint64_t at = (uint64_t)(unstorable_at() - list), all = list_bytes;
    for (unsigned room = 0; room <= 5 * 32; room += 8) {
        teardown();
        setup();
        fetch_private("/a", "");
        fetch_private("/b", "");
        fetch_private("/c", "");
        cache_leave(old.cache, true);
        cr_assert(cache_list(old.cache, list, at + room, &goes_on, &counts));
        for (uint64_t i = at + room; i < all; i++)
            cr_assert_eq(list[i], 0);
        list_bytes = at + room;
        await_adoption();
        list_bytes = all;
        unsigned known = is_known("/a", "") + is_known("/b", "") + is_known("/c", "");
        cr_assert_eq(known, room < 64 ? 0 : room / 32 - 1 < 3 ? room / 32 - 1 : 3, "%u: %u", room, known);
    }
}
