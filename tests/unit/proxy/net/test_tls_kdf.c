/* The key derivation of TLS 1.3: against published vectors, and against OpenSSL's own. */
#include "proxy/net/tls_kdf.h"

#include <criterion/criterion.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>

static struct bytes from_hex(const char *hex, char *out)
{
    size_t length = strlen(hex) / 2;
    for (size_t i = 0; i < length; i++) {
        uint64_t byte = 0;
        cr_assert(bytes_parse_hex64(bytes_from(hex + 2 * i, 2), &byte));
        out[i] = (char)byte;
    }
    return bytes_from(out, length);
}

static void expect_hmac(const EVP_MD *hash, const char *key, struct bytes first, struct bytes second, const char *expected)
{
    char key_bytes[KDF_KEY_MAX], wanted[EVP_MAX_MD_SIZE];
    uint8_t got[EVP_MAX_MD_SIZE];
    const struct bytes parts[] = {first, second};
    struct bytes result = from_hex(expected, wanted);
    cr_assert(tls_kdf_hmac(hash, from_hex(key, key_bytes), parts, 2, got));
    cr_expect_eq(memcmp(got, result.at, result.len), 0, "%s", expected);
}

/* RFC 4231 §4.2, §4.3 */
Test(tls_kdf, hmac_of_the_published_vectors)
{
    static const char b[] = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", jefe[] = "4a656665";
    expect_hmac(tls_kdf_sha256(), b, BYTES("Hi "), BYTES("There"), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    expect_hmac(tls_kdf_sha384(), b, BYTES("Hi There"), BYTES_NONE,
                "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6");
    expect_hmac(tls_kdf_sha256(), jefe, BYTES("what do ya want "), BYTES("for nothing?"),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    expect_hmac(tls_kdf_sha384(), jefe, BYTES("what do ya want "), BYTES("for nothing?"),
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649");
}

Test(tls_kdf, hmac_takes_no_key_that_is_longer_than_a_block)
{
    char key[KDF_KEY_MAX + 1] = {0};
    uint8_t out[EVP_MAX_MD_SIZE];
    const struct bytes part = BYTES("x");
    cr_expect(tls_kdf_hmac(tls_kdf_sha256(), bytes_from(key, 64), &part, 1, out));
    cr_expect_not(tls_kdf_hmac(tls_kdf_sha256(), bytes_from(key, 65), &part, 1, out));
    cr_expect(tls_kdf_hmac(tls_kdf_sha384(), bytes_from(key, KDF_KEY_MAX), &part, 1, out));
    cr_expect_not(tls_kdf_hmac(tls_kdf_sha384(), bytes_from(key, sizeof(key)), &part, 1, out));
}

/* RFC 8448 §3: the server's handshake traffic secret, and its key and IV. */
Test(tls_kdf, labels_are_expanded_as_in_the_published_handshake)
{
    char secret[32], key[16], iv[12];
    uint8_t out[32];
    struct bytes from = from_hex("b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38", secret);
    cr_assert(tls_kdf_expand_label(tls_kdf_sha256(), from, BYTES("key"), BYTES_NONE, out, sizeof(key)));
    cr_expect_eq(memcmp(out, from_hex("3fce516009c21727d0f2e4e86ee403bc", key).at, sizeof(key)), 0);
    cr_assert(tls_kdf_expand_label(tls_kdf_sha256(), from, BYTES("iv"), BYTES_NONE, out, sizeof(iv)));
    cr_expect_eq(memcmp(out, from_hex("5d313eb2671276ee13000b30", iv).at, sizeof(iv)), 0);
    cr_expect_not(tls_kdf_expand_label(tls_kdf_sha256(), from, BYTES("key"), BYTES_NONE, out, 33), "one block only");
}

/* ---- as OpenSSL asks for it ------------------------------------------------------------------------------------------------------------ */

struct question {
    const char *digest;
    int mode;
    struct bytes key, salt, label, data;
};

static int ask(const char *properties, const struct question *question, uint8_t *out, size_t length)
{
    int mode = question->mode, answered;
    OSSL_PARAM parameters[8], *next = parameters;
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_3_KDF, properties);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);
    *next++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
    *next++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)question->digest, 0);
    if (question->key.at)
        *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (char *)question->key.at, question->key.len);
    if (question->salt.at)
        *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (char *)question->salt.at, question->salt.len);
    *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, (char *)"tls13 ", 6);
    *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, (char *)question->label.at, question->label.len);
    if (question->data.at)
        *next++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_DATA, (char *)question->data.at, question->data.len);
    *next = OSSL_PARAM_construct_end();
    answered = EVP_KDF_derive(context, out, length, parameters);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return answered;
}

static void expect_the_same(const struct question *question, size_t length)
{
    uint8_t ours[EVP_MAX_MD_SIZE] = {1}, theirs[EVP_MAX_MD_SIZE] = {2};
    cr_assert_eq(ask(tls_kdf_properties(), question, ours, length), 1);
    cr_assert_eq(ask("provider=default", question, theirs, length), 1);
    cr_expect_eq(memcmp(ours, theirs, length), 0, "%s %d %.*s", question->digest, question->mode, BYTES_FMT(question->label));
}

static char key_bytes[48], salt_bytes[48], data_bytes[48];

static void begin(void)
{
    RAND_bytes((uint8_t *)key_bytes, sizeof(key_bytes));
    RAND_bytes((uint8_t *)salt_bytes, sizeof(salt_bytes));
    RAND_bytes((uint8_t *)data_bytes, sizeof(data_bytes));
    cr_assert(tls_kdf_is_chosen());
}

TestSuite(tls_kdf_provider, .init = begin);

Test(tls_kdf_provider, it_derives_what_the_librarys_own_does)
{
    static const struct {
        const char *name;
        size_t size;
    } digests[] = {{"SHA2-256", 32}, {"SHA256", 32}, {"SHA2-384", 48}, {"SHA384", 48}};
    for (unsigned i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
        const size_t size = digests[i].size;
        struct question question = {.digest = digests[i].name, .mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY, .key = {key_bytes, size}};
        question.label = BYTES("c hs traffic");
        question.data = bytes_from(data_bytes, size);
        expect_the_same(&question, size);
        question.label = BYTES("iv");
        question.data = BYTES_NONE;
        expect_the_same(&question, 12);
        question = (struct question){.digest = digests[i].name, .mode = EVP_KDF_HKDF_MODE_EXTRACT_ONLY, .label = BYTES("derived")};
        expect_the_same(&question, size);
        question.key = bytes_from(key_bytes, 32);
        expect_the_same(&question, size);
        question.salt = bytes_from(salt_bytes, size);
        expect_the_same(&question, size);
        question.key = BYTES_NONE;
        expect_the_same(&question, size);
    }
}

Test(tls_kdf_provider, what_it_does_not_know_it_does_not_derive)
{
    uint8_t out[EVP_MAX_MD_SIZE];
    struct question question = {.digest = "SHA2-512", .mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY, .key = {key_bytes, 32}, .label = BYTES("key")};
    cr_expect_neq(ask(tls_kdf_properties(), &question, out, 16), 1);
    question.digest = "SHA2-256";
    cr_expect_eq(ask(tls_kdf_properties(), &question, out, 16), 1);
    cr_expect_neq(ask(tls_kdf_properties(), &question, out, 33), 1);
    question.mode = EVP_KDF_HKDF_MODE_EXTRACT_AND_EXPAND;
    cr_expect_neq(ask(tls_kdf_properties(), &question, out, 16), 1);
    question.mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    question.key = BYTES_NONE;
    cr_expect_neq(ask(tls_kdf_properties(), &question, out, 16), 1);
}

Test(tls_kdf_provider, traffic_secrets_are_noted_while_somebody_wants_them)
{
    struct record_secrets secrets = {.out_sequence = 7};
    uint8_t out[48];
    struct question question = {
        .digest = "SHA2-384", .mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY, .key = {key_bytes, 48}, .data = {data_bytes, 48}};
    tls_kdf_note_in(&secrets);
    question.label = BYTES("s hs traffic");
    ask(tls_kdf_properties(), &question, out, 48);
    cr_expect(secrets.in_length == 0 && secrets.out_length == 0, "those of the handshake are its own affair");
    question.label = BYTES("c ap traffic");
    ask(tls_kdf_properties(), &question, out, 48);
    cr_expect(secrets.in_length == 48 && memcmp(secrets.in, out, 48) == 0 && secrets.out_sequence == 7);
    question.label = BYTES("s ap traffic");
    ask(tls_kdf_properties(), &question, out, 48);
    cr_expect(secrets.out_length == 48 && memcmp(secrets.out, out, 48) == 0 && secrets.out_sequence == 0);
    tls_kdf_note_in(NULL);
    question.key = bytes_from(salt_bytes, 48);
    ask(tls_kdf_properties(), &question, out, 48);
    cr_expect_neq(memcmp(secrets.out, out, 48), 0);
}
