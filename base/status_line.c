/* See status_line.h. */
#include "base/status_line.h"

#define VERSION_AND_STATUS "HTTP/1.1 200 "
#define LINE_END           "\r\n"

enum { STATUS_FIRST = 100 };

static const struct bytes lines[] = {
#define STATUS(status, phrase)                                                                                                             \
    [status - STATUS_FIRST] = {"HTTP/1.1 " #status " " phrase LINE_END, sizeof(VERSION_AND_STATUS phrase LINE_END) - 1},
#include "base/status_line.tbl"
#undef STATUS
};

struct bytes status_line_usual(unsigned status)
{
    unsigned row = status - STATUS_FIRST; /* what is less is too much */
    return row < sizeof lines / sizeof *lines ? lines[row] : BYTES_NONE;
}

struct bytes status_phrase(unsigned status)
{
    struct bytes line = status_line_usual(status);
    size_t before = sizeof VERSION_AND_STATUS - 1, around = before + sizeof LINE_END - 1;
    return line.len == 0 ? BYTES("") : bytes_from(line.at + before, line.len - around);
}
