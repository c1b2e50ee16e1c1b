/* Keys of session tickets: what seals, what still opens, and until when. */
#include "proxy/net/tls_tickets.h"

#include <criterion/criterion.h>
#include <openssl/rand.h>

static struct tls_tickets *tickets;
static uint8_t name[16], iv[16];

static int use(uint8_t *key_name, int64_t hours, int seals)
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *mac_context = EVP_MAC_CTX_new(mac);
    EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
    int used = tls_tickets_use(tickets, 1000000 + hours * 3600, key_name, iv, cipher, mac_context, seals);
    EVP_CIPHER_CTX_free(cipher);
    EVP_MAC_CTX_free(mac_context);
    EVP_MAC_free(mac);
    return used;
}

static void end(void)
{
    tls_tickets_unref(&tickets);
}

TestSuite(tls_tickets, .fini = end);

Test(tls_tickets, what_seals_changes_every_twelve_hours_and_opens_for_twelve_more)
{
    uint8_t later[16];
    tickets = tls_tickets_new();
    cr_expect_eq(use(name, 0, 1), 1);
    cr_expect_eq(use(name, 11, 0), 1);
    cr_expect_eq(use(name, 13, 0), 2, "opened, and to be sealed anew");
    cr_expect_eq(use(later, 13, 1), 1);
    cr_expect_neq(memcmp(name, later, 16), 0);
    cr_expect_eq(use(name, 23, 0), 2);
    cr_expect_eq(use(name, 25, 0), 0, "a day later nobody has that key");
    cr_expect_eq(use(later, 25, 0), 2);
}

Test(tls_tickets, after_a_long_pause_no_old_key_opens)
{
    tickets = tls_tickets_new();
    cr_expect_eq(use(name, 0, 1), 1);
    cr_expect_eq(use(name, 100, 0), 0);
}

Test(tls_tickets, of_keys_that_are_given_the_first_seals_and_all_open)
{
    char keys[3 * TLS_TICKET_KEY_BYTES];
    RAND_bytes((unsigned char *)keys, sizeof(keys));
    tickets = tls_tickets_from(bytes_from(keys, sizeof(keys)));
    cr_assert(tickets);
    cr_expect_eq(use(name, 0, 1), 1);
    cr_expect_eq(memcmp(name, keys, 16), 0);
    cr_expect_eq(use(name, 1000, 0), 1);
    cr_expect_eq(use((uint8_t *)keys + 2 * TLS_TICKET_KEY_BYTES, 1000, 0), 2);
    memset(name, 7, sizeof(name));
    cr_expect_eq(use(name, 0, 0), 0);
}

Test(tls_tickets, a_file_of_another_length_has_no_keys)
{
    char keys[17 * TLS_TICKET_KEY_BYTES] = {0};
    cr_expect_null(tls_tickets_from(bytes_from(keys, 0)));
    cr_expect_null(tls_tickets_from(bytes_from(keys, 79)));
    cr_expect_null(tls_tickets_from(bytes_from(keys, 81)));
    cr_expect_null(tls_tickets_from(bytes_from(keys, sizeof(keys))));
}
