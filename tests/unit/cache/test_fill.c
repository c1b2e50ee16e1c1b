/* Fills: what is kept of a head, how a body is laid out, windows, memory, the end. */
#include "cache_rig.h"

static struct rig rig;

static void setup(void)
{
    rig = rig_new(4 * RIG_MIB, 1 * RIG_MIB, 4);
}

static void teardown(void)
{
    rig_free(&rig);
}

TestSuite(fill, .init = setup, .fini = teardown);

static void close_all(struct ask *ask)
{
    if (ask->lookup.fill != NULL)
        fill_fail(&ask->lookup.fill, ERROR_ORIGIN_CLOSED);
    reader_close(&ask->reader);
}

static struct bytes head_of(const char *fields, int64_t length, struct ask *ask)
{
    ask_get(&rig, ask, "/head");
    cr_assert_eq(answer_head(&rig, ask, 200, fields, length), ERROR_OK);
    cr_assert_eq(ask_head(ask), READER_HEAD_READY);
    return ask->view.fields;
}

Test(fill, head_is_ready_to_send)
{
    struct ask ask;
    struct bytes fields = head_of("Date: Tue, 14 Nov 2023 22:13:20 GMT\r\nX-A: 1\r\n" FRESH "X-A: 2\r\n", 3, &ask);
    cr_assert(bytes_equal(fields, BYTES("Date: Tue, 14 Nov 2023 22:13:20 GMT\r\nX-A: 1\r\nCache-Control: max-age=60\r\nX-A: 2\r\n")));
    cr_assert(bytes_equal(ask.view.status_line, BYTES("HTTP/1.1 200 Reason\r\n")));
    close_all(&ask);
}

static struct bytes stored_status_line(unsigned status, const char *reason, struct ask *ask)
{
    char path[64];
    struct headers headers;
    parse_fields(&rig, &headers, FRESH);
    const struct origin_head head = {.status = status, .reason = bytes_from_string(reason), .fields = &headers, .length_known = true};
    snprintf(path, sizeof path, "/%u-%s", status, reason);
    ask_get(&rig, ask, path);
    cr_assert_eq(fill_set_head(ask->lookup.fill, &head), ERROR_OK);
    cr_assert_eq(ask_head(ask), READER_HEAD_READY);
    cr_assert_eq(ask->view.status, status);
    cr_assert(bytes_starts_with(ask->view.fields, BYTES(FRESH)));
    return ask->view.status_line;
}

Test(fill, status_line_is_kept_where_it_is_not_the_usual_one)
{
    static const struct {
        unsigned status;
        const char *reason, *kept;
    } cases[] = {
        {200, "OK", ""},
        {404, "Not Found", ""},
        {200, "Fine", "HTTP/1.1 200 Fine\r\n"},
        {200, "ok", "HTTP/1.1 200 ok\r\n"},
        {200, "", "HTTP/1.1 200 \r\n"},
        {404, "OK", "HTTP/1.1 404 OK\r\n"},
        {299, "", "HTTP/1.1 299 \r\n"},
        {299, "Odd", "HTTP/1.1 299 Odd\r\n"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ask ask;
        struct bytes line = stored_status_line(cases[i].status, cases[i].reason, &ask);
        cr_expect(bytes_equal(line, bytes_from_string(cases[i].kept)), "%u: %.*s", i, BYTES_FMT(line));
        close_all(&ask);
    }
}

Test(fill, hop_by_hop_framing_and_age_are_left_out)
{
    struct ask ask;
    head_of("Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTransfer-Encoding: chunked\r\nAge: 7\r\nTE: trailers\r\nX-Keep: "
            "1\r\n" FRESH,
            3, &ask);
    cr_assert(view_has(&ask, "X-Keep: 1\r\n"));
    static const char *const out[] = {"Connection", "X-Hop", "Keep-Alive", "Transfer-Encoding", "Age", "TE:", "Content-Length"};
    for (unsigned i = 0; i < sizeof out / sizeof *out; i++)
        cr_assert_not(view_has(&ask, out[i]), "%s", out[i]);
    cr_assert_geq(ask.view.meta.corrected_initial_age_s, 7, "Age counts all the same");
    close_all(&ask);
}

Test(fill, content_length_is_told_by_the_view_and_not_the_head)
{
    struct ask ask;
    head_of("Content-Length: 3\r\n" FRESH, 3, &ask);
    cr_assert_not(view_has(&ask, "Content-Length"));
    cr_assert(ask.view.length_known);
    cr_assert_eq(ask.view.length, 3);
    close_all(&ask);
}

Test(fill, answer_to_head_keeps_its_content_length)
{
    struct ask ask;
    cr_assert_eq(ask_with(&rig, &ask, METHOD_HEAD, "/a", "", false), LOOKUP_PASS);
    cr_assert_eq(ask.lookup.detail, DETAIL_HEAD_MISS);
    answer_head(&rig, &ask, 200, "Content-Length: 300\r\n" FRESH, 300);
    fill_finish(&ask.lookup.fill);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert(view_has(&ask, "Content-Length: 300\r\n"));
    cr_assert_eq(read_all(&ask), 0);
    reader_close(&ask.reader);
    cr_assert_eq(rig_stats(&rig).objects, 0, "it has no body to store");
}

Test(fill, missing_date_is_added)
{
    struct ask ask;
    head_of(FRESH, 0, &ask);
    cr_assert(view_has(&ask, "Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"));
    close_all(&ask);
}

Test(fill, head_too_large_for_a_page_is_refused)
{
    static char fields[SLAB_PAGE_BYTES + 100] = "X-Long: ";
    memset(fields + 8, 'x', SLAB_PAGE_BYTES);
    strcpy(fields + 8 + SLAB_PAGE_BYTES, "\r\n");
    struct ask ask;
    ask_get(&rig, &ask, "/a");
    cr_assert_eq(answer_head(&rig, &ask, 200, fields, 0), ERROR_ORIGIN_HEADER_TOO_LARGE);
    close_all(&ask);
}

static const char *long_path(void)
{
    static char path[2000];
    memset(path, 'p', sizeof path - 1);
    path[0] = '/';
    return path;
}

/* `fields` and a line of `count` bytes besides. */
static const char *with_long_line(const char *fields, size_t count)
{
    char *line = arena_alloc(&rig.arena, count + 1);
    memset(line, 'x', count);
    line[count] = '\0';
    return arena_string(&rig.arena, arena_printf(&rig.arena, "%sX-Long: %s\r\n", fields, line));
}

/* What the one who asked was given, as the fetch of this very request. */
static void expect_passed(struct ask *ask, enum cache_detail detail, uint64_t length)
{
    cr_assert_eq(ask_head(ask), READER_HEAD_READY);
    cr_assert_not(ask->view.is_stored);
    cr_assert_eq(ask->view.detail, detail, "%s", detail_word(ask->view.detail));
    cr_assert(view_has(ask, "X-Long: xxx"));
    cr_assert_eq(read_all(ask), length);
    close_all(ask);
}

Test(fill, head_too_large_beside_its_url_is_passed)
{
    static const int64_t lengths[] = {10, 100000, LENGTH_UNKNOWN};
    for (unsigned i = 0; i < 3; i++) {
        struct ask first, waiter, next;
        uint64_t length = lengths[i] == LENGTH_UNKNOWN ? 50000 : (uint64_t)lengths[i];
        const char *path = arena_string(&rig.arena, arena_printf(&rig.arena, "/%u%s", i, long_path()));
        rig.rules.hit_for_miss_s = 100;
        ask_get(&rig, &first, path);
        cr_assert_eq(ask_get(&rig, &waiter, path), LOOKUP_JOIN);
        cr_assert_eq(answer_head(&rig, &first, 200, with_long_line(FRESH "Vary: X-Kind\r\nSurrogate-Key: a b\r\n", 64000), lengths[i]),
                     ERROR_OK);
        answer_body(&first, 0, length);
        fill_finish(&first.lookup.fill);
        cr_assert_eq(ask_head(&waiter), READER_HEAD_RELEASED);
        close_all(&waiter);
        expect_passed(&first, DETAIL_HEAD_TOO_LARGE, length);
        cr_assert_eq(ask_get(&rig, &next, path), LOOKUP_PASS);
        cr_assert_eq(next.lookup.detail, DETAIL_HIT_FOR_MISS);
        answer(&rig, &next, with_long_line(FRESH, 64000), 10);
        expect_passed(&next, DETAIL_HEAD_TOO_LARGE, 10);
        cr_assert_eq(ask_get(&rig, &next, path), LOOKUP_PASS, "the next one too");
        close_all(&next);
    }
    cr_assert_eq(rig_stats(&rig).objects, 0);
}

Test(fill, what_passes_anyway_needs_no_room_for_its_url)
{
    struct ask ask;
    static const enum method methods[] = {METHOD_HEAD, METHOD_POST, METHOD_GET};
    for (unsigned i = 0; i < 3; i++) {
        ask_with(&rig, &ask, methods[i], long_path(), "", false);
        const char *control = methods[i] == METHOD_GET ? "Cache-Control: no-store\r\n" : FRESH;
        cr_assert_eq(answer_head(&rig, &ask, 200, with_long_line(control, 64000), 0), ERROR_OK);
        fill_finish(&ask.lookup.fill);
        cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
        cr_assert(view_has(&ask, "X-Long: xxx"));
        close_all(&ask);
    }
}

Test(fill, long_fields_that_vary_names_concern_this_request_alone)
{
    struct ask ask, other;
    const char *fields = with_long_line(FRESH "Vary: X-Long\r\n", 40000);
    rig.rules.hit_for_miss_s = 100;
    ask_with(&rig, &ask, METHOD_GET, "/a", with_long_line("", 30000), false);
    answer(&rig, &ask, fields, 10);
    expect_passed(&ask, DETAIL_VARY_TOO_LARGE, 10);
    cr_assert_eq(ask_with(&rig, &other, METHOD_GET, "/a", "X-Long: short\r\n", false), LOOKUP_FILL, "and are no reason to let others pass");
    answer(&rig, &other, fields, 10);
    close_all(&other);
    cr_assert_eq(ask_with(&rig, &other, METHOD_GET, "/a", "X-Long: short\r\n", false), LOOKUP_HIT);
    close_all(&other);
    cr_assert_eq(ask_with(&rig, &ask, METHOD_GET, "/a", with_long_line("", 30000), false), LOOKUP_FILL);
    answer(&rig, &ask, fields, 10);
    expect_passed(&ask, DETAIL_VARY_TOO_LARGE, 10);
}

#define ETAG "ETag: \"1\"\r\n"

/* A stored response that is stale by now is confirmed, with so long a field besides. */
static void confirm(const char *path, size_t stored_line, uint64_t length, size_t line, struct ask *ask, struct ask *waiter)
{
    rig.rules.hit_for_miss_s = 100;
    store(&rig, path, "", with_long_line(FRESH ETAG, stored_line), length);
    rig.now.s += 1000;
    cr_assert_eq(ask_get(&rig, ask, path), LOOKUP_FILL);
    cr_assert_eq(ask_get(&rig, waiter, path), LOOKUP_JOIN);
    const char *other = strchr(with_long_line("", line), 'L');
    answer_head(&rig, ask, 304, arena_string(&rig.arena, arena_printf(&rig.arena, "X-Other-%s", other)), 0);
    cr_assert_eq(ask_head(waiter), READER_HEAD_RELEASED);
    close_all(waiter);
}

Test(fill, confirmed_response_that_outgrows_its_page_is_given_once_more)
{
    struct ask ask, waiter, next;
    confirm(long_path(), 100, 20000, 64000, &ask, &waiter);
    expect_passed(&ask, DETAIL_HEAD_TOO_LARGE, 20000);
    cr_assert_eq(ask_get(&rig, &next, long_path()), LOOKUP_PASS, "it can be kept neither as it is now nor as it was");
    close_all(&next);
    cr_assert_eq(rig_stats(&rig).objects, 0);
}

/* Two heads may be larger than what an origin may send as one; and a small body has its place behind the head. */
Test(fill, confirmed_response_that_cannot_be_put_together_is_asked_for_as_a_whole)
{
    static const struct {
        size_t stored_line, line;
        uint64_t length;
    } cases[] = {{40000, 40000, 100000}, {100, 60000, 10000}};
    for (unsigned i = 0; i < 2; i++) {
        struct ask ask, waiter, whole;
        confirm("/a", cases[i].stored_line, cases[i].length, cases[i].line, &ask, &waiter);
        cr_assert_eq(ask_head(&ask), READER_HEAD_RELEASED);
        cr_assert_eq(ask.view.detail, DETAIL_HEAD_TOO_LARGE);
        close_all(&ask);
        cr_assert_eq(ask_get(&rig, &whole, "/a"), LOOKUP_FILL);
        cr_assert_null(fill_stale(whole.lookup.fill));
        close_all(&whole);
    }
}

Test(fill, head_of_more_than_a_chunk_is_kept)
{
    static char fields[40100] = FRESH "X-Long: ";
    size_t start = strlen(fields);
    memset(fields + start, 'x', 40000);
    strcpy(fields + start + 40000, "\r\n");
    store(&rig, "/a", "", fields, 50000);
    struct ask ask;
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_HIT);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_gt(ask.view.fields.len, 40000);
    cr_assert_eq(read_all(&ask), 50000);
    reader_close(&ask.reader);
}

Test(fill, bodies_of_all_sizes_come_back)
{
    static const uint64_t sizes[] = {0, 1, 100, 16000, 16383, 16384, 16385, 65535, 65536, 65537, 131072, 200000, 300001};
    for (unsigned known = 0; known < 2; known++) {
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct ask ask, again;
            const char *path = arena_string(&rig.arena, arena_printf(&rig.arena, "/%u/%u", known, i));
            ask_get(&rig, &ask, path);
            cr_assert_eq(answer_head(&rig, &ask, 200, FRESH, known ? (int64_t)sizes[i] : LENGTH_UNKNOWN), ERROR_OK);
            cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
            cr_assert_eq(ask.view.length_known, known);
            for (uint64_t at = 0; at < sizes[i]; at += 7001)
                answer_body(&ask, at, sizes[i] - at < 7001 ? sizes[i] - at : 7001);
            fill_finish(&ask.lookup.fill);
            cr_assert_eq(read_all(&ask), sizes[i]);
            reader_close(&ask.reader);
            cr_assert_eq(ask_get(&rig, &again, path), LOOKUP_HIT);
            cr_assert_eq(ask_head(&again), READER_HEAD_READY);
            cr_assert(again.view.length_known, "known at the end");
            cr_assert_eq(again.view.length, sizes[i]);
            cr_assert_eq(read_all(&again), sizes[i]);
            reader_close(&again.reader);
        }
    }
}

Test(fill, small_body_lies_in_one_chunk_with_its_head)
{
    store(&rig, "/a", "", FRESH, 2000);
    struct cache_stats stats = rig_stats(&rig);
    cr_assert_lt(stats.object_bytes, 2000 + 400);
    cr_assert_eq(stats.object_bytes, stats.slab.allocated);
}

static uint64_t bytes_of_unknown_length(uint64_t length, bool has_reader)
{
    struct ask ask;
    struct cache_key key = rig_key(&rig, "/a");
    cache_purge(rig.cache, &key, PURGE_HARD, rig.now);
    ask_get(&rig, &ask, "/a");
    answer_head(&rig, &ask, 200, FRESH, LENGTH_UNKNOWN);
    answer_body(&ask, 0, length);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    struct iovec iov;
    int count = 1;
    cr_assert_eq(reader_peek(&ask.reader, &iov, &count, 10), READER_DATA, "a reader is looking at it");
    if (!has_reader)
        reader_close(&ask.reader);
    fill_finish(&ask.lookup.fill);
    if (has_reader) {
        cr_assert_eq(*(char *)iov.iov_base, body_byte(0));
        cr_assert_eq(read_all(&ask), length);
    }
    reader_close(&ask.reader);
    struct cache_stats stats = rig_stats(&rig);
    cr_assert_eq(stats.object_bytes, stats.slab.allocated);
    return stats.slab.allocated;
}

Test(fill, small_body_of_unknown_length_is_trimmed_to_one_chunk)
{
    cr_assert_lt(bytes_of_unknown_length(2000, false), 2000 + 400);
    cr_assert_lt(bytes_of_unknown_length(2000, true), 2000 + 400);
}

Test(fill, tail_of_unknown_length_is_trimmed)
{
    cr_assert_lt(bytes_of_unknown_length(65536 + 65536 + 1000, false), 65536 + 65536 + 1000 + 600);
    cr_assert_lt(bytes_of_unknown_length(65536 + 65536 + 1000, true), 65536 + 65536 + 1000 + 600);
    cr_assert_lt(bytes_of_unknown_length(32768 + 1000, false), 32768 + 1000 + 600);
}

Test(fill, trimmed_tail_stays_for_who_is_sending_it)
{
    struct ask ask;
    struct iovec iov;
    int count = 1;
    ask_get(&rig, &ask, "/a");
    answer_head(&rig, &ask, 200, FRESH, LENGTH_UNKNOWN);
    answer_body(&ask, 0, 65536 + 1000);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    reader_set_range(&ask.reader, 65536, UINT64_MAX);
    cr_assert_eq(reader_peek(&ask.reader, &iov, &count, SIZE_MAX), READER_DATA);
    cr_assert_eq(iov.iov_len, 1000);
    fill_finish(&ask.lookup.fill);
    store(&rig, "/b", "", FRESH "X-Overwrite: 1\r\n", 300000);
    for (size_t i = 0; i < iov.iov_len; i++)
        cr_assert_eq(((char *)iov.iov_base)[i], body_byte(65536 + i));
    reader_close(&ask.reader);
    struct cache_stats stats = rig_stats(&rig);
    cr_assert_eq(stats.object_bytes, stats.slab.allocated, "and goes with the last of them");
}

Test(fill, room_reserved_for_nothing_is_given_back)
{
    struct ask ask;
    struct fill_space space;
    ask_get(&rig, &ask, "/a");
    answer_head(&rig, &ask, 200, FRESH, LENGTH_UNKNOWN);
    answer_body(&ask, 0, 65536);
    cr_assert_eq(fill_reserve(ask.lookup.fill, &space), FILL_ROOM);
    fill_commit(ask.lookup.fill, 0);
    fill_finish(&ask.lookup.fill);
    reader_close(&ask.reader);
    cr_assert_lt(rig_stats(&rig).slab.allocated, 65536 + 600);
}

Test(fill, reserved_room_stays_until_committed)
{
    struct ask ask;
    struct fill_space a, b;
    ask_get(&rig, &ask, "/a");
    answer_head(&rig, &ask, 200, FRESH, 100000);
    cr_assert_eq(fill_reserve(ask.lookup.fill, &a), FILL_ROOM);
    cr_assert_eq(fill_reserve(ask.lookup.fill, &b), FILL_ROOM);
    cr_assert_eq(a.at, b.at);
    cr_assert_eq(a.capacity, 65536);
    struct extent extent = {(uint32_t)(a.slab_offset / SLAB_UNIT_BYTES), 1};
    cr_assert_eq(slab_at(rig.slab, extent) + a.slab_offset % SLAB_UNIT_BYTES, a.at, "the offset names the same place");
    fill_commit(ask.lookup.fill, 0);
    close_all(&ask);
}

Test(fill, truncated_body_is_not_stored_and_its_readers_see_it)
{
    struct ask ask, again;
    ask_get(&rig, &ask, "/a");
    answer_head(&rig, &ask, 200, FRESH, 1000);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    answer_body(&ask, 0, 999);
    fill_finish(&ask.lookup.fill);
    enum reader_state state;
    cr_assert_eq(read_body(&ask, UINT64_MAX, &state), 999);
    cr_assert_eq(state, READER_FAILED);
    reader_close(&ask.reader);
    cr_assert_eq(ask_get(&rig, &again, "/a"), LOOKUP_FILL);
    close_all(&again);
}

Test(fill, failure_before_the_head_is_every_readers_error)
{
    struct ask first, second;
    ask_get(&rig, &first, "/a");
    ask_get(&rig, &second, "/a");
    cr_assert_eq(ask_head(&second), READER_HEAD_WAIT);
    fill_fail(&first.lookup.fill, ERROR_ORIGIN_FIRST_BYTE_TIMEOUT);
    cr_assert_eq(second.reader_waker.count, 1);
    cr_assert_eq(ask_head(&first), READER_HEAD_FAILED);
    cr_assert_eq(ask_head(&second), READER_HEAD_FAILED);
    cr_assert_eq(second.error, ERROR_ORIGIN_FIRST_BYTE_TIMEOUT);
    reader_close(&first.reader);
    reader_close(&second.reader);
}

Test(fill, failure_after_the_head_is_an_error_to_who_had_not_asked_for_it_yet)
{
    struct ask first, second;
    ask_get(&rig, &first, "/a");
    ask_get(&rig, &second, "/a");
    answer_head(&rig, &first, 200, FRESH, 1000);
    cr_assert_eq(ask_head(&first), READER_HEAD_READY);
    fill_fail(&first.lookup.fill, ERROR_ORIGIN_READ_TIMEOUT);
    cr_assert_eq(ask_head(&second), READER_HEAD_FAILED);
    enum reader_state state;
    read_body(&first, 1, &state);
    cr_assert_eq(state, READER_FAILED);
    reader_close(&first.reader);
    reader_close(&second.reader);
}

/* ---- private fills and their window ---- */

Test(fill, private_fill_holds_no_more_than_its_window)
{
    static struct ask ask; /* its wakers must not move */
    ask_with(&rig, &ask, METHOD_POST, "/a", "", false);
    answer_head(&rig, &ask, 200, "", LENGTH_UNKNOWN);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    cr_assert_eq(answer_body(&ask, 0, 10 * RIG_MIB), FILL_WINDOW_BYTES);
    uint64_t most = rig_stats(&rig).slab.allocated, written = FILL_WINDOW_BYTES;
    cr_assert_leq(most, FILL_WINDOW_BYTES + 1024);
    enum reader_state state;
    while (written < 3 * RIG_MIB) {
        ask.fill_waker.count = 0;
        cr_assert_eq(read_body(&ask, 30000, &state), 30000);
        cr_assert_eq(ask.fill_waker.count, 0, "not for a few bytes");
        cr_assert_eq(read_body(&ask, 50000, &state), 50000);
        cr_assert_eq(ask.fill_waker.count, 1, "once there is room");
        written += answer_body(&ask, written, 10 * RIG_MIB);
        cr_assert_leq(rig_stats(&rig).slab.allocated, FILL_WINDOW_BYTES + BODY_SMALL_BYTES + 1024);
    }
    fill_finish(&ask.lookup.fill);
    read_all(&ask);
    reader_close(&ask.reader);
}

Test(fill, small_private_response_takes_one_chunk)
{
    struct ask ask;
    ask_with(&rig, &ask, METHOD_POST, "/a", "", false);
    answer_head(&rig, &ask, 200, "", 500);
    cr_assert_lt(rig_stats(&rig).slab.allocated, 1000);
    close_all(&ask);
}

Test(fill, private_fill_without_readers_is_unwanted)
{
    static struct ask ask;
    ask_with(&rig, &ask, METHOD_POST, "/a", "", false);
    cr_assert(fill_is_wanted(ask.lookup.fill));
    reader_close(&ask.reader);
    cr_assert_not(fill_is_wanted(ask.lookup.fill));
    cr_assert_eq(ask.fill_waker.count, 1);
    fill_fail(&ask.lookup.fill, ERROR_CLIENT_CLOSED);
}

Test(fill, stored_fill_without_readers_is_wanted)
{
    static struct ask ask;
    ask_get(&rig, &ask, "/a");
    reader_close(&ask.reader);
    cr_assert(fill_is_wanted(ask.lookup.fill));
    cr_assert_eq(ask.fill_waker.count, 0);
    answer(&rig, &ask, FRESH, 10);
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_HIT);
    reader_close(&ask.reader);
}

Test(fill, waker_is_not_called_after_close)
{
    static struct ask first, second;
    ask_get(&rig, &first, "/a");
    ask_get(&rig, &second, "/a");
    ask_head(&second);
    reader_close(&second.reader);
    answer(&rig, &first, FRESH, 10);
    cr_assert_eq(second.reader_waker.count, 0);
    reader_close(&first.reader);
}

Test(fill, too_large_by_its_length_is_private_from_the_head_on)
{
    struct ask first, second;
    ask_get(&rig, &first, "/a");
    ask_get(&rig, &second, "/a");
    answer_head(&rig, &first, 200, FRESH, RIG_MIB + 1);
    cr_assert_eq(fill_disposition(first.lookup.fill), FILL_PRIVATE);
    cr_assert_eq(ask_head(&first), READER_HEAD_READY);
    cr_assert_eq(first.view.detail, DETAIL_TOO_LARGE);
    cr_assert_eq(ask_head(&second), READER_HEAD_RELEASED);
    cr_assert_eq(second.view.detail, DETAIL_TOO_LARGE);
    close_all(&first);
    close_all(&second);
}

Test(fill, as_large_as_allowed_is_stored)
{
    struct ask ask;
    ask_get(&rig, &ask, "/a");
    answer_head(&rig, &ask, 200, FRESH, LENGTH_UNKNOWN);
    cr_assert_eq(answer_body(&ask, 0, RIG_MIB), RIG_MIB);
    cr_assert_eq(fill_disposition(ask.lookup.fill), FILL_STORING);
    fill_finish(&ask.lookup.fill);
    reader_close(&ask.reader);
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_HIT);
    reader_close(&ask.reader);
}

Test(fill, outgrown_fill_becomes_private_without_breaking_its_readers)
{
    static struct ask first, second, late, last;
    enum reader_state state;
    ask_get(&rig, &first, "/a");
    ask_get(&rig, &second, "/a");
    answer_head(&rig, &first, 200, FRESH, LENGTH_UNKNOWN);
    cr_assert_eq(ask_head(&first), READER_HEAD_READY);
    cr_assert_eq(ask_head(&second), READER_HEAD_READY);
    cr_assert_eq(answer_body(&first, 0, RIG_MIB), RIG_MIB);
    cr_assert_eq(ask_get(&rig, &late, "/a"), LOOKUP_JOIN);
    cr_assert_eq(read_body(&second, RIG_MIB, &state), RIG_MIB);
    cr_assert_eq(read_body(&first, RIG_MIB / 2, &state), RIG_MIB / 2);
    uint64_t written = RIG_MIB + answer_body(&first, RIG_MIB, 1);
    cr_assert_eq(fill_disposition(first.lookup.fill), FILL_PRIVATE);
    cr_assert_eq(answer_body(&first, written, RIG_MIB), 0, "the slowest reader is more than a window behind");
    cr_assert_eq(ask_get(&rig, &last, "/a"), LOOKUP_FILL, "unlisted");
    close_all(&last);
    cr_assert_eq(ask_head(&late), READER_HEAD_READY);
    cr_assert_not(late.view.is_stored);
    cr_assert_eq(late.view.detail, DETAIL_TOO_LARGE);
    while (written < 2 * RIG_MIB) {
        read_body(&first, 100000, &state);
        read_body(&second, 100000, &state);
        read_body(&late, 150000, &state);
        written += answer_body(&first, written, 2 * RIG_MIB - written);
    }
    fill_finish(&first.lookup.fill);
    read_all(&first);
    read_all(&second);
    read_all(&late);
    close_all(&first);
    close_all(&second);
    close_all(&late);
}

Test(fill, window_moves_with_the_slowest_of_its_readers)
{
    static struct ask readers[3];
    enum reader_state state;
    for (unsigned i = 0; i < 3; i++)
        ask_get(&rig, &readers[i], "/a");
    cache_purge(rig.cache, &readers[0].lookup.key, PURGE_HARD, rig.now); /* private, for these three */
    answer_head(&rig, &readers[0], 200, FRESH, LENGTH_UNKNOWN);
    for (unsigned i = 0; i < 3; i++)
        cr_assert_eq(ask_head(&readers[i]), READER_HEAD_READY);
    cr_assert_eq(answer_body(&readers[0], 0, RIG_MIB), FILL_WINDOW_BYTES);
    unsigned *wakes = &readers[0].fill_waker.count;
    *wakes = 0;
    read_body(&readers[2], 200000, &state);
    read_body(&readers[1], 100000, &state);
    cr_assert_eq(*wakes, 0);
    read_body(&readers[0], 200000, &state);
    cr_assert_eq(*wakes, 1, "now the slowest is at 100000");
    cr_assert_eq(answer_body(&readers[0], FILL_WINDOW_BYTES, RIG_MIB), 100000);
    read_body(&readers[1], 30000, &state);
    cr_assert_eq(*wakes, 1);
    reader_close(&readers[1].reader);
    cr_assert_eq(*wakes, 2, "the slowest left");
    cr_assert_eq(answer_body(&readers[0], FILL_WINDOW_BYTES + 100000, RIG_MIB), 100000);
    close_all(&readers[0]);
    reader_close(&readers[2].reader);
}

Test(fill, range_ahead_does_not_hold_the_window)
{
    static struct ask ask;
    ask_with(&rig, &ask, METHOD_POST, "/a", "", false);
    answer_head(&rig, &ask, 200, "", 3 * RIG_MIB);
    cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
    reader_set_range(&ask.reader, 2 * RIG_MIB, 2 * RIG_MIB + 10);
    cr_assert_geq(answer_body(&ask, 0, 2 * RIG_MIB + 10), 2 * RIG_MIB + 10);
    cr_assert_eq(read_all(&ask), 10);
    close_all(&ask);
}

static void note_hints(struct ask *ask, const char *fields)
{
    struct headers hints;
    parse_fields(&rig, &hints, fields);
    fill_note_early_hints(ask->lookup.fill, &hints);
}

#define HINTS "Link: </a>\r\nX: 1\r\nSet-Cookie: c=d\r\n"

Test(fill, early_hints_are_kept_behind_what_is_hidden)
{
    struct ask ask;
    rig.rules.early_hints = rig.rules.strip_tags = true;
    for (unsigned with_tags = 0; with_tags < 2; with_tags++) {
        const char *path = with_tags ? "/tags" : "/none";
        cr_assert_eq(ask_get(&rig, &ask, path), LOOKUP_FILL);
        note_hints(&ask, HINTS);
        note_hints(&ask, "content-security-policy: default-src https:\r\n");
        answer(&rig, &ask, with_tags ? FRESH "Surrogate-Key: t\r\n" : FRESH, 10);
        for (unsigned i = 0; i < 2; i++) {
            cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
            cr_expect_not(view_has(&ask, "Link") || view_has(&ask, "103"));
            cr_expect(bytes_equal(ask.view.hidden, with_tags ? BYTES("Surrogate-Key: t\r\n") : BYTES("")));
            cr_expect(bytes_equal(ask.view.early_hints, BYTES("Link: </a>\r\ncontent-security-policy: default-src https:\r\n")));
            cr_expect_eq(read_all(&ask), 10);
            reader_close(&ask.reader);
            if (i == 0)
                cr_assert_eq(ask_get(&rig, &ask, path), LOOKUP_HIT);
        }
    }
}

Test(fill, early_hints_are_not_kept_where_the_site_does_not_want_them_or_the_response_is_not_stored)
{
    struct ask ask;
    for (unsigned i = 0; i < 2; i++) {
        rig.rules.early_hints = i == 1;
        cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_FILL);
        note_hints(&ask, HINTS);
        answer(&rig, &ask, i == 1 ? "Cache-Control: no-store\r\n" : FRESH, 10);
        cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
        cr_expect_eq(ask.view.early_hints.len, 0);
        reader_close(&ask.reader);
        struct cache_key key = rig_key(&rig, "/a");
        cache_purge(rig.cache, &key, PURGE_HARD, rig.now);
    }
}

Test(fill, early_hints_outlive_a_validation)
{
    struct ask ask;
    rig.rules.early_hints = true;
    cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_FILL);
    note_hints(&ask, "Link: </old>\r\n");
    answer(&rig, &ask, "Cache-Control: max-age=60\r\nETag: \"1\"\r\n", 10);
    reader_close(&ask.reader);
    static const char *const expected[] = {"Link: </old>\r\n", "Link: </new>\r\n"};
    for (unsigned i = 0; i < 2; i++) {
        rig.now.s += 61;
        cr_assert_eq(ask_get(&rig, &ask, "/a"), LOOKUP_FILL);
        if (i == 1)
            note_hints(&ask, "Link: </new>\r\n");
        cr_assert_eq(answer_head(&rig, &ask, 304, "ETag: \"1\"\r\n", 0), ERROR_OK);
        cr_assert_eq(ask_head(&ask), READER_HEAD_READY);
        cr_expect(bytes_equal(ask.view.early_hints, bytes_from_string(expected[i])));
        reader_close(&ask.reader);
    }
}
