/* HTTP/1 client connections over a socket pair, with a real loop and a request layer of the test's own. */
#include "wire.h"

TestSuite(h1, .init = begin, .fini = end, .timeout = 60);

#define HOST "Host: a.example\r\n"

static bool one_answer(void)
{
    return wire_answers() >= 1 && (wire_got("hello") || wire_got("later"));
}

Test(h1, a_get_is_parsed_and_answered_and_the_connection_kept)
{
    wire_connect();
    wire_say("GET /hit?x=1&y HTTP/1.1\r\n" HOST "X-Field: \t a  b \r\nEmpty:\r\nAccept: */*\r\n\r\n");
    turn_until(one_answer);
    cr_expect_str_eq(wire.got, "HTTP/1.1 200 X\r\nServer: fake\r\nAge: 1\r\nContent-Length: 5\r\n\r\nhello");
    cr_expect_str_eq(fake_log, "GET path=/hit query=x=1&y authority=a.example 1.1 keep\n  [Host]=[a.example]*\n  [X-Field]=[a  b]\n"
                               "  [Empty]=[]\n  [Accept]=[*/*]*\nfinished\n");
    wire.got_len = 0;
    wire_say("GET /later HTTP/1.1\r\n" HOST "\r\n");
    turn_until(one_answer);
    cr_expect(!wire.ended);
}
