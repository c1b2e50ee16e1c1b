/* Fetches from a files: origin. The disk helper is the test: files are what it says they are. */
#include "tests/unit/proxy/origin/fetch_bench.h"

#include "proxy/origin/mime.h"

void resolver_client_resolve(struct resolver_client *client, struct resolve_request *request, struct monotonic_ms now)
{
    (void)client, (void)request, (void)now;
}

void resolver_client_cancel(struct resolver_client *client, struct resolve_request *request)
{
    (void)client, (void)request;
}

static struct file {
    const char *path;
    enum file_status status;
    const char *text; /* NULL: a flood of `size` bytes */
    uint64_t inode, size;
    int64_t mtime_ns;
    uint64_t change_at; /* FILE_CHANGED from this offset on; 0: never */
    uint64_t piece_max; /* longest piece; 0: any */
} files[] = {
    {"a.html", FILE_OK, "<p>a", 7, 4, 1000000000000000000, 0, 0},
    {"empty.txt", FILE_OK, "", 8, 0, 1000000000000000000, 0, 0},
    {"dir", FILE_IS_DIRECTORY, NULL, 9, 0, 0, 0, 0},
    {"dir/index.html", FILE_OK, "index", 10, 5, 1000000000000000000, 0, 0},
    {"bare", FILE_IS_DIRECTORY, NULL, 11, 0, 0, 0, 0},
    {"secret", FILE_FORBIDDEN, NULL, 12, 0, 0, 0, 0},
    {"broken", FILE_IO_ERROR, NULL, 13, 0, 0, 0, 0},
    {"large.bin", FILE_OK, NULL, 14, 3000000, 1000000000000000000, 0, 50000},
    {"changes.bin", FILE_OK, NULL, 15, 3000000, 1000000000000000000, 1000000, 0},
    {"digits", FILE_OK, "0123456789", 17, 10, 1000000000000000000, 0, 4},
    {"future", FILE_OK, "x", 16, 1, 9000000000000000000, 0, 0},
    {"", FILE_IS_DIRECTORY, NULL, 1, 0, 0, 0, 0},
};

/* What to do with the next request instead. */
static enum error next_error;
static bool next_loses, hold_back;
static unsigned unsettled; /* so many more lookups find a file that changed just now */
static struct file_request *held;
static unsigned reads;
static uint64_t bytes_asked, ahead_last;

static struct file_request *asked;
static struct mail answer_mail;

static struct file *find(const char *path)
{
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
        if (strcmp(files[i].path, path) == 0)
            return &files[i];
    return NULL;
}

static void read_into(const struct file_request *request, const struct file *file, struct message_file_answer *answer)
{
    uint64_t left = file->size - request->offset, count = request->length < left ? request->length : left;
    if (file->piece_max && count > file->piece_max)
        count = file->piece_max;
    struct extent all = {.unit = (uint32_t)(request->slab_offset / SLAB_UNIT_BYTES), .capacity = 1};
    char *to = slab_at(bench.slab, all) + request->slab_offset % SLAB_UNIT_BYTES;
    for (uint64_t i = 0; i < count; i++)
        to[i] = file->text ? file->text[request->offset + i] : flood_byte(request->offset + i);
    answer->bytes_read = count;
}

static void answer(struct file_request *request)
{
    const struct file *file = find(request->path);
    cr_assert_str_eq(request->root, "/tmp");
    request->error = next_error;
    request->destination_lost = next_loses;
    next_error = ERROR_OK;
    next_loses = false;
    request->answer = (struct message_file_answer){.status = file ? file->status : FILE_MISSING};
    if (file && file->status == FILE_OK && request->error == ERROR_OK) {
        bool same =
            !request->inode || (request->inode == file->inode && request->size == file->size && request->mtime_ns == file->mtime_ns);
        request->answer.inode = file->inode;
        request->answer.size = file->size;
        request->answer.mtime_ns = file->mtime_ns;
        request->answer.is_settled = request->length > 0 || unsettled == 0 || unsettled-- == 0;
        if (!same || (file->change_at && request->offset >= file->change_at))
            request->answer.status = FILE_CHANGED;
        else if (request->length > 0)
            read_into(request, file, &request->answer);
    }
    request->done(request);
}

static void answer_due(struct mail *mail)
{
    (void)mail;
    struct file_request *request = asked;
    asked = NULL;
    if (hold_back)
        held = request;
    else
        answer(request);
}

void disk_client_read(struct disk_client *client, struct file_request *request, struct monotonic_ms now)
{
    (void)client, (void)now;
    cr_assert_null(asked);
    asked = request;
    reads++;
    bytes_asked += request->length;
    ahead_last = request->ahead;
    mail_post(&answer_mail);
}

static void begin_with(const char *more)
{
    mime_load("/nonexistent");
    bench_start("files:/tmp", 0, more);
    mail_init(&answer_mail, bench.loop, answer_due);
}

static void begin(void)
{
    begin_with("");
}

static struct exchange *ask(const char *method, const char *path, const char *fields)
{
    struct exchange *exchange = exchange_start(method, path, fields, NULL);
    exchange_finish(exchange);
    return exchange;
}

static void expect(const char *method, const char *path, unsigned status, const char *field, const char *body)
{
    struct exchange *exchange = ask(method, path, "Host: test\r\n");
    expect_body(exchange, body);
    cr_assert_eq(exchange->status, status, "%s %s: %u", method, path, exchange->status);
    cr_assert_not_null(strstr(exchange->head, field), "no %s in\n%s", field, exchange->head);
    exchange_free(exchange);
}

TestSuite(files_fetch, .init = begin, .fini = bench_stop);

Test(files_fetch, a_file_with_its_fields)
{
    struct exchange *exchange = ask("GET", "/a.html?x", "Host: test\r\n");
    expect_body(exchange, "<p>a");
    cr_assert_not_null(strstr(exchange->head, "HTTP/1.1 200 OK\r\n"));
    cr_assert_not_null(strstr(exchange->head, "Content-Type: text/html\r\n"));
    cr_assert_not_null(strstr(exchange->head, "Last-Modified: Sun, 09 Sep 2001 01:46:40 GMT\r\n"));
    cr_assert_not_null(strstr(exchange->head, "ETag: \"7-4-de0b6b3a7640000\"\r\n"));
    cr_assert_not_null(strstr(exchange->head, "Accept-Ranges: bytes\r\n"));
    cr_assert_null(strstr(exchange->head, "Cache-Control"));
    cr_assert_str_eq(exchange->origin, "files:/tmp");
    exchange_free(exchange);
}

Test(files_fetch, paths_and_what_they_lead_to)
{
    expect("GET", "/empty.txt", 200, "Content-Type: text/plain", "");
    expect("GET", "/dir/", 200, "text/html", "index");
    expect("GET", "/dir?a=b", 301, "Location: /dir/?a=b\r\n", "301 Moved Permanently\n");
    expect("GET", "/bare/", 403, "text/plain", "403 Forbidden\n");
    expect("GET", "/", 403, "text/plain", "403 Forbidden\n");
    expect("GET", "/nothing/", 404, "text/plain", "404 Not Found\n");
    expect("GET", "/nothing", 404, "text/plain", "404 Not Found\n");
    expect("GET", "/a.html/", 404, "text/plain", "404 Not Found\n");
    expect("GET", "/secret", 403, "text/plain", "403 Forbidden\n");
    expect("GET", "/.htaccess", 404, "text/plain", "404 Not Found\n");
    expect("GET", "/../etc/passwd", 400, "text/plain", "400 Bad Request\n");
    expect("GET", "/dir/%2e%2e/a.html", 200, "text/html", "<p>a");
    expect("POST", "/a.html", 405, "Allow: GET, HEAD\r\n", "405 Method Not Allowed\n");
}

Test(files_fetch, head_says_the_length_and_reads_nothing)
{
    reads = 0;
    struct exchange *exchange = exchange_start("HEAD", "/large.bin", "Host: test\r\n", NULL);
    exchange_finish(exchange);
    expect_body(exchange, "");
    cr_assert_eq(exchange->status, 200);
    cr_assert_eq(reads, 1);
    exchange_free(exchange);
}

Test(files_fetch, a_large_file_piece_by_piece)
{
    struct exchange *exchange = ask("GET", "/large.bin", "Host: test\r\n");
    cr_assert_eq(exchange->error, ERROR_OK);
    expect_flood(exchange, 3000000);
    cr_assert_gt(reads, 60);
    exchange_free(exchange);
}

static bool nothing_is_asked(void *context)
{
    static unsigned turns, before;
    (void)context;
    turns = before == reads ? turns + 1 : 0;
    before = reads;
    return turns > 3;
}

Test(files_fetch, a_slow_reader_holds_the_reading_up)
{
    struct exchange *exchange = exchange_start("GET", "/large.bin", "Host: test\r\nAuthorization: x\r\n", NULL);
    exchange->slow = true;
    bench_run_until(nothing_is_asked, NULL);
    cr_assert_leq(reads, 20);
    exchange->slow = false;
    exchange_step(exchange);
    exchange_finish(exchange);
    expect_flood(exchange, 3000000);
    exchange_free(exchange);
}

Test(files_fetch, a_file_that_changes_while_it_is_sent_is_cut)
{
    struct exchange *exchange = ask("GET", "/changes.bin", "Host: test\r\n");
    cr_assert_eq(exchange->error, ERROR_ORIGIN_TRUNCATED);
    cr_assert(exchange->truncated);
    cr_assert_lt(exchange->body_len, 3000000);
    exchange_free(exchange);
}

Test(files_fetch, errors_of_the_disk_and_of_its_helper)
{
    struct exchange *exchange = ask("GET", "/broken", "Host: test\r\n");
    cr_assert_eq(exchange->reader_error, ERROR_DISK);
    exchange_free(exchange);
    next_error = ERROR_HELPER_UNAVAILABLE;
    exchange = ask("GET", "/a.html", "Host: test\r\n");
    cr_assert_eq(exchange->reader_error, ERROR_HELPER_UNAVAILABLE);
    exchange_free(exchange);
    expect("GET", "/a.html", 200, "text/html", "<p>a");
}

static bool is_held(void *context)
{
    (void)context;
    return held != NULL;
}

static bool is_past_head(void *context)
{
    return ((struct exchange *)context)->head_ready && (hold_back = true);
}

Test(files_fetch, a_piece_whose_destination_is_lost_ends_the_response)
{
    struct exchange *exchange = exchange_start("GET", "/large.bin", "Host: test\r\n", NULL);
    bench_run_until(is_past_head, exchange);
    bench_run_until(is_held, NULL);
    cr_assert_gt(held->length, 0);
    hold_back = false;
    next_error = ERROR_HELPER_UNAVAILABLE;
    next_loses = true;
    answer(held);
    exchange_finish(exchange);
    cr_assert(exchange->truncated);
    exchange_free(exchange);
}

Test(files_fetch, who_leaves_while_a_helper_reads_leaves_the_fill_to_it)
{
    struct exchange *exchange = exchange_start("GET", "/large.bin", "Host: test\r\nAuthorization: x\r\n", NULL);
    bench_run_until(is_past_head, exchange);
    bench_run_until(is_held, NULL);
    struct cache_stats cached;
    fetch_detach(&exchange->fetch);
    reader_close(&exchange->reader);
    bench_run_until(nothing_is_asked, NULL);
    cache_stats(bench.cache, &cached);
    cr_assert_eq(cached.fills, 1, "the helper still writes to it");
    answer(held);
    cache_stats(bench.cache, &cached);
    cr_assert_eq(cached.fills, 0);
    exchange_free(exchange);
}

Test(files_fetch, conditions_of_a_passed_request)
{
    static const struct {
        const char *field;
        unsigned status;
    } rows[] = {
        {"If-None-Match: \"7-4-de0b6b3a7640000\"\r\n", 304},
        {"If-None-Match: \"x\", W/\"7-4-de0b6b3a7640000\"\r\n", 304},
        {"If-None-Match: *\r\n", 304},
        {"If-None-Match: \"x\"\r\nIf-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n", 200},
        {"If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT\r\n", 304},
        {"If-Modified-Since: Sun, 09 Sep 2001 01:46:39 GMT\r\n", 200},
        {"If-Modified-Since: yesterday\r\n", 200},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char fields[256], path[32];
        snprintf(fields, sizeof(fields), "Host: test\r\n%s", rows[i].field);
        snprintf(path, sizeof(path), "/a.html?%zu", i);
        struct exchange *exchange = ask("GET", path, fields);
        cr_assert_eq(exchange->status, rows[i].status, "%s: %u", rows[i].field, exchange->status);
        expect_body(exchange, rows[i].status == 304 ? "" : "<p>a");
        exchange_free(exchange);
    }
}

/* Of a request that is passed, or, with `end`, of what the cache asks for. */
Test(files_fetch, ranges)
{
#define TAG "\"11-a-de0b6b3a7640000\""
    static const struct {
        const char *method, *fields;
        unsigned status;
        const char *body, *field;
    } rows[] = {
        {"GET", "Range: bytes=2-6\r\n", 206, "23456", "Content-Range: bytes 2-6/10\r\n"},
        {"GET", "Range: bytes=9-\r\n", 206, "9", "Content-Range: bytes 9-9/10\r\n"},
        {"GET", "Range: bytes=-3\r\n", 206, "789", "Content-Range: bytes 7-9/10\r\n"},
        {"GET", "Range: bytes=0-99\r\n", 206, "0123456789", "Content-Range: bytes 0-9/10\r\n"},
        {"GET", "Range: bytes=10-\r\n", 416, "416 Range Not Satisfiable\n", "Content-Range: bytes */10\r\n"},
        {"GET", "Range: lines=1-2\r\n", 200, "0123456789", "Accept-Ranges"},
        {"GET", "Range: bytes=0-0\r\nRange: bytes=5-5\r\n", 200, "0123456789", "Accept-Ranges"},
        {"GET", "Range: bytes=2-6\r\nIf-Range: " TAG "\r\n", 206, "23456", "ETag: " TAG},
        {"GET", "Range: bytes=2-6\r\nIf-Range: \"x\"\r\n", 200, "0123456789", "ETag"},
        {"GET", "Range: bytes=2-6\r\nIf-Range: Sun, 09 Sep 2001 01:46:40 GMT\r\n", 206, "23456", "ETag"},
        {"GET", "Range: bytes=2-6\r\nIf-Match: " TAG "\r\n", 206, "23456", "ETag"},
        {"GET", "Range: bytes=2-6\r\nIf-Match: \"x\"\r\n", 412, "412 Precondition Failed\n", "text/plain"},
        {"GET", "If-Unmodified-Since: Sun, 09 Sep 2001 01:46:39 GMT\r\n", 412, "412 Precondition Failed\n", "text/plain"},
        {"GET", "Range: bytes=2-6\r\nIf-None-Match: " TAG "\r\n", 304, "", "ETag: " TAG},
        {"HEAD", "Range: bytes=2-6\r\n", 200, "", "Content-Length: 10\r\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char fields[256];
        snprintf(fields, sizeof(fields), "Host: test\r\nAuthorization: x\r\n%s", rows[i].fields);
        struct exchange *exchange = ask(rows[i].method, "/digits", fields);
        cr_assert_eq(exchange->status, rows[i].status, "row %zu: %u", i, exchange->status);
        expect_body(exchange, rows[i].body);
        cr_assert_not_null(strstr(exchange->head, rows[i].field), "row %zu:\n%s", i, exchange->head);
        exchange_free(exchange);
    }
}

Test(files_fetch, of_a_range_no_more_is_read_than_that)
{
    bytes_asked = 0;
    struct exchange *exchange = ask("GET", "/large.bin", "Host: test\r\nAuthorization: x\r\nRange: bytes=0-199999\r\n");
    cr_assert_eq(exchange->status, 206);
    expect_flood(exchange, 200000);
    cr_assert_lt(bytes_asked, 4 * 200000, "pieces are cut short by the test");
    cr_assert_eq(ahead_last, 0, "nor read ahead");
    exchange_free(exchange);
}

Test(files_fetch, a_slice_that_is_all_of_the_file_is_stored_whole)
{
    bench_slice = (struct span){0, 65536};
    struct exchange *exchange = ask("GET", "/digits", "Host: test\r\n");
    cr_assert_eq(exchange->status, 200);
    expect_body(exchange, "0123456789");
    exchange_free(exchange);
    bench_slice = (struct span){65536, 131072};
    expect("GET", "/a.html", 416, "Content-Range: bytes */4\r\n", "416 Range Not Satisfiable\n");
    bench_slice = (struct span){0, 0};
}

/* Parts are put together by their validator: it has to be strong. */
Test(files_fetch, a_file_that_changed_just_now_is_looked_at_again_before_a_slice_of_it_is_sent)
{
    bench_slice = (struct span){0, 65536};
    for (unsigned looks = 1; looks <= 2; looks++) {
        char path[32];
        reads = 0;
        unsettled = looks;
        snprintf(path, sizeof(path), "/digits?%u", looks);
        struct exchange *exchange = ask("GET", path, "Host: test\r\n");
        expect_body(exchange, "0123456789");
        cr_assert_eq(exchange->status, 200, "whole");
        cr_assert_eq(reads, 2 + 3, "two looks, three pieces: it is not waited for any longer");
        cr_assert_eq(unsettled, 0);
        exchange_free(exchange);
    }
    bench_slice = (struct span){0, 0};
    unsettled = 0;
}

Test(files_fetch, a_file_from_the_future_was_modified_now)
{
    struct exchange *exchange = ask("GET", "/future", "Host: test\r\n");
    cr_assert_not_null(strstr(exchange->head, "Last-Modified: "));
    cr_assert_null(strstr(exchange->head, "2255"));
    exchange_free(exchange);
}

TestSuite(files_fetch_settings, .fini = bench_stop);

Test(files_fetch_settings, max_age_and_revalidation)
{
    begin_with(", files: {max_age: 0s}");
    struct exchange *exchange = ask("GET", "/a.html", "Host: test\r\n");
    cr_assert_not_null(strstr(exchange->head, "Cache-Control: max-age=0\r\n"));
    exchange_free(exchange);
    unsigned before = reads;
    expect("GET", "/a.html", 200, "ETag", "<p>a");
    cr_assert_eq(reads, before + 1, "looked up, not read");
    find("a.html")->mtime_ns++;
    before = reads;
    expect("GET", "/a.html", 200, "ETag", "<p>a");
    cr_assert_eq(reads, before + 2, "changed: read");
}

Test(files_fetch_settings, the_delay_holds_each_answer_back)
{
    begin_with(", files: {delay: 100ms}");
    struct monotonic_ms start = clock_monotonic();
    expect("GET", "/a.html", 200, "ETag", "<p>a");
    cr_assert_geq(monotonic_since(clock_monotonic(), start), 100);
    struct exchange *exchange = exchange_start("POST", "/a.html", "Host: test\r\n", NULL);
    fetch_detach(&exchange->fetch);
    exchange_free(exchange);
    struct origin_stats stats;
    do
        bench_run_until(nothing_is_asked, NULL);
    while (origin_stats(bench.origin, &stats), stats.fetches > 0);
}
