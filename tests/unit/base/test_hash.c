#include "base/hash.h"

#include <criterion/criterion.h>

static struct hash_key key_of(unsigned char fill)
{
    unsigned char material[HASH_KEY_BYTES];
    struct hash_key key;
    memset(material, fill, sizeof(material));
    hash_key_derive(&key, material);
    return key;
}

Test(hash, the_same_material_gives_the_same_hashes)
{
    struct hash_key a = key_of(1), b = key_of(1);
    cr_assert_arr_eq(a.material, b.material, HASH_KEY_BYTES);
    cr_assert_arr_eq(a.secret, b.secret, sizeof(a.secret));
    cr_assert(hash_equal(hash_bytes(&a, BYTES("text")), hash_bytes(&b, BYTES("text"))));

    struct hash_key random, again;
    hash_key_random(&random);
    hash_key_derive(&again, random.material); /* as a store does that reads its superblock */
    cr_assert(hash_equal(hash_bytes(&random, BYTES("text")), hash_bytes(&again, BYTES("text"))));
    hash_key_derive(&again, again.material); /* in place */
    cr_assert_arr_eq(random.secret, again.secret, sizeof(again.secret));
}

Test(hash, every_bit_of_the_material_counts)
{
    struct hash_key base = key_of(0);
    for (unsigned bit = 0; bit < HASH_KEY_BYTES * 8; bit++) {
        unsigned char material[HASH_KEY_BYTES] = {0};
        struct hash_key key;
        material[bit / 8] = (unsigned char)(1 << bit % 8);
        hash_key_derive(&key, material);
        cr_assert_not(hash_equal(hash_bytes(&key, BYTES("/index.html")), hash_bytes(&base, BYTES("/index.html"))), "bit %u", bit);
    }
}

Test(hash, random_keys_differ)
{
    struct hash_key a, b;
    hash_key_random(&a);
    hash_key_random(&b);
    cr_assert_not(hash_equal(hash_bytes(&a, BYTES("x")), hash_bytes(&b, BYTES("x"))));
}

Test(hash, every_byte_and_the_length_count)
{
    /* xxhash takes other ways at 16, 128 and 240 bytes. */
    struct hash_key key = key_of(7);
    char text[300];
    struct hash128 seen[300];
    memset(text, 'a', sizeof(text));
    for (size_t len = 0; len < sizeof(text); len++) {
        seen[len] = hash_bytes(&key, bytes_from(text, len));
        for (size_t before = 0; before < len; before++)
            cr_assert_not(hash_equal(seen[len], seen[before]), "lengths %zu and %zu", len, before);
        for (size_t at = 0; at < len; at++) {
            text[at] = 'b';
            cr_assert_not(hash_equal(hash_bytes(&key, bytes_from(text, len)), seen[len]), "length %zu byte %zu", len, at);
            text[at] = 'a';
        }
    }
    cr_assert(hash_equal(hash_bytes(&key, BYTES_NONE), seen[0]), "absent hashes as empty");
}

Test(hash, stored_hashes_stay_valid)
{
    /* Hashes are written to the disk store: another xxhash that gives others makes every stored response unreachable. */
    static const struct {
        size_t len;
        struct hash128 hash;
    } cases[] = {
        {0, {0x51ff867e424bb5f5, 0x43db5bb2756287eb}},   {11, {0xa1152bdcdfc0cd42, 0x63f0195fa1a0e266}},
        {100, {0xb461847d7b1f8ccb, 0x0d0a9ab46e4fb550}}, {200, {0x404d916ba2c8417b, 0x9bdeb82ea3bbeb29}},
        {300, {0x6366f2375e60d516, 0x53172880bf9dca9f}},

    };
    unsigned char material[HASH_KEY_BYTES];
    char text[300];
    struct hash_key key;
    for (unsigned char i = 0; i < HASH_KEY_BYTES; i++)
        material[i] = i;
    memset(text, 'x', sizeof(text));
    hash_key_derive(&key, material);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        cr_expect(hash_equal(hash_bytes(&key, bytes_from(text, cases[i].len)), cases[i].hash), "length %zu", cases[i].len);
}
