#include "proxy/admin/ctl_http.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static bool parse(const char *response, unsigned *status, char **body)
{
    static char text[1024];
    size_t length = strlen(response);
    strcpy(text, response);
    return ctl_parse(text, length, status, body);
}

Test(ctl_http, takes_status_and_body)
{
    unsigned status;
    char *body;
    cr_assert(parse("HTTP/1.1 403 Forbidden\r\nServer: x\r\ncontent-length: 3\r\n\r\nno\n", &status, &body));
    cr_assert_eq(status, 403);
    cr_assert_str_eq(body, "no\n");
    cr_assert(parse("HTTP/1.0 200 OK\r\n\r\n{}", &status, &body));
    cr_assert_str_eq(body, "{}");
}

Test(ctl_http, refuses_what_is_cut_short_or_something_else)
{
    unsigned status;
    char *body;
    cr_assert_not(parse("", &status, &body));
    cr_assert_not(parse("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", &status, &body));
    cr_assert_not(parse("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nno", &status, &body));
    cr_assert_not(parse("220 mail.example.com ESMTP\r\n\r\n", &status, &body));
}

Test(ctl_http, escapes_a_url_so_that_it_is_one_parameter)
{
    char *escaped = ctl_escape("http://a.b/c?d=e&f=%20~");
    cr_assert_str_eq(escaped, "http%3A%2F%2Fa.b%2Fc%3Fd%3De%26f%3D%2520~");
    free(escaped);
}

Test(ctl_http, says_why_nobody_answers)
{
    struct ctl_answer answer;
    char error[512];
    cr_assert_not(ctl_ask("/nonexistent/admin.sock", "GET", "/stats", &answer, error, sizeof error));
    cr_assert(strstr(error, "is outrigger running"), "%s", error);
}
