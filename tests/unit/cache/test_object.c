#include "cache_rig.h"

#include "cache/policy/freshness.h"

#include <signal.h>

static struct rig rig;

static void setup(void)
{
    rig = rig_new(4 * RIG_MIB, RIG_MIB, 8);
}

static void teardown(void)
{
    rig_free(&rig);
}

TestSuite(object, .init = setup, .fini = teardown);

enum { T = RIG_NOW };

static const struct record_parts plain = {
    .meta = {.response_time_s = T,
             .status = 200,
             .lifetime_source = LIFETIME_MAX_AGE,
             .flags = RESPONSE_HAS_DATE | RESPONSE_HAS_VALIDATOR,
             .corrected_initial_age_s = 7,
             .lifetime_s = 60,
             .stale_while_revalidate_s = META_ABSENT,
             .stale_if_error_s = META_ABSENT},
    .stale_since_s = META_ABSENT,
    .length_known = true,
    .body_bytes = 3,
    .status_line_bytes = 17,
};

static const char head_text[] = "HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n";

static struct object *make(struct record_parts parts)
{
    parts.key = BYTES("key");
    parts.head = BYTES(head_text);
    struct object *object = object_new(rig.cache, OBJECT_RESPONSE, &parts);
    cr_assert_not_null(object);
    return object;
}

static void assert_meta(const struct response_meta *a, const struct response_meta *b)
{
    cr_expect_eq(a->response_time_s, b->response_time_s);
    cr_expect_eq(a->status, b->status);
    cr_expect_eq(a->lifetime_source, b->lifetime_source);
    cr_expect_eq(a->flags, b->flags);
    cr_expect_eq(a->corrected_initial_age_s, b->corrected_initial_age_s);
    cr_expect_eq(a->lifetime_s, b->lifetime_s);
    cr_expect_eq(a->stale_while_revalidate_s, b->stale_while_revalidate_s);
    cr_expect_eq(a->stale_if_error_s, b->stale_if_error_s);
}

/* What goes in comes out, and as many bytes are taken as were said. */
static void assert_kept(struct record_parts parts, bool has_more)
{
    struct object *object = make(parts);
    const struct record *record = object_record(rig.cache, object);
    parts.key = BYTES("key");
    parts.head = BYTES(head_text);
    struct record_parts got = record_parts_of(record);
    cr_expect_eq(record->has_more, has_more);
    cr_expect_eq(record_front_bytes(record), record_parts_bytes(&parts));
    cr_expect(record_is_sound(record, record_front_bytes(record)));
    cr_expect_not(record_is_sound(record, record_front_bytes(record) - 1));
    cr_expect_not(record_is_sound(record, record_front_bytes(record) + 1));
    assert_meta(&got.meta, &parts.meta);
    cr_expect_eq(record_length_known(record), parts.length_known);
    cr_expect_eq(got.body_bytes, parts.length_known ? parts.body_bytes : 0);
    cr_expect_eq(got.hidden_bytes, parts.hidden_bytes);
    cr_expect_eq(got.status_line_bytes, parts.status_line_bytes);
    cr_expect_eq(got.tags_count, parts.tags_count);
    cr_expect_eq(got.goes_with_host, parts.goes_with_host);
    cr_expect_eq(got.purge_sequence, parts.purge_sequence);
    cr_expect_eq(got.stale_since_s, parts.stale_since_s, "%ld", (long)got.stale_since_s);
    cr_expect(bytes_equal(got.key, parts.key));
    cr_expect(bytes_equal(got.vary_names, parts.vary_names));
    cr_expect(bytes_equal(got.vary_values, parts.vary_values));
    cr_expect(bytes_equal(got.head, parts.head));
    cr_expect_eq(record_has_vary(record), parts.vary_names.len > 0);
    for (uint32_t i = 0; i < parts.tags_count; i++)
        cr_expect_eq(got.tags[i], parts.tags[i]);
    object_unref(rig.cache, &object);
}

Test(object, usual_record_takes_40_bytes_and_its_texts)
{
    assert_kept(plain, false);
    struct object *object = make(plain);
    cr_assert_eq(record_front_bytes(object_record(rig.cache, object)), 40 + strlen("key") + strlen(head_text));
    object_unref(rig.cache, &object);
}

Test(object, record_keeps_what_few_responses_have)
{
    struct record_parts parts = plain;
    parts.meta.stale_while_revalidate_s = 0;
    assert_kept(parts, true);
    parts = plain;
    parts.meta.stale_if_error_s = INT32_MAX;
    assert_kept(parts, true);
    parts = plain;
    parts.hidden_bytes = 6;
    assert_kept(parts, true);
    parts = plain;
    parts.vary_names = BYTES("accept");
    assert_kept(parts, true);
    parts.vary_values = BYTES("text/html");
    assert_kept(parts, true);
    parts = plain;
    parts.length_known = false;
    parts.body_bytes = 0;
    parts.body_is_apart = true;
    assert_kept(parts, true);
}

Test(object, usual_status_line_is_not_kept)
{
    struct record_parts parts = plain;
    struct response_view view;
    parts.status_line_bytes = 0;
    parts.key = BYTES("key");
    parts.head = BYTES("A: b\r\n");
    struct object *object = object_new(rig.cache, OBJECT_RESPONSE, &parts);
    const struct record *record = object_record(rig.cache, object);
    cr_expect_eq(record_front_bytes(record), 40 + strlen("keyA: b\r\n"));
    cr_expect(record_is_sound(record, record_front_bytes(record)));
    object_view(rig.cache, object, true, &view);
    cr_expect_eq(view.status, 200);
    cr_expect_eq(view.status_line.len, 0);
    cr_expect(bytes_equal(view.fields, BYTES("A: b\r\n")));
    object_unref(rig.cache, &object);
    object = make(plain);
    object_view(rig.cache, object, true, &view);
    cr_expect(bytes_equal(view.status_line, BYTES("HTTP/1.1 200 OK\r\n")));
    cr_expect(bytes_equal(view.fields, BYTES("A: b\r\nC: d\r\n")));
    object_unref(rig.cache, &object);
}

Test(object, record_without_a_status_line_that_it_needs_is_not_sound)
{
    struct record_parts parts = plain;
    parts.status_line_bytes = 0;
    parts.meta.status = 299;
    parts.key = BYTES("key");
    parts.head = BYTES("A: b\r\n");
    struct object *object = object_new(rig.cache, OBJECT_RESPONSE, &parts);
    const struct record *record = object_record(rig.cache, object);
    cr_expect_not(record_is_sound(record, record_front_bytes(record)));
    object_unref(rig.cache, &object);
    parts.head = BYTES(""); /* a selector, or a slice */
    object = object_new(rig.cache, OBJECT_RESPONSE, &parts);
    record = object_record(rig.cache, object);
    cr_expect(record_is_sound(record, record_front_bytes(record)));
    object_unref(rig.cache, &object);
}

Test(object, record_keeps_tags)
{
    uint64_t tags[TAGS_MAX];
    for (unsigned i = 0; i < TAGS_MAX; i++)
        tags[i] = UINT64_MAX - i;
    struct record_parts parts = plain;
    parts.tags = tags;
    parts.goes_with_host = true;
    for (parts.tags_count = 1; parts.tags_count <= TAGS_MAX; parts.tags_count += TAGS_MAX - 1)
        assert_kept(parts, false);
    parts.tags_count = TAGS_MAX;
    parts.vary_names = BYTES("accept");
    assert_kept(parts, true);
}

Test(object, record_keeps_lengths_of_any_size)
{
    static const struct {
        uint64_t bytes;
        bool has_more;
    } cases[] = {{0, false}, {UINT32_MAX, false}, {UINT64_C(1) << 32, true}, {UINT64_MAX, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct record_parts parts = plain;
        parts.body_bytes = cases[i].bytes;
        parts.body_is_apart = true;
        assert_kept(parts, cases[i].has_more);
    }
}

Test(object, record_keeps_times_of_any_century)
{
    static const int64_t times[] = {0, -1, -62135596800, 253402300799, INT64_C(1) << 31, INT64_C(1) << 32, (INT64_C(1) << 32) - 1};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        struct record_parts parts = plain;
        parts.meta.response_time_s = times[i];
        parts.purge_sequence = UINT64_MAX - i;
        assert_kept(parts, false);
        parts.stale_since_s = times[i] + 1 + (int64_t)UINT32_MAX / 2;
        assert_kept(parts, false);
    }
}

Test(object, record_keeps_lifetimes_and_ages_of_136_years)
{
    static const uint32_t seconds[] = {0, INT32_MAX, UINT32_C(1) << 31, UINT32_MAX};
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        struct record_parts parts = plain;
        parts.meta.lifetime_s = seconds[i];
        parts.meta.corrected_initial_age_s = seconds[i];
        parts.meta.status = 999;
        parts.meta.flags = RESPONSE_NO_CACHE | RESPONSE_AUTHORIZED;
        assert_kept(parts, false);
    }
}

Test(object, soft_purges_are_noted_by_their_earliest)
{
    struct object *object = make(plain);
    struct record *record = (struct record *)(uintptr_t)object_record(rig.cache, object);
    struct response_meta meta;
    cr_assert_not(record_meta_now(record, &meta));
    cr_assert_eq(record_stale_since(record), META_ABSENT);
    record_note_stale(record, T + 20);
    cr_assert_eq(record_stale_since(record), T + 20);
    record_note_stale(record, T + 30);
    cr_assert_eq(record_stale_since(record), T + 20);
    cr_assert(record_meta_now(record, &meta));
    cr_assert_eq(meta.lifetime_s, 27, "its age then");
    record_meta(record, &meta);
    cr_assert_eq(meta.lifetime_s, 60, "as it came");
    record_note_stale(record, T + 10);
    cr_assert_eq(record_stale_since(record), T + 10);
    record_set_stale(record, T + 40);
    cr_assert_eq(record_stale_since(record), T + 40);
    record_set_stale(record, META_ABSENT);
    cr_assert_eq(record_stale_since(record), META_ABSENT);
    object_unref(rig.cache, &object);
}

Test(object, soft_purge_that_is_out_of_reach_is_the_nearest)
{
    static const struct {
        int64_t since_s, found_s;
        uint32_t lifetime_s;
    } cases[] = {
        {T - 1, T, 7}, /* our clock was set back: stale from the first moment on, as freshness_end has it */
        {-5, T, 7},
        {T + (int64_t)UINT32_MAX - 1, T + (int64_t)UINT32_MAX - 1, 60},
        {T + (int64_t)UINT32_MAX, T + (int64_t)UINT32_MAX - 1, 60},
        {INT64_C(1) << 39, T + (int64_t)UINT32_MAX - 1, 60},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct object *object = make(plain);
        struct record *record = (struct record *)(uintptr_t)object_record(rig.cache, object);
        struct response_meta meta, same;
        record_note_stale(record, cases[i].since_s);
        cr_expect_eq(record_stale_since(record), cases[i].found_s, "%zu", i);
        cr_expect(record_meta_now(record, &meta));
        cr_expect_eq(meta.lifetime_s, cases[i].lifetime_s);
        record_meta(record, &same);
        freshness_end(&same, (struct wall_seconds){cases[i].since_s});
        cr_expect_eq(same.lifetime_s, meta.lifetime_s, "%zu: no less precise for those who judge", i);
        object_unref(rig.cache, &object);
    }
}

Test(object, length_that_is_known_at_the_end)
{
    static const uint64_t lengths[] = {0, 1000, UINT32_MAX, UINT64_C(1) << 40};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct record_parts parts = plain;
        parts.length_known = false;
        parts.body_is_apart = true;
        struct object *object = make(parts);
        object_set_length(rig.cache, object, lengths[i]);
        const struct record *record = object_record(rig.cache, object);
        cr_expect(record_length_known(record));
        cr_expect_eq(record_body_bytes(record), lengths[i]);
        cr_expect(record_is_sound(record, record_front_bytes(record)));
        object_unref(rig.cache, &object);
    }
}

/* ---- the two sizes -------------------------------------------------------------------------------------------------------------------------- */

static struct object *make_kind(enum object_kind kind, struct record_parts parts)
{
    parts.key = BYTES("key");
    parts.head = BYTES(head_text);
    struct object *object = object_new(rig.cache, kind, &parts);
    cr_assert_not_null(object);
    return object;
}

Test(object, usual_one_is_small_and_what_needs_more_is_large)
{
    struct record_parts apart = plain, variant = plain, slice = plain;
    apart.body_is_apart = true;
    variant.vary_names = BYTES("accept");
    variant.vary_values = BYTES("text/html");
    slice.vary_values = BYTES("0123456789abcdef");
    const struct {
        enum object_kind kind;
        struct record_parts parts;
        bool is_large;
    } cases[] = {
        {OBJECT_RESPONSE, plain, false}, {OBJECT_RESPONSE, apart, true}, {OBJECT_RESPONSE, variant, true},
        {OBJECT_RESPONSE, slice, true},  {OBJECT_SELECTOR, plain, true}, {OBJECT_SLICED, plain, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct object *object = make_kind(cases[i].kind, cases[i].parts);
        cr_expect_eq(object->is_large, cases[i].is_large, "%zu", i);
        cr_expect_eq(cells_in_use(&rig.cache->large_objects), cases[i].is_large);
        cr_expect_eq(cells_in_use(&rig.cache->small_objects), !cases[i].is_large);
        object_unref(rig.cache, &object);
        cr_expect_eq(objects_in_use(rig.cache), 0, "%zu", i);
    }
}

/* Where a large one has its selector and its body, a small one has its neighbour. */
Test(object, small_one_is_asked_for_nothing_that_only_large_ones_have)
{
    struct object *objects[64];
    for (unsigned i = 0; i < 64; i++) {
        objects[i] = make(plain);
        objects[i]->hash = UINT64_MAX;
        objects[i]->older = objects[i]->newer = UINT32_MAX;
        objects[i]->leave = UINT8_MAX;
    }
    for (unsigned i = 0; i < 64; i++) {
        struct iovec piece;
        int count = 1;
        cr_expect_null(object_selector(objects[i]));
        cr_expect_null(object_body(objects[i]));
        cr_expect_eq(object_footprint(objects[i]), object_extent(objects[i]).capacity);
        cr_expect_not(object_is_purged(rig.cache, objects[i]));
        object_body_iov(rig.cache, objects[i], 0, 3, &piece, &count);
        cr_expect(count == 1 && piece.iov_len == 3);
    }
    for (unsigned i = 0; i < 64; i++)
        object_unref(rig.cache, &objects[i]);
    cr_expect_eq(objects_in_use(rig.cache), 0);
}

static struct object *selector_for_test(void)
{
    struct record_parts parts = plain;
    parts.vary_names = BYTES("accept");
    return make_kind(OBJECT_SELECTOR, parts);
}

Test(object, small_one_cannot_be_given_a_selector, .signal = SIGABRT)
{
    object_set_selector(make(plain), selector_for_test());
}

Test(object, small_one_cannot_be_given_a_body, .signal = SIGABRT)
{
    object_set_body(make(plain), body_new_sized(100000));
}

Test(object, small_one_has_no_serial, .signal = SIGABRT)
{
    object_serial(make(plain));
}

Test(object, small_cell_becomes_no_selector, .signal = SIGABRT)
{
    object_adopt(object_reserve(rig.cache, false), OBJECT_SELECTOR, slab_alloc(rig.slab, 100, 0));
}

Test(object, extents_of_all_sizes_are_kept)
{
    struct object object = {0};
    const struct extent extents[] = {{0, SLAB_UNIT_BYTES}, {1, SLAB_CHUNK_MAX_BYTES}, {UINT32_MAX, SLAB_PAGE_BYTES}, {7, 0}};
    for (size_t i = 0; i < sizeof extents / sizeof *extents; i++) {
        object.record_is_lost = i % 2;
        object_set_extent(&object, extents[i]);
        cr_expect_eq(object_extent(&object).unit, extents[i].unit);
        cr_expect_eq(object_extent(&object).capacity, extents[i].capacity);
        cr_expect_eq(object.record_is_lost, i % 2);
    }
}
