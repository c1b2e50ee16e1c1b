#include "cache_rig.h"

#include "cache/purge.h"

enum { SLICE = 65536, WHOLE = 10 * SLICE };

#define PART(first, last, length) "ETag: \"a\"\r\nContent-Range: bytes " #first "-" #last "/" #length "\r\n"

static struct rig rig;

static void setup(void)
{
    rig = rig_new(4 * RIG_MIB, RIG_MIB, 4);
}

static void teardown(void)
{
    rig_free(&rig);
}

TestSuite(fill_slice, .init = setup, .fini = teardown);

/* As ask_get, for the slice at `first`. */
static enum lookup_outcome ask_slice(struct ask *ask, const char *path, uint64_t first)
{
    *ask = (struct ask){.reader_waker = {{count_wake}, 0}, .fill_waker = {{count_wake}, 0}};
    parse_fields(&rig, &ask->fields, "");
    ask->lookup = (struct lookup){
        .key = rig_key(&rig, path),
        .method = METHOD_GET,
        .fields = &ask->fields,
        .rules = &rig.rules,
        .now = rig.now,
        .visitor = rig.visitor,
        .slice = {first, first + SLICE},
        .reader_waker = &ask->reader_waker.waker,
    };
    cache_lookup(rig.cache, &ask->lookup, &ask->reader);
    if (ask->lookup.fill != NULL)
        fill_set_waker(ask->lookup.fill, &ask->fill_waker.waker);
    return ask->lookup.outcome;
}

/* The answer to what `ask` has opened; its fill may become that of the slice. */
static enum error answer_slice(struct ask *ask, unsigned status, const char *fields, uint64_t length)
{
    struct headers headers;
    parse_fields(&rig, &headers, fields);
    const struct origin_head head = {
        .status = status,
        .reason = BYTES("Reason"),
        .fields = &headers,
        .length_known = true,
        .length = length,
        .request_time = rig.now,
        .response_time = rig.now,
    };
    return fill_set_slice(&ask->lookup.fill, &head);
}

/* The slice at `first` of what `head` reads: its reader in `ask`, and its fill, if it is to be fetched. */
static enum lookup_outcome open_slice(const struct ask *head, struct ask *ask, uint64_t first)
{
    *ask = (struct ask){.reader_waker = {{count_wake}, 0}, .fill_waker = {{count_wake}, 0}};
    struct slice_lookup lookup = {.slice = {first, first + SLICE}, .waker = &ask->reader_waker.waker};
    cache_open_slice(&head->reader, &lookup, &ask->reader);
    ask->lookup.fill = lookup.fill;
    if (lookup.fill != NULL)
        fill_set_waker(lookup.fill, &ask->fill_waker.waker);
    return lookup.outcome;
}

static void purge(const char *path)
{
    struct cache_key key = rig_key(&rig, path);
    cache_purge(rig.cache, &key, PURGE_HARD, rig.now);
}

/* A head and its slice at 0, both stored. */
static void store_sliced(struct ask *head)
{
    cr_assert_eq(ask_slice(head, "/large", 0), LOOKUP_FILL);
    cr_assert_eq(answer_slice(head, 206, FRESH PART(0, 65535, 655360), SLICE), ERROR_OK);
    cr_assert_eq(answer_body(head, 0, SLICE), SLICE);
    fill_finish(&head->lookup.fill);
    cr_assert_eq(ask_head(head), READER_HEAD_READY);
}

Test(fill_slice, a_part_becomes_a_head_and_the_fill_of_a_slice)
{
    struct ask ask, late, slice;
    cr_assert_eq(ask_slice(&ask, "/large", 0), LOOKUP_FILL);
    cr_assert_eq(ask_slice(&late, "/large", 3 * SLICE), LOOKUP_JOIN);
    struct fill *before = ask.lookup.fill;
    cr_assert_eq(answer_slice(&ask, 206, FRESH PART(0, 65535, 655360), SLICE), ERROR_OK);
    cr_assert_neq(ask.lookup.fill, before);
    struct ask *readers[] = {&ask, &late};
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(ask_head(readers[i]), READER_HEAD_READY);
        cr_assert(readers[i]->view.is_sliced && readers[i]->view.is_complete && readers[i]->view.is_stored);
        cr_assert_eq(readers[i]->view.status, 200);
        cr_assert_eq(readers[i]->view.length, WHOLE);
        cr_assert_not(view_has(readers[i], "Content-Range"));
    }
    cr_assert_eq(open_slice(&ask, &slice, 0), LOOKUP_JOIN);
    cr_assert_eq(answer_body(&ask, 0, SLICE), SLICE);
    fill_finish(&ask.lookup.fill);
    cr_assert_eq(ask_head(&slice), READER_HEAD_READY);
    cr_assert_eq(read_all(&slice), SLICE);
    reader_close(&slice.reader);
    cr_assert_eq(open_slice(&late, &slice, 0), LOOKUP_HIT);
    cr_assert_eq(read_all(&slice), SLICE);
    reader_close(&slice.reader);
    reader_close(&ask.reader);
    reader_close(&late.reader);
}

Test(fill_slice, what_is_missing_is_fetched_by_one_for_all)
{
    struct ask head, first, second;
    store_sliced(&head);
    cr_assert_eq(open_slice(&head, &first, SLICE), LOOKUP_FILL);
    cr_assert_eq(fill_slice(first.lookup.fill).first, SLICE);
    cr_assert_eq(open_slice(&head, &second, SLICE), LOOKUP_JOIN);
    cr_assert_eq(answer_slice(&first, 206, FRESH PART(65536, 131071, 655360), SLICE), ERROR_OK);
    cr_assert_eq(answer_body(&first, 0, SLICE), SLICE);
    fill_finish(&first.lookup.fill);
    struct ask *readers[] = {&first, &second};
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(ask_head(readers[i]), READER_HEAD_READY);
        cr_assert_eq(read_all(readers[i]), SLICE);
        reader_close(&readers[i]->reader);
    }
    reader_close(&head.reader);
}

Test(fill_slice, a_slice_is_there_once_it_is_whole)
{
    struct ask head, slice;
    store_sliced(&head);
    const struct span first = {0, SLICE}, second = {SLICE, 2 * SLICE}, other_size = {0, 2 * SLICE};
    cr_expect(cache_has_slice(&head.reader, first));
    cr_expect_not(cache_has_slice(&head.reader, second));
    cr_expect_not(cache_has_slice(&head.reader, other_size));
    cr_assert_eq(open_slice(&head, &slice, SLICE), LOOKUP_FILL);
    cr_assert_eq(answer_slice(&slice, 206, FRESH PART(65536, 131071, 655360), SLICE), ERROR_OK);
    cr_expect_not(cache_has_slice(&head.reader, second));
    cr_assert_eq(answer_body(&slice, 0, SLICE), SLICE);
    fill_finish(&slice.lookup.fill);
    cr_expect(cache_has_slice(&head.reader, second));
    reader_close(&slice.reader);
    reader_close(&head.reader);
}

Test(fill_slice, what_does_not_belong_ends_the_set)
{
    static const struct {
        const char *what, *fields;
        unsigned status;
        bool stays;
    } cases[] = {
        {"another validator", FRESH "ETag: \"b\"\r\nContent-Range: bytes 65536-131071/655360\r\n", 206, false},
        {"another length", FRESH PART(65536, 131071, 655361), 206, false},
        {"another part", FRESH PART(131072, 196607, 655360), 206, false},
        {"must not be stored", "Cache-Control: no-store\r\n" PART(65536, 131071, 655360), 206, false},
        {"the whole", FRESH "ETag: \"a\"\r\n", 200, false},
        {"a precondition that failed", "", 412, false},
        {"gone", "", 410, false},
        {"an error of the origin", "", 503, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ask head, slice, again;
        store_sliced(&head);
        cr_assert_eq(open_slice(&head, &slice, SLICE), LOOKUP_FILL);
        enum error error = answer_slice(&slice, cases[i].status, cases[i].fields, SLICE);
        cr_expect_eq(error, cases[i].stays ? ERROR_ORIGIN_ERROR : ERROR_CLIENT_CLOSED, "%s", cases[i].what);
        fill_fail(&slice.lookup.fill, error);
        cr_expect_eq(ask_head(&slice), cases[i].stays ? READER_HEAD_FAILED : READER_HEAD_RELEASED, "%s", cases[i].what);
        reader_close(&slice.reader);
        cr_expect_eq(ask_get(&rig, &again, "/large"), cases[i].stays ? LOOKUP_HIT : LOOKUP_FILL, "%s", cases[i].what);
        if (again.lookup.fill != NULL)
            fill_fail(&again.lookup.fill, ERROR_CLIENT_CLOSED);
        reader_close(&again.reader);
        reader_close(&head.reader);
        purge("/large");
    }
}

Test(fill_slice, an_answer_of_no_use_makes_all_readers_ask_again)
{
    static const char *const answers[] = {
        FRESH "Content-Range: bytes 0-65535/655360\r\n",                  /* no validator */
        FRESH "ETag: W/\"a\"\r\nContent-Range: bytes 0-65535/655360\r\n", /* a weak one */
        FRESH "ETag: \"a\"\r\nContent-Range: bytes 0-65535/*\r\n",
        FRESH "ETag: \"a\"\r\n",
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct ask ask, late;
        cr_assert_eq(ask_slice(&ask, "/large", 0), LOOKUP_FILL);
        cr_assert_eq(ask_slice(&late, "/large", 0), LOOKUP_JOIN);
        enum error error = answer_slice(&ask, 206, answers[i], SLICE);
        cr_assert_eq(error, ERROR_CLIENT_CLOSED);
        fill_fail(&ask.lookup.fill, error);
        cr_expect_eq(ask_head(&ask), READER_HEAD_RELEASED);
        cr_expect_eq(ask.view.detail, DETAIL_NO_SLICES);
        cr_expect_eq(ask_head(&late), READER_HEAD_RELEASED);
        reader_close(&ask.reader);
        reader_close(&late.reader);
        cr_expect_eq(rig_stats(&rig).objects, 0);
    }
}

Test(fill_slice, a_part_that_is_all_of_it_is_stored_whole)
{
    struct ask ask, hit;
    cr_assert_eq(ask_slice(&ask, "/small", 0), LOOKUP_FILL);
    cr_assert_eq(answer_slice(&ask, 206, FRESH "Content-Range: bytes 0-999/1000\r\n", 1000), ERROR_OK);
    cr_assert_eq(answer_body(&ask, 0, 1000), 1000);
    fill_finish(&ask.lookup.fill);
    cr_assert_eq(ask_get(&rig, &hit, "/small"), LOOKUP_HIT);
    cr_assert_eq(ask_head(&hit), READER_HEAD_READY);
    cr_assert(!hit.view.is_sliced && hit.view.status == 200 && !view_has(&hit, "Content-Range"));
    reader_close(&hit.reader);
    reader_close(&ask.reader);
}

/* The slice at `first`, begun before anybody reads it. */
static void begin_slice(const struct ask *head, struct ask *ask, uint64_t first)
{
    *ask = (struct ask){.reader_waker = {{count_wake}, 0}, .fill_waker = {{count_wake}, 0}};
    ask->lookup.fill = cache_begin_slice(&head->reader, &(struct slice_lookup){.slice = {first, first + SLICE}});
    if (ask->lookup.fill != NULL)
        fill_set_waker(ask->lookup.fill, &ask->fill_waker.waker);
}

Test(fill_slice, a_slice_that_is_begun_early_is_found_by_its_readers)
{
    struct ask head, early, again, reader;
    store_sliced(&head);
    begin_slice(&head, &again, 0);
    cr_assert_null(again.lookup.fill, "it is stored");
    begin_slice(&head, &early, SLICE);
    cr_assert_not_null(early.lookup.fill);
    begin_slice(&head, &again, SLICE);
    cr_assert_null(again.lookup.fill, "it is on its way");
    cr_assert_eq(answer_slice(&early, 206, FRESH PART(65536, 131071, 655360), SLICE), ERROR_OK);
    cr_assert_eq(answer_body(&early, 0, 1000), 1000);
    cr_assert_eq(open_slice(&head, &reader, SLICE), LOOKUP_JOIN);
    cr_assert_eq(answer_body(&early, 1000, SLICE - 1000), SLICE - 1000);
    fill_finish(&early.lookup.fill);
    cr_assert_eq(ask_head(&reader), READER_HEAD_READY);
    cr_assert_eq(read_all(&reader), SLICE);
    reader_close(&reader.reader);
    cr_assert_eq(open_slice(&head, &reader, SLICE), LOOKUP_HIT);
    reader_close(&reader.reader);
    reader_close(&head.reader);
}

Test(fill_slice, a_slice_that_is_not_needed_any_more_is_withdrawn_unless_others_read_it)
{
    for (unsigned is_read = 0; is_read < 2; is_read++) {
        struct ask head, early, reader, late;
        store_sliced(&head);
        begin_slice(&head, &early, SLICE);
        cr_assert(fill_is_wanted(early.lookup.fill));
        if (is_read)
            cr_assert_eq(open_slice(&head, &reader, SLICE), LOOKUP_JOIN);
        fill_withdraw(early.lookup.fill);
        cr_assert_eq(fill_is_wanted(early.lookup.fill), is_read);
        cr_assert_eq(open_slice(&head, &late, SLICE), is_read ? LOOKUP_JOIN : LOOKUP_FILL, "a new one, if that one was given up");
        if (late.lookup.fill != NULL)
            fill_fail(&late.lookup.fill, ERROR_CLIENT_CLOSED);
        reader_close(&late.reader);
        if (is_read) {
            cr_assert_eq(answer_slice(&early, 206, FRESH PART(65536, 131071, 655360), SLICE), ERROR_OK);
            cr_assert_eq(answer_body(&early, 0, SLICE), SLICE);
            fill_finish(&early.lookup.fill);
            cr_assert_eq(ask_head(&reader), READER_HEAD_READY);
            cr_assert_eq(read_all(&reader), SLICE);
            reader_close(&reader.reader);
        } else {
            fill_fail(&early.lookup.fill, ERROR_CLIENT_CLOSED);
        }
        reader_close(&head.reader);
        purge("/large");
    }
}

Test(fill_slice, no_memory_leaves_nothing_behind)
{
    struct ask ask;
    for (unsigned pages = 0; pages < 3; pages++) {
        struct extent held[200];
        unsigned count = 0;
        while (count < 200 && !extent_is_none(held[count] = slab_alloc(rig.slab, SLAB_PAGE_BYTES, 0)))
            count++;
        for (unsigned i = 0; i < pages && count > 0; i++)
            slab_release(rig.slab, held[--count]);
        cr_assert_eq(ask_slice(&ask, "/large", 0), LOOKUP_FILL);
        enum error error = answer_slice(&ask, 206, FRESH PART(0, 65535, 655360), SLICE);
        fill_fail(&ask.lookup.fill, error == ERROR_OK ? ERROR_ORIGIN_TRUNCATED : error);
        reader_close(&ask.reader);
        while (count > 0)
            slab_release(rig.slab, held[--count]);
        purge("/large");
    }
}
