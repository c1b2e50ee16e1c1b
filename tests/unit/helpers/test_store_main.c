#include "base/slab.h"
#include "base/store_format.h"
#include "helpers/store_client.h"
#include "helpers/store_engine.h"
#include "tests/unit/helpers/helper_process.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { PLACE = STORE_FIRST_SEGMENT, BODY = 3000, PAGES = 64 };

static char store_path[64];
static int store_fd;
static struct slab *slab;
static enum store_engine_kind kind;

static void set_up(void)
{
    strcpy(store_path, "/tmp/outrigger-test-XXXXXX");
    store_fd = mkstemp(store_path);
    cr_assert_geq(store_fd, 0);
    slab = slab_new(PAGES * SLAB_PAGE_BYTES);
    cr_assert_not_null(slab);
    for (unsigned i = 0; i < PAGES; i++)
        cr_assert_not(extent_is_none(slab_alloc(slab, SLAB_PAGE_BYTES, 0)));
}

static void tear_down(void)
{
    drop_channels();
    unlink(store_path);
}

TestSuite(store_main, .init = set_up, .fini = tear_down, .timeout = 60);

/* Under both flavours. */
#define BOTH(name)                                                                                                                         \
    static void name(void);                                                                                                                \
    Test(store_main, name##_blocking)                                                                                                      \
    {                                                                                                                                      \
        kind = STORE_ENGINE_BLOCKING;                                                                                                      \
        name();                                                                                                                            \
    }                                                                                                                                      \
    Test(store_main, name##_io_uring)                                                                                                      \
    {                                                                                                                                      \
        if (!store_engine_may_ring())                                                                                                      \
            cr_skip_test("no io_uring");                                                                                                   \
        kind = STORE_ENGINE_IO_URING;                                                                                                      \
        name();                                                                                                                            \
    }                                                                                                                                      \
    static void name(void)

static struct helper_process start_store(void)
{
    struct message_store_directory directory = {.number = 0, .engine = kind};
    struct helper_process helper = start_helper(ROLE_STORE, slab_fd(slab));
    cr_assert_eq(control_send(helper.control, MESSAGE_STORE_DIRECTORY, &directory, BYTES_NONE, &store_fd, 1), 0);
    return helper;
}

/* One record of `bytes` at the start of the slab. */
static void send_write(struct channel *channel, uint64_t request, uint64_t hash, uint32_t bytes)
{
    struct message_store_write message = {.request = request, .segment_sequence = 1, .offset = PLACE, .count = 1};
    struct {
        struct message_store_record record;
        struct store_piece piece;
    } tail = {{.hash = hash, .front_bytes = 100, .body_bytes = bytes - 100, .kind = STORE_RESPONSE, .piece_count = 1}, {0, bytes}};
    cr_assert(channel_send(channel, MESSAGE_STORE_WRITE, &message, bytes_from((const char *)&tail, sizeof tail)));
    channel_flush(channel);
}

static struct message_store_read read_of(uint64_t request)
{
    return (struct message_store_read){.request = request,
                                       .hash = 42,
                                       .offset = PLACE,
                                       .bytes = store_class_bytes(store_size_class(store_record_bytes(100, BODY))),
                                       .front_offset = 10 * SLAB_PAGE_BYTES,
                                       .front_capacity = SLAB_PAGE_BYTES};
}

static void send_read(struct channel *channel, uint64_t request)
{
    struct message_store_read message = read_of(request);
    cr_assert(channel_send(channel, MESSAGE_STORE_READ, &message, BYTES_NONE));
    channel_flush(channel);
}

static char *at(uint64_t offset)
{
    return slab_at(slab, (struct extent){.unit = offset / SLAB_UNIT_BYTES, .capacity = SLAB_UNIT_BYTES});
}

BOTH(a_record_is_written_from_the_shared_slab_and_read_into_it)
{
    struct helper_process helper = start_store();
    struct channel *channel = connect_loop(&helper, 0);
    struct message message;
    memset(at(0), 'x', 100 + BODY);
    send_write(channel, 1, 42, 100 + BODY);
    cr_assert(wait_for_message(channel, &message));
    cr_assert_eq(message.type, MESSAGE_STORE_DONE);
    cr_assert_eq(((const struct message_store_done *)message.payload)->status, STORE_OK);
    send_read(channel, 2);
    cr_assert(wait_for_message(channel, &message));
    cr_assert_eq(((const struct message_store_read_done *)message.payload)->status, STORE_OK);
    cr_assert_arr_eq(at(10 * SLAB_PAGE_BYTES), at(0), 100 + BODY);
    cr_assert_eq(end_helper(&helper), 0);
}

BOTH(a_malformed_request_closes_that_channel_only)
{
    struct helper_process helper = start_store();
    struct channel *bad = connect_loop(&helper, 0), *good = connect_loop(&helper, 1);
    struct message message;
    struct message_store_read malformed = read_of(1);
    malformed.offset = 512;
    for (unsigned i = 0; i < 100; i++)
        send_read(bad, i);
    cr_assert(channel_send(bad, MESSAGE_STORE_READ, &malformed, BYTES_NONE));
    channel_flush(bad);
    while (wait_for_message(bad, &message))
        ;
    send_read(good, 2);
    cr_assert(wait_for_message(good, &message));
    cr_assert_eq(((const struct message_store_read_done *)message.payload)->status, STORE_ABSENT);
    cr_assert_eq(end_helper(&helper), 0);
}

BOTH(what_was_taken_is_done_before_it_ends)
{
    struct helper_process helper = start_store();
    struct channel *channel = connect_loop(&helper, 0);
    enum { LARGE = 32 * SLAB_PAGE_BYTES };
    memset(at(0), 'y', LARGE);
    send_write(channel, 1, 42, LARGE);
    while (channel_backlog(channel) > 0) /* until it is taken */
        usleep(100);
    cr_assert_eq(end_helper(&helper), 0);
    struct stat file;
    struct message message;
    cr_assert(wait_for_message(channel, &message));
    cr_assert_eq(fstat(store_fd, &file), 0);
    cr_assert_eq(file.st_size, PLACE + store_record_bytes(100, LARGE - 100));
}

enum { HELPERS = 2, IN_FLIGHT = 20, KILLS = 100 };

static struct store_client *client;
static unsigned good_answers, bad_answers;

static void check_answer(struct store_call *call)
{
    bool is_good = call->error == ERROR_OK && call->answer.read.status == STORE_OK;
    good_answers += is_good;
    bad_answers += !is_good;
    store_client_submit(client, call, clock_monotonic());
}

static void never_hung(void *context, enum role role, unsigned number, unsigned generation)
{
    (void)context, (void)role, (void)number, (void)generation;
    cr_assert_fail("nobody hangs here");
}

static void replace(struct helper_process *process, unsigned number, unsigned generation)
{
    if (generation > 1) {
        let_go(process);
        cr_assert_eq(waitpid(process->pid, NULL, 0), process->pid);
        store_client_lost(client, number, generation - 1);
    }
    *process = start_store();
    struct channel *channel = connect_loop(process, 0);
    forget_channel(channel);
    store_client_attach(client, number, generation, channel);
}

static struct store_call calls[IN_FLIGHT];

/* One more death would end a call, rightly: for all that is known it kills whoever takes it. */
static bool is_one_suspected(void)
{
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        if (calls[i].call.deaths >= CALL_DEATHS_MAX - 1)
            return true;
    }
    return false;
}

static void run_calls(unsigned count)
{
    for (unsigned until = good_answers + bad_answers + count; good_answers + bad_answers < until || is_one_suspected();) {
        store_client_flush(client);
        for (unsigned i = 0; i < HELPERS; i++)
            store_client_receive(client, i, clock_monotonic());
        store_client_tick(client, clock_monotonic());
    }
}

BOTH(helpers_killed_at_any_moment_fail_no_call)
{
    struct helper_process processes[HELPERS];
    unsigned generations[HELPERS];
    struct message message;
    struct helper_process first = start_store();
    struct channel *channel = connect_loop(&first, 0);
    send_write(channel, 1, 42, 100 + BODY);
    cr_assert(wait_for_message(channel, &message));
    cr_assert_eq(end_helper(&first), 0);
    client = store_client_new(&(struct helper_hooks){.context = NULL, .report_hung = never_hung}, 20000, 1000);
    for (unsigned i = 0; i < HELPERS; i++)
        replace(&processes[i], i, generations[i] = 1);
    for (unsigned i = 0; i < IN_FLIGHT; i++) {
        calls[i] = (struct store_call){.type = MESSAGE_STORE_READ, .ask.read = read_of(0), .done = check_answer};
        calls[i].ask.read.front_offset = (10 + i) * SLAB_PAGE_BYTES;
        store_client_submit(client, &calls[i], clock_monotonic());
    }
    for (unsigned kills = 0; kills < KILLS; kills++) {
        unsigned victim = kills % HELPERS;
        run_calls(1 + kills * 7 % 50);
        kill(processes[victim].pid, SIGKILL);
        replace(&processes[victim], victim, ++generations[victim]);
    }
    run_calls(1000);
    cr_assert_eq(bad_answers, 0);
    store_client_free(&client);
    for (unsigned i = 0; i < HELPERS; i++)
        cr_assert_eq(end_helper(&processes[i]), 0);
}
