/* Media types by extension. */
#include "proxy/origin/mime.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void load(const char *text)
{
    char path[] = "/tmp/test_mime.XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    mime_load(path);
    unlink(path);
}

static void expect(const char *path, const char *type)
{
    struct bytes found = mime_type(bytes_from_string(path));
    cr_assert(bytes_equal(found, bytes_from_string(type)), "%s is %.*s", path, BYTES_FMT(found));
}

static const char octets[] = "application/octet-stream";

Test(mime, a_table_is_read)
{
    load("# comment\n"
         "application/x-none\n"
         "\n"
         "text/x-one\t\t\tone uno\n"
         "text/x-two two # three\n"
         "text/x-later ONE html\n"
         "nonsense nonsense\n"
         "text/x-last last");
    expect("a.one", "text/x-one");
    expect("dir.two/a.uno", "text/x-one");
    expect("a.two", "text/x-two");
    expect("a.three", octets);
    expect("a.nonsense", octets);
    expect("a.last", "text/x-last");
    expect("a.html", "text/x-later"); /* the table beats what is built in */
}

Test(mime, names)
{
    mime_load("/nonexistent");
    expect("index.html", "text/html");
    expect("INDEX.HTML", "text/html");
    expect("archive.tar.gz", "application/gzip");
    expect("style.css", "text/css");
    expect("html", octets);
    expect("a.html/readme", octets);
    expect("a.", octets);
    expect(".html", "text/html");
    expect("", octets);
    expect("a.waytoolongforanextensionwaytoolongforanextension", octets);
}

Test(mime, the_systems_table)
{
    mime_load(MIME_TYPES_PATH);
    expect("a.html", "text/html");
    expect("a.png", "image/png");
    expect("a.svg", "image/svg+xml");
}

Test(mime, nothing_is_known_before_it_is_loaded)
{
    expect("a.html", octets);
}
