/* Addresses as header fields write them. */
#include "proxy/net/socket_address.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdlib.h>

static const struct {
    const char *text, *address; /* NULL: none */
    unsigned port;
} rows[] = {
    {"192.0.2.1", "192.0.2.1", 0},
    {"192.0.2.1:80", "192.0.2.1", 80},
    {"192.0.2.1:65535", "192.0.2.1", 65535},
    {"2001:db8::1", "2001:db8::1", 0},
    {"[2001:db8::1]", "2001:db8::1", 0},
    {"[2001:db8::1]:443", "2001:db8::1", 443},
    {"::", "::", 0},
    {"::ffff:192.0.2.1", "192.0.2.1", 0},
    {"[::ffff:192.0.2.1]:80", "192.0.2.1", 80},

    {"", NULL, 0},
    {"unknown", NULL, 0},
    {"_hidden", NULL, 0},
    {"192.0.2", NULL, 0},
    {"192.0.2.1.", NULL, 0},
    {"192.0.2.256", NULL, 0},
    {"192.0.2.1 ", NULL, 0},
    {" 192.0.2.1", NULL, 0},
    {"192.0.2.1:", NULL, 0},
    {"192.0.2.1:x", NULL, 0},
    {"192.0.2.1:65536", NULL, 0},
    {"192.0.2.1:-1", NULL, 0},
    {"[192.0.2.1]", NULL, 0},
    {"[2001:db8::1", NULL, 0},
    {"2001:db8::1]", NULL, 0},
    {"[2001:db8::1]80", NULL, 0},
    {"[2001:db8::1]:", NULL, 0},
    {"[]", NULL, 0},
    {"[", NULL, 0},
    {":", NULL, 0},
    {":80", NULL, 0},
    {"fe80::1%eth0", NULL, 0},
    {"2001:db8:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001", NULL, 0},
};

Test(socket_address, every_row_of_the_table)
{
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t length = strlen(rows[i].text);
        char *memory = malloc(length), shown[64];
        union socket_address address;
        memcpy(memory, rows[i].text, length);
        bool is_one = socket_address_parse(bytes_from(memory, length), &address);
        free(memory);
        cr_assert_eq(is_one, rows[i].address != NULL, "%s", rows[i].text);
        if (!is_one)
            continue;
        shown[socket_address_format(&address, shown, sizeof(shown))] = '\0';
        cr_expect_str_eq(shown, rows[i].address);
        cr_expect_eq(ntohs(address.in.sin_port), rows[i].port, "%s", rows[i].text);
    }
}

Test(socket_address, a_nul_is_no_end)
{
    union socket_address address;
    cr_expect_not(socket_address_parse(bytes_from("192.0.2.1\0x", 11), &address));
    cr_expect_not(socket_address_parse(bytes_from("::1\0", 4), &address));
}
