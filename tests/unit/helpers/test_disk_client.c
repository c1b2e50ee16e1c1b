#include "helpers/disk_client.h"
#include "tests/unit/helpers/fake_helper.h"

#include <unistd.h>

enum { DEADLINE_MS = 1000, QUEUE_MAX = 100 };

static struct disk_client *client;
static struct reports reports;
static unsigned done_count;

static void count_done(struct file_request *request)
{
    (void)request;
    done_count++;
}

static struct channel *attach(unsigned helper, unsigned generation)
{
    struct channel *end;
    disk_client_attach(client, helper, generation, make_channel(ROLE_DISK, &end));
    return end;
}

static void start(struct file_request *request, int64_t ms)
{
    *request = (struct file_request){.root = "/srv", .path = "page", .length = 100, .done = count_done, .error = ERROR_COUNT};
    disk_client_read(client, request, at_ms(ms));
}

static void answer(struct channel *end, uint64_t id, enum file_status status, uint64_t bytes_read)
{
    struct message_file_answer message = {.request = id, .status = status, .bytes_read = bytes_read};
    cr_assert(channel_send(end, MESSAGE_FILE_ANSWER, &message, BYTES_NONE));
    channel_flush(end);
}

static void set_up(void)
{
    client = disk_client_new(&(struct helper_hooks){.context = &reports, .report_hung = note_report}, DEADLINE_MS, QUEUE_MAX);
}

static void tear_down(void)
{
    drop_channels();
    disk_client_free(&client);
}

TestSuite(disk_client, .init = set_up, .fini = tear_down);

Test(disk_client, a_request_travels_and_its_answer_comes_back)
{
    struct channel *end = attach(0, 1);
    struct file_request request = {.root = "/srv/www",
                                   .path = "a/b.html",
                                   .offset = 1,
                                   .length = 20,
                                   .slab_offset = 300,
                                   .inode = 4,
                                   .size = 5,
                                   .mtime_ns = 6,
                                   .ahead = 7,
                                   .done = count_done};
    disk_client_read(client, &request, at_ms(0));
    struct taken taken = take(end);
    struct message_file_read *seen = (struct message_file_read *)taken.payload;
    cr_assert(taken.is_there);
    cr_assert_eq(seen->offset, 1);
    cr_assert_eq(seen->length, 20);
    cr_assert_eq(seen->slab_offset, 300);
    cr_assert_eq(seen->inode, 4);
    cr_assert_eq(seen->size, 5);
    cr_assert_eq(seen->mtime_ns, 6);
    cr_assert_eq(seen->ahead, 7);
    cr_assert(bytes_equal(bytes_from(taken.tail, taken.tail_len), bytes_from("/srv/www\0a/b.html", 17)));
    answer(end, taken.id, FILE_OK, 20);
    cr_assert_eq(done_count, 0);
    cr_assert(disk_client_receive(client, 0, at_ms(1)));
    cr_assert_eq(done_count, 1);
    cr_assert_eq(request.error, ERROR_OK);
    cr_assert_eq(request.answer.bytes_read, 20);
    cr_assert_not(request.destination_lost);
}

Test(disk_client, the_helper_with_the_fewest_under_way_is_chosen)
{
    struct channel *ends[3] = {attach(0, 1), attach(1, 1), attach(2, 1)};
    struct file_request requests[7];
    for (unsigned i = 0; i < 6; i++)
        start(&requests[i], 0);
    uint64_t id = 0;
    for (unsigned i = 0; i < 3; i++) {
        cr_assert(take(ends[i]).is_there);
        id = take(ends[i]).id;
        cr_assert_neq(id, 0, "two each");
        cr_assert_not(take(ends[i]).is_there);
    }
    answer(ends[2], id, FILE_MISSING, 0);
    disk_client_receive(client, 2, at_ms(0));
    cr_assert_eq(done_count, 1);
    start(&requests[6], 0);
    cr_assert(take(ends[2]).is_there);
}

Test(disk_client, one_bell_a_flush)
{
    struct channel *end = attach(0, 1);
    struct file_request requests[3];
    char bells[8];
    for (unsigned i = 0; i < 3; i++)
        start(&requests[i], 0);
    cr_assert_eq(read(channel_fd(end), bells, sizeof(bells)), -1);
    disk_client_flush(client);
    disk_client_flush(client);
    cr_assert_eq(read(channel_fd(end), bells, sizeof(bells)), 1);
}

Test(disk_client, without_any_helper_it_fails_at_the_next_tick)
{
    struct file_request request;
    start(&request, 0);
    cr_assert_eq(done_count, 0, "never from inside");
    disk_client_tick(client, at_ms(1));
    cr_assert_eq(done_count, 1);
    cr_assert_eq(request.error, ERROR_HELPER_UNAVAILABLE);
    cr_assert_not(request.destination_lost);
}

Test(disk_client, a_full_queue_refuses)
{
    struct file_request requests[QUEUE_MAX + 1];
    attach(0, 1);
    for (unsigned i = 0; i <= QUEUE_MAX; i++)
        start(&requests[i], 0);
    disk_client_tick(client, at_ms(1));
    cr_assert_eq(done_count, 1);
    cr_assert_eq(requests[QUEUE_MAX].error, ERROR_OVERLOADED);
    struct helper_stats stats;
    disk_client_stats(client, &stats);
    cr_assert_eq(stats.queue_depth, QUEUE_MAX);
    cr_assert_eq(stats.failures, 1);
}

Test(disk_client, a_path_that_no_message_carries_is_a_missing_file)
{
    static char path[MESSAGE_TAIL_MAX + 1];
    struct file_request request = {.root = "/srv", .path = path, .done = count_done, .error = ERROR_COUNT};
    attach(0, 1);
    memset(path, 'p', MESSAGE_TAIL_MAX);
    disk_client_read(client, &request, at_ms(0));
    disk_client_tick(client, at_ms(1));
    cr_assert_eq(done_count, 1);
    cr_assert_eq(request.error, ERROR_OK);
    cr_assert_eq(request.answer.status, FILE_MISSING);
}

Test(disk_client, requests_of_a_dead_helper_go_to_another)
{
    struct channel *ends[2] = {attach(0, 1), attach(1, 1)};
    struct file_request requests[4];
    for (unsigned i = 0; i < 4; i++)
        start(&requests[i], 0);
    unsigned dead = requests[0].call.id == take(ends[0]).id ? 0 : 1;
    drop_channel(&ends[dead]);
    cr_assert_not(disk_client_receive(client, dead, at_ms(1)), "its channel has come to an end");
    cr_assert_eq(done_count, 0, "it may still write: wait for the word that it is dead");
    disk_client_lost(client, dead, 1);
    for (unsigned i = 0; i < 4; i++) {
        struct taken taken = take(ends[!dead]);
        cr_assert(taken.is_there, "request %u", i);
        answer(ends[!dead], taken.id, FILE_OK, 1);
    }
    disk_client_receive(client, !dead, at_ms(2));
    cr_assert_eq(done_count, 4);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(requests[i].error, ERROR_OK);
    struct helper_stats stats;
    disk_client_stats(client, &stats);
    cr_assert_eq(stats.retries, 2);
    cr_assert_eq(stats.helpers_alive, 1);
    cr_assert_eq(reports.count, 0);
}

Test(disk_client, answers_given_before_death_count)
{
    struct channel *end = attach(0, 1);
    struct file_request first, second;
    start(&first, 0);
    start(&second, 0);
    answer(end, take(end).id, FILE_OK, 1);
    drop_channel(&end);
    disk_client_lost(client, 0, 1);
    cr_assert_eq(done_count, 1);
    cr_assert_eq(first.error, ERROR_OK);
    end = attach(0, 2);
    cr_assert_eq(take(end).id, second.call.id, "only the other one is sent again");
    cr_assert_not(take(end).is_there);
}

Test(disk_client, requests_wait_for_the_replacement)
{
    struct channel *end = attach(0, 1);
    struct file_request before, meanwhile;
    start(&before, 0);
    disk_client_lost(client, 0, 1);
    start(&meanwhile, 100);
    disk_client_tick(client, at_ms(500));
    cr_assert_eq(done_count, 0);
    drop_channel(&end);
    end = attach(0, 2);
    cr_assert_eq(take(end).id, before.call.id, "the older one first");
    cr_assert_eq(take(end).id, meanwhile.call.id);
    answer(end, before.call.id, FILE_OK, 0);
    answer(end, meanwhile.call.id, FILE_OK, 0);
    disk_client_receive(client, 0, at_ms(600));
    cr_assert_eq(done_count, 2);
}

Test(disk_client, requests_without_a_replacement_end_at_their_deadline)
{
    struct channel *end = attach(0, 1);
    struct file_request request;
    disk_client_lost(client, 0, 1);
    start(&request, 0);
    disk_client_tick(client, at_ms(DEADLINE_MS - 1));
    cr_assert_eq(done_count, 0);
    disk_client_tick(client, at_ms(DEADLINE_MS));
    cr_assert_eq(done_count, 1);
    cr_assert_eq(request.error, ERROR_HELPER_UNAVAILABLE);
    cr_assert_not(request.destination_lost, "nobody has it");
    drop_channel(&end);
}

Test(disk_client, a_request_that_kills_every_helper_ends_and_takes_no_others_along)
{
    struct channel *end = attach(0, 1);
    struct file_request deadly, innocent;
    start(&deadly, 0);
    start(&innocent, 0);
    for (unsigned generation = 1; generation <= CALL_DEATHS_MAX; generation++) {
        cr_assert_eq(take(end).id, deadly.call.id, "in generation %u", generation);
        drop_channel(&end);
        disk_client_lost(client, 0, generation);
        cr_assert_eq(done_count, 0);
        end = attach(0, generation + 1);
    }
    disk_client_tick(client, at_ms(1));
    cr_assert_eq(done_count, 1);
    cr_assert_eq(deadly.error, ERROR_HELPER_UNAVAILABLE);
    answer(end, take(end).id, FILE_OK, 0);
    disk_client_receive(client, 0, at_ms(2));
    cr_assert_eq(innocent.error, ERROR_OK);
}

Test(disk_client, helpers_killed_a_thousand_times_before_they_took_anything_fail_nobody)
{
    struct channel *end = attach(0, 1);
    struct file_request request;
    start(&request, 0);
    for (unsigned generation = 1; generation <= 1000; generation++) {
        disk_client_lost(client, 0, generation);
        drop_channel(&end);
        end = attach(0, generation + 1);
        disk_client_tick(client, at_ms(generation));
    }
    cr_assert_eq(done_count, 0);
    cr_assert_eq(take(end).id, request.call.id);
}

Test(disk_client, a_silent_helper_is_reported_once)
{
    struct channel *end = attach(3, 7);
    struct file_request first, second;
    start(&first, 0);
    start(&second, 900);
    disk_client_tick(client, at_ms(DEADLINE_MS - 1));
    cr_assert_eq(reports.count, 0);
    disk_client_tick(client, at_ms(DEADLINE_MS));
    cr_assert_eq(reports.count, 1);
    cr_assert_eq(reports.role, ROLE_DISK);
    cr_assert_eq(reports.helper, 3);
    cr_assert_eq(reports.generation, 7);
    disk_client_tick(client, at_ms(DEADLINE_MS + 500));
    cr_assert_eq(reports.count, 1);
    cr_assert_eq(done_count, 0, "its requests wait for its death");
    disk_client_lost(client, 3, 7);
    drop_channel(&end);
    end = attach(3, 8);
    cr_assert_eq(take(end).id, first.call.id, "and then are sent again");
    disk_client_tick(client, at_ms(DEADLINE_MS + 600));
    cr_assert_eq(reports.count, 1);
}

Test(disk_client, a_hung_helper_gets_no_more_requests)
{
    struct channel *hung = attach(0, 1), *other = NULL;
    struct file_request first, second;
    start(&first, 0);
    disk_client_tick(client, at_ms(DEADLINE_MS));
    other = attach(1, 1);
    start(&second, DEADLINE_MS);
    cr_assert_eq(take(other).id, second.call.id);
    cr_assert_eq(take(hung).id, first.call.id);
    cr_assert_not(take(hung).is_there);
}

Test(disk_client, a_long_queue_is_not_a_hung_helper)
{
    struct channel *end = attach(0, 1);
    struct file_request requests[10];
    for (unsigned i = 0; i < 10; i++)
        start(&requests[i], 0);
    for (unsigned i = 0; i < 10; i++) { /* one answer each 900 ms: the last request is nine seconds old */
        answer(end, take(end).id, FILE_OK, 0);
        disk_client_tick(client, at_ms(900 * (i + 1)));
        disk_client_receive(client, 0, at_ms(900 * (i + 1)));
    }
    cr_assert_eq(reports.count, 0);
    cr_assert_eq(done_count, 10);
}

Test(disk_client, an_idle_helper_is_not_a_hung_one)
{
    struct channel *end = attach(0, 1);
    struct file_request request;
    disk_client_tick(client, at_ms(0));
    disk_client_tick(client, at_ms(100 * DEADLINE_MS));
    start(&request, 100 * DEADLINE_MS + 1);
    disk_client_tick(client, at_ms(100 * DEADLINE_MS + 2));
    cr_assert_eq(reports.count, 0);
    drop_channel(&end);
}

Test(disk_client, a_loop_that_was_held_up_looks_for_answers_first)
{
    struct channel *end = attach(0, 1);
    struct file_request request;
    start(&request, 0);
    answer(end, take(end).id, FILE_OK, 0);
    disk_client_tick(client, at_ms(10 * DEADLINE_MS));
    cr_assert_eq(reports.count, 0);
    cr_assert_eq(done_count, 1);
}

Test(disk_client, a_helper_that_cannot_be_killed_costs_its_destinations)
{
    struct channel *end = attach(0, 1);
    struct file_request request;
    start(&request, 0);
    disk_client_tick(client, at_ms(DEADLINE_MS));
    disk_client_tick(client, at_ms(2 * DEADLINE_MS - 1));
    cr_assert_eq(done_count, 0);
    disk_client_tick(client, at_ms(2 * DEADLINE_MS));
    cr_assert_eq(done_count, 1);
    cr_assert_eq(request.error, ERROR_DISK);
    cr_assert(request.destination_lost);
    /* It comes back to life, much later. */
    answer(end, take(end).id, FILE_OK, 0);
    cr_assert_not(disk_client_receive(client, 0, at_ms(3 * DEADLINE_MS)));
    cr_assert_eq(done_count, 1);
    disk_client_lost(client, 0, 1);
    cr_assert_eq(done_count, 1);
    cr_assert_eq(reports.count, 1);
}

Test(disk_client, an_ended_channel_whose_death_is_not_told_is_reported)
{
    struct channel *end = attach(0, 1);
    drop_channel(&end);
    cr_assert_not(disk_client_receive(client, 0, at_ms(0)));
    disk_client_tick(client, at_ms(DEADLINE_MS - 1));
    cr_assert_eq(reports.count, 0);
    disk_client_tick(client, at_ms(DEADLINE_MS));
    cr_assert_eq(reports.count, 1);
}

static void expect_report(uint64_t id_change, enum file_status status, uint64_t bytes_read)
{
    reports.count = 0;
    set_up();
    struct channel *end = attach(0, 1);
    struct file_request request;
    start(&request, 0);
    answer(end, take(end).id + id_change, status, bytes_read);
    cr_assert_not(disk_client_receive(client, 0, at_ms(1)));
    cr_assert_eq(reports.count, 1);
    cr_assert_eq(done_count, 0, "the request waits for the helper's death");
    disk_client_lost(client, 0, 1);
    drop_channel(&end);
    end = attach(0, 2);
    cr_assert_eq(take(end).id, request.call.id);
    drop_channel(&end);
    disk_client_free(&client);
}

Test(disk_client_answers, an_answer_that_breaks_a_rule_has_the_helper_killed, .fini = drop_channels)
{
    expect_report(1, FILE_OK, 0);           /* to a request that was never made */
    expect_report(0, FILE_IO_ERROR + 1, 0); /* unknown status */
    expect_report(0, FILE_OK, 101);         /* more than was asked for */
}

Test(disk_client, a_second_answer_breaks_a_rule)
{
    struct channel *end = attach(0, 1);
    struct file_request request;
    start(&request, 0);
    uint64_t id = take(end).id;
    answer(end, id, FILE_OK, 0);
    answer(end, id, FILE_OK, 0);
    cr_assert_not(disk_client_receive(client, 0, at_ms(1)));
    cr_assert_eq(done_count, 1);
    cr_assert_eq(reports.count, 1);
}

Test(disk_client, word_of_an_earlier_generations_death_changes_nothing)
{
    struct channel *end = attach(0, 2);
    struct file_request request;
    start(&request, 0);
    disk_client_lost(client, 0, 1);
    disk_client_lost(client, 5, 1);
    answer(end, take(end).id, FILE_OK, 0);
    cr_assert(disk_client_receive(client, 0, at_ms(1)));
    cr_assert_eq(done_count, 1);
}

Test(disk_client, a_replacement_alone_tells_that_the_earlier_one_is_gone)
{
    struct channel *old = attach(0, 1), *new;
    struct file_request request;
    start(&request, 0);
    new = attach(0, 2);
    cr_assert_eq(take(new).id, request.call.id);
    drop_channel(&old);
}

static struct file_request follow_up;

static void ask_again(struct file_request *request)
{
    (void)request;
    done_count++;
    start(&follow_up, 1);
}

Test(disk_client, done_may_make_the_next_request)
{
    struct channel *end = attach(0, 1);
    struct file_request request = {.root = "/srv", .path = "page", .done = ask_again};
    disk_client_read(client, &request, at_ms(0));
    answer(end, take(end).id, FILE_OK, 0);
    disk_client_receive(client, 0, at_ms(1));
    cr_assert_eq(done_count, 1);
    answer(end, take(end).id, FILE_OK, 0);
    disk_client_receive(client, 0, at_ms(1));
    cr_assert_eq(done_count, 2);
    cr_assert_eq(follow_up.error, ERROR_OK);
}

Test(disk_client, done_of_a_failure_may_make_the_next_request)
{
    struct file_request request = {.root = "/srv", .path = "page", .done = ask_again};
    disk_client_read(client, &request, at_ms(0));
    disk_client_tick(client, at_ms(1));
    cr_assert_eq(done_count, 1);
    disk_client_tick(client, at_ms(2));
    cr_assert_eq(done_count, 2);
    cr_assert_eq(follow_up.error, ERROR_HELPER_UNAVAILABLE);
}

Test(disk_client, requests_larger_than_the_ring_go_out_as_room_comes)
{
    static char path[4000];
    struct file_request requests[QUEUE_MAX];
    struct channel *end = attach(0, 1);
    memset(path, 'p', sizeof(path) - 1);
    for (unsigned i = 0; i < QUEUE_MAX; i++) { /* 400 KB in a ring of 256 */
        requests[i] = (struct file_request){.root = "/srv", .path = path, .done = count_done};
        disk_client_read(client, &requests[i], at_ms(0));
    }
    for (struct taken taken; (taken = take(end)).is_there;) {
        answer(end, taken.id, FILE_OK, 0);
        disk_client_receive(client, 0, at_ms(1));
    }
    cr_assert_eq(done_count, QUEUE_MAX);
}
