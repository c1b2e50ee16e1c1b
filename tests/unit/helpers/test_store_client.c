#include "helpers/store_client.h"
#include "base/slab.h"
#include "base/store_format.h"
#include "tests/unit/helpers/fake_helper.h"

enum { DEADLINE_MS = 1000, QUEUE_MAX = 1000, PLACE = STORE_FIRST_SEGMENT };

static struct store_client *client;
static struct reports reports;
static unsigned done_count;

static void count_done(struct store_call *call)
{
    (void)call;
    done_count++;
}

static struct channel *attach(unsigned helper, unsigned generation)
{
    struct channel *end;
    store_client_attach(client, helper, generation, make_channel(ROLE_STORE, &end));
    return end;
}

static uint32_t pages[2];

static void start(struct store_call *call, enum message_type type)
{
    *call = (struct store_call){.type = type, .done = count_done, .error = ERROR_COUNT};
    if (type == MESSAGE_STORE_READ) {
        call->ask.read = (struct message_store_read){.offset = PLACE, .bytes = 512, .hash = 9, .front_capacity = 1000};
        call->tail = bytes_from((const char *)pages, sizeof pages);
    } else if (type == MESSAGE_STORE_WRITE) {
        call->ask.write = (struct message_store_write){.offset = PLACE, .count = 1};
        call->tail = BYTES("records");
    } else if (type == MESSAGE_STORE_SCAN) {
        call->ask.scan = (struct message_store_scan){.origin = PLACE, .offset = PLACE, .end = PLACE + 4096};
    } else {
        call->ask.order = (struct message_store_order){.order = STORE_SYNC};
    }
    store_client_submit(client, call, at_ms(0));
}

static void answer(struct channel *end, enum message_type type, const void *payload)
{
    cr_assert(channel_send(end, type, payload, BYTES_NONE));
    channel_flush(end);
}

static struct message_store_read_done read_done(uint64_t id, uint32_t front, uint32_t body, bool follows)
{
    struct message_store_read_done done = {.request = id, .body_follows = follows};
    struct store_header header = {.front_bytes = front, .body_bytes = body};
    memcpy(done.header, &header, sizeof header);
    return done;
}

static void set_up(void)
{
    client = store_client_new(&(struct helper_hooks){.context = &reports, .report_hung = note_report}, DEADLINE_MS, QUEUE_MAX);
}

static void tear_down(void)
{
    drop_channels();
    store_client_free(&client);
}

TestSuite(store_client, .init = set_up, .fini = tear_down);

Test(store_client, each_kind_of_call_travels_and_its_answer_comes_back)
{
    struct channel *end = attach(0, 1);
    struct store_call read, write, scan, order;
    struct taken taken;
    start(&read, MESSAGE_STORE_READ);
    start(&write, MESSAGE_STORE_WRITE);
    start(&scan, MESSAGE_STORE_SCAN);
    start(&order, MESSAGE_STORE_ORDER);
    taken = take(end);
    cr_assert_eq(taken.type, MESSAGE_STORE_READ);
    cr_assert_eq(taken.tail_len, sizeof pages);
    cr_assert_eq(((struct message_store_read *)taken.payload)->hash, 9);
    answer(end, MESSAGE_STORE_READ_DONE, &(struct message_store_read_done[]){read_done(taken.id, 100, 900, true)});
    taken = take(end);
    cr_assert_eq(taken.type, MESSAGE_STORE_WRITE);
    cr_assert_str_eq(taken.tail, "records");
    answer(end, MESSAGE_STORE_DONE, &(struct message_store_done){.request = taken.id, .status = STORE_FULL, .error = 28, .took_us = 5});
    taken = take(end);
    cr_assert_eq(taken.type, MESSAGE_STORE_SCAN);
    answer(end, MESSAGE_STORE_SCAN_DONE, &(struct message_store_scan_done){.request = taken.id, .next = PLACE + 512, .count = 1});
    taken = take(end);
    cr_assert_eq(taken.type, MESSAGE_STORE_ORDER);
    answer(end, MESSAGE_STORE_DONE, &(struct message_store_done){.request = taken.id});
    cr_assert_eq(done_count, 0);
    cr_assert(store_client_receive(client, 0, at_ms(1)));
    cr_assert_eq(done_count, 4);
    cr_assert(read.error == ERROR_OK && write.error == ERROR_OK && scan.error == ERROR_OK && order.error == ERROR_OK);
    cr_assert_eq(read.answer.read.body_follows, 1);
    cr_assert_eq(write.answer.done.status, STORE_FULL);
    cr_assert_eq(write.answer.done.took_us, 5);
    cr_assert_eq(scan.answer.scan.next, PLACE + 512);
    cr_assert_eq(order.answer.done.status, STORE_OK);
}

static const struct implausible {
    const char *what;
    enum message_type asked, answered;
    union {
        struct message_store_read_done read;
        struct message_store_scan_done scan;
        struct message_store_done done;
    } answer;
    uint32_t front, body;
} implausible[] = {
    {"another kind's", MESSAGE_STORE_READ, MESSAGE_STORE_DONE, .answer.done = {0}},
    {"another kind's", MESSAGE_STORE_WRITE, MESSAGE_STORE_SCAN_DONE, .answer.scan = {.next = PLACE + 512}},
    {"another kind's", MESSAGE_STORE_SCAN, MESSAGE_STORE_READ_DONE, .answer.read = {.status = STORE_ABSENT}},
    {"another kind's", MESSAGE_STORE_ORDER, MESSAGE_STORE_READ_DONE, .answer.read = {.status = STORE_ABSENT}},
    {"unknown status", MESSAGE_STORE_READ, MESSAGE_STORE_READ_DONE, .answer.read = {.status = STORE_ERROR + 1}},
    {"unknown status", MESSAGE_STORE_WRITE, MESSAGE_STORE_DONE, .answer.done = {.status = STORE_ERROR + 1}},
    {"unknown status", MESSAGE_STORE_SCAN, MESSAGE_STORE_SCAN_DONE, .answer.scan = {.status = STORE_ERROR + 1, .next = PLACE + 512}},
    {"front without room", MESSAGE_STORE_READ, MESSAGE_STORE_READ_DONE, .answer.read = {0}, 1001, 0},
    {"body without room", MESSAGE_STORE_READ, MESSAGE_STORE_READ_DONE, .answer.read = {.body_follows = 1}, 100, 901},
    {"body without pages", MESSAGE_STORE_READ, MESSAGE_STORE_READ_DONE, .answer.read = {0}, 100, 2 * SLAB_PAGE_BYTES + 1},
    {"no progress", MESSAGE_STORE_SCAN, MESSAGE_STORE_SCAN_DONE, .answer.scan = {.next = PLACE}},
    {"beyond the end", MESSAGE_STORE_SCAN, MESSAGE_STORE_SCAN_DONE, .answer.scan = {.next = PLACE + 4608}},
    {"more than a page", MESSAGE_STORE_SCAN, MESSAGE_STORE_SCAN_DONE, .answer.scan = {.next = PLACE + 512, .count = 4097}},
};

Test(store_client, an_implausible_answer_condemns_the_helper_and_the_call_goes_to_another)
{
    for (unsigned i = 0; i < sizeof implausible / sizeof *implausible; i++) {
        const struct implausible *row = &implausible[i];
        struct channel *end = attach(0, i + 1);
        struct store_call call;
        done_count = reports.count = 0;
        start(&call, row->asked);
        struct taken taken = take(end);
        struct message_store_read_done payload;
        memcpy(&payload, &row->answer, sizeof row->answer);
        if (row->answered == MESSAGE_STORE_READ_DONE && payload.status == STORE_OK)
            payload = read_done(taken.id, row->front, row->body, payload.body_follows);
        payload.request = taken.id;
        answer(end, row->answered, &payload);
        cr_assert_not(store_client_receive(client, 0, at_ms(1)), "%s", row->what);
        cr_assert_eq(reports.count, 1, "%s", row->what);
        cr_assert_eq(done_count, 0, "%s", row->what);
        struct channel *other = attach(1, i + 1);
        store_client_lost(client, 0, i + 1);
        taken = take(other);
        cr_assert(taken.is_there && taken.type == row->asked, "%s", row->what);
        store_client_free(&client);
        set_up();
    }
}

Test(store_client, what_a_dead_helper_had_is_sent_to_another)
{
    struct channel *ends[2] = {attach(0, 1), attach(1, 1)};
    struct store_call calls[4];
    for (unsigned i = 0; i < 4; i++)
        start(&calls[i], MESSAGE_STORE_WRITE);
    for (unsigned i = 0; i < 2; i++)
        cr_assert(take(ends[0]).is_there);
    store_client_lost(client, 0, 1);
    for (unsigned i = 0; i < 4; i++) {
        struct taken taken = take(ends[1]);
        cr_assert(taken.is_there);
        answer(ends[1], MESSAGE_STORE_DONE, &(struct message_store_done){.request = taken.id});
    }
    store_client_receive(client, 1, at_ms(1));
    cr_assert_eq(done_count, 4);
    struct helper_stats stats;
    store_client_stats(client, &stats);
    cr_assert_eq(stats.retries, 2);
    cr_assert_eq(stats.failures, 0);
}

static unsigned count_taken(struct channel *end)
{
    unsigned count = 0;
    while (take(end).is_there)
        count++;
    return count;
}

Test(store_client, small_reads_go_together_to_the_preferred_helper)
{
    struct channel *ends[2] = {attach(0, 1), attach(1, 1)};
    struct store_call calls[8];
    store_client_prefer(client, 3); /* of two: the second */
    for (unsigned i = 0; i < 8; i++)
        start(&calls[i], MESSAGE_STORE_READ);
    cr_assert_eq(count_taken(ends[0]), 0);
    cr_assert_eq(count_taken(ends[1]), 8);
}

Test(store_client, without_a_preferred_helper_they_are_spread)
{
    struct channel *ends[2] = {attach(0, 1), attach(1, 1)};
    struct store_call calls[8];
    for (unsigned i = 0; i < 8; i++)
        start(&calls[i], MESSAGE_STORE_READ);
    cr_assert_eq(count_taken(ends[0]), 4);
    cr_assert_eq(count_taken(ends[1]), 4);
}

Test(store_client, what_takes_long_goes_to_the_helper_with_the_fewest_under_way)
{
    struct channel *ends[2] = {attach(0, 1), attach(1, 1)};
    struct store_call small[3], write, order, large = {.type = MESSAGE_STORE_READ, .done = count_done, .ask.read.bytes = 1024 * 1024};
    store_client_prefer(client, 0);
    for (unsigned i = 0; i < 3; i++)
        start(&small[i], MESSAGE_STORE_READ);
    start(&write, MESSAGE_STORE_WRITE);
    start(&order, MESSAGE_STORE_ORDER);
    store_client_submit(client, &large, at_ms(0));
    cr_assert_eq(count_taken(ends[0]), 3);
    cr_assert_eq(count_taken(ends[1]), 3);
}

Test(store_client, small_reads_beyond_what_goes_together_are_spread)
{
    static struct store_call calls[2 * TOGETHER_MAX];
    struct channel *ends[2] = {attach(0, 1), attach(1, 1)};
    store_client_prefer(client, 0);
    for (unsigned i = 0; i < TOGETHER_MAX + 3; i++)
        start(&calls[i], MESSAGE_STORE_READ);
    cr_assert_eq(count_taken(ends[0]), TOGETHER_MAX);
    cr_assert_eq(count_taken(ends[1]), 3);
}

Test(store_client, small_reads_of_a_preferred_helper_that_died_go_to_another_until_it_is_back)
{
    struct channel *ends[2] = {attach(0, 1), attach(1, 1)};
    struct store_call calls[5];
    store_client_prefer(client, 0);
    start(&calls[0], MESSAGE_STORE_READ);
    start(&calls[1], MESSAGE_STORE_READ);
    store_client_lost(client, 0, 1);
    cr_assert_eq(count_taken(ends[1]), 2);
    start(&calls[2], MESSAGE_STORE_READ);
    cr_assert_eq(count_taken(ends[1]), 1);
    ends[0] = attach(0, 2);
    start(&calls[3], MESSAGE_STORE_READ);
    cr_assert_eq(count_taken(ends[0]), 1);
}

Test(store_client, a_silent_helper_is_reported_and_one_that_does_not_die_keeps_what_it_was_given)
{
    struct store_call call;
    attach(0, 1);
    start(&call, MESSAGE_STORE_READ);
    store_client_tick(client, at_ms(DEADLINE_MS - 1));
    cr_assert_eq(reports.count, 0);
    store_client_tick(client, at_ms(DEADLINE_MS));
    cr_assert(reports.count == 1 && reports.role == ROLE_STORE);
    store_client_tick(client, at_ms(2 * DEADLINE_MS));
    cr_assert_eq(done_count, 1);
    cr_assert_eq(call.error, ERROR_HELPER_UNAVAILABLE);
    cr_assert(call.destination_lost);
}

Test(store_client, a_full_queue_refuses_at_the_next_tick)
{
    static struct store_call calls[QUEUE_MAX + 1];
    attach(0, 1);
    for (unsigned i = 0; i <= QUEUE_MAX; i++)
        start(&calls[i], MESSAGE_STORE_ORDER);
    cr_assert_eq(done_count, 0);
    store_client_tick(client, at_ms(1));
    cr_assert_eq(done_count, 1);
    cr_assert_eq(calls[QUEUE_MAX].error, ERROR_OVERLOADED);
    cr_assert_not(calls[QUEUE_MAX].destination_lost);
}

Test(store_client, the_first_helper_is_waited_for_up_to_the_deadline)
{
    struct store_call first, second;
    start(&first, MESSAGE_STORE_READ);
    store_client_tick(client, at_ms(DEADLINE_MS - 1));
    cr_assert_eq(done_count, 0);
    cr_assert(take(attach(0, 1)).is_there);
    store_client_free(&client);
    set_up();
    start(&second, MESSAGE_STORE_READ);
    store_client_tick(client, at_ms(DEADLINE_MS));
    cr_assert_eq(done_count, 1);
    cr_assert_eq(second.error, ERROR_HELPER_UNAVAILABLE);
    cr_assert_not(second.destination_lost);
}

Test(store_client, writes_that_a_ring_does_not_hold_wait_for_answers)
{
    enum { WRITES = 100 };
    static struct store_call calls[WRITES];
    static char tail[8192];
    struct channel *end = attach(0, 1);
    unsigned answered = 0;
    for (unsigned i = 0; i < WRITES; i++) {
        calls[i] = (struct store_call){.type = MESSAGE_STORE_WRITE, .tail = bytes_from(tail, sizeof tail), .done = count_done};
        store_client_submit(client, &calls[i], at_ms(0));
    }
    for (struct taken taken; (taken = take(end)).is_there; answered++) {
        answer(end, MESSAGE_STORE_DONE, &(struct message_store_done){.request = taken.id});
        store_client_receive(client, 0, at_ms(1));
    }
    cr_assert_eq(answered, WRITES);
    cr_assert_eq(done_count, WRITES);
}
