#include "proxy/admin/ctl_http.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static bool parse(const char *response, struct ctl_answer *answer, char **body)
{
    static char text[1024];
    size_t length = strlen(response);
    strcpy(text, response);
    return ctl_parse(text, length, answer, body);
}

Test(ctl_http, takes_status_and_body)
{
    struct ctl_answer answer;
    char *body;
    cr_assert(parse("HTTP/1.1 403 Forbidden\r\nServer: x\r\ncontent-length: 3\r\n\r\nno\n", &answer, &body));
    cr_assert_eq(answer.status, 403);
    cr_assert_str_eq(answer.reason, "Forbidden");
    cr_assert_str_eq(body, "no\n");
    cr_assert(parse("HTTP/1.0 200 OK\r\n\r\n{}", &answer, &body));
    cr_assert_str_eq(body, "{}");
    cr_assert(parse("HTTP/1.1 414 URI Too Long\r\n\r\n", &answer, &body));
    cr_assert_str_eq(answer.reason, "URI Too Long");
    cr_assert(parse("HTTP/1.1 599\r\nA: b\r\n\r\n", &answer, &body));
    cr_assert(answer.status == 599 && answer.reason[0] == '\0');
}

Test(ctl_http, refuses_what_is_cut_short_or_something_else)
{
    struct ctl_answer answer;
    char *body;
    cr_assert_not(parse("", &answer, &body));
    cr_assert_not(parse("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", &answer, &body));
    cr_assert_not(parse("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno", &answer, &body));
    cr_assert_not(parse("220 mail.example.com ESMTP\r\n\r\n", &answer, &body));
}

Test(ctl_http, escapes_a_url_so_that_it_is_one_parameter)
{
    char *escaped = ctl_escape("http://a.b/c?d=e&f=%20~");
    cr_assert_str_eq(escaped, "http://a.b/c?d=e%26f=%2520~");
    free(escaped);
    escaped = ctl_escape("a b+c#d\"e\n\xc3\xa4");
    cr_assert_str_eq(escaped, "a%20b%2Bc%23d%22e%0A%C3%A4");
    free(escaped);
}

Test(ctl_http, says_of_any_refusal_one_line_in_words)
{
    static const struct {
        unsigned status;
        const char *reason, *body, *line;
    } cases[] = {
        {400, "Bad Request", "{\"error\":\"say what\"}\n", "say what (status 400)"},
        {400, "", "{\"error\":\"say\\nwhat\"}\n", "say\\x0awhat (status 400)"},
        {503, "Service Unavailable", "<!DOCTYPE html>\n<html><title>503</title>", "refused (status 503, Service Unavailable)"},
        {500, "\033[2J", "", "refused (status 500, \\x1b[2J)"},
        {404, "Not Found", "[\"error\"]", "refused (status 404, Not Found)"},
        {414, "URI Too Long", "<!DOCTYPE html>",
         "refused: what is asked for is longer than limits.url_bytes and limits.header_bytes let through (status 414, URI Too Long)"},
        {200, "OK", "<!DOCTYPE html>", "the answer is not outrigger's (status 200, OK)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[1024];
        struct ctl_answer answer = {.status = cases[i].status, .body = (char *)cases[i].body};
        strcpy(answer.reason, cases[i].reason);
        ctl_describe_refusal(&answer, line, sizeof line);
        cr_assert_str_eq(line, cases[i].line);
    }
}

Test(ctl_http, says_why_nobody_answers)
{
    struct ctl_answer answer;
    char error[512];
    cr_assert_not(ctl_ask("/nonexistent/admin.sock", "GET", "/stats", &answer, error, sizeof error));
    cr_assert(strstr(error, "is outrigger running"), "%s", error);
}
