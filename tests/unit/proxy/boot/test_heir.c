#include "proxy/boot/heir.h"

#include "helpers/control.h"

#include <criterion/criterion.h>
#include <sys/socket.h>
#include <unistd.h>

static struct heir old, new;
static int pair[2];
static struct message_invalidated about;
static struct bytes tail;
static char buffer[HEIR_TAIL_MAX];

static void set_up(void)
{
    heir_init(&old);
    heir_init(&new);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    new.from = pair[1];
}

TestSuite(heir, .init = set_up, .timeout = 30);

static void pass(const char *text, uint32_t key_bytes, bool is_group)
{
    heir_pass(&old, &(struct message_invalidated){key_bytes, is_group}, bytes_from_string(text));
}

static void expect(const char *text, uint32_t key_bytes, bool is_group)
{
    cr_assert(heir_hear(&new, &about, &tail, buffer), "%s", text);
    cr_expect(bytes_equal(tail, bytes_from_string(text)), "%.*s", BYTES_FMT(tail));
    cr_expect_eq(about.key_bytes, key_bytes);
    cr_expect_eq(about.is_group != 0, is_group);
}

Test(heir, what_is_passed_before_it_may_be_told_waits_and_keeps_its_order)
{
    pass("first", 5, false);
    pass("secondgroup", 6, true);
    cr_assert_not(heir_hear(&new, &about, &tail, buffer));
    heir_open(&old, pair[0]);
    pass("third", 5, false);
    expect("first", 5, false);
    expect("secondgroup", 6, true);
    expect("third", 5, false);
    cr_assert_not(heir_hear(&new, &about, &tail, buffer));
    cr_assert_geq(new.from, 0, "there may be more");
    heir_forget(&old);
    close(pair[0]);
    cr_assert_not(heir_hear(&new, &about, &tail, buffer));
    cr_assert_lt(new.from, 0);
}

Test(heir, what_waits_is_forgotten_with_the_new_one)
{
    pass("first", 5, false);
    heir_forget(&old);
    heir_open(&old, pair[0]);
    cr_assert_not(heir_hear(&new, &about, &tail, buffer));
    heir_forget(&old);
}

Test(heir, a_new_one_that_does_not_listen_is_no_trouble)
{
    heir_open(&old, pair[0]);
    close(pair[1]);
    pass("first", 5, false);
    heir_forget(&old);
}

Test(heir, what_is_no_word_closes_the_stream)
{
    cr_assert_eq(write(pair[0], "TTTTTT", 6), 6);
    cr_assert_not(heir_hear(&new, &about, &tail, buffer));
    cr_assert_lt(new.from, 0);
}

Test(heir, a_proxy_tells_its_supervisor_in_one_message)
{
    static struct control_message message;
    static char longest[HEIR_TAIL_MAX];
    int control[2];
    cr_assert_eq(control_make(control), 0);
    heir_tell(control[1], BYTES("key"), BYTES("group"));
    cr_assert_eq(control_receive(control[0], ROLE_SUPERVISOR, ROLE_PROXY, false, &message), CONTROL_MESSAGE);
    const struct message_invalidated *told = message.message.payload;
    cr_expect(message.message.type == MESSAGE_INVALIDATED && told->key_bytes == 3 && told->is_group);
    cr_expect(bytes_equal(message.message.tail, BYTES("keygroup")));
    heir_tell(control[1], bytes_from(longest, sizeof longest), BYTES_NONE);
    cr_assert_eq(control_receive(control[0], ROLE_SUPERVISOR, ROLE_PROXY, false, &message), CONTROL_MESSAGE);
    cr_expect_not(((const struct message_invalidated *)message.message.payload)->is_group);
    heir_tell(control[1], bytes_from(longest, sizeof longest), BYTES("x"));
    cr_expect_eq(control_receive(control[0], ROLE_SUPERVISOR, ROLE_PROXY, false, &message), CONTROL_AGAIN, "what is too long is not cut");
}

Test(heir, what_is_no_key_is_not_heeded)
{
    cr_expect_not(heir_heed(NULL, &(struct message_invalidated){4, 0}, BYTES("abc"), clock_wall()));
    cr_expect_not(heir_heed(NULL, &(struct message_invalidated){3, 0}, BYTES("abc"), clock_wall()));
}
