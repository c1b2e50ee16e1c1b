/* See tls_kdf.h. */
#include "proxy/net/tls_kdf.h"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/provider.h>
#include <pthread.h>

/* OpenSSL is asked for what is lean, if there is such a one: only this is. A name that is not OpenSSL's own has a dot (property(7)). */
static const char name[] = "outrigger", algorithm[] = OSSL_KDF_NAME_TLS1_3_KDF, definition[] = "provider=outrigger,x.lean=yes",
                  query[] = "?x.lean";

static struct {
    EVP_MD *sha256, *sha384;
    OSSL_PROVIDER *provider; /* loaded as long as the process lives */
    bool is_chosen;
} kdf; /* immutable once made */

static _Thread_local struct record_secrets *noted;

/* ---- HMAC and HKDF ---------------------------------------------------------------------------------------------------------------------- */

/* The hash of the key, padded to a block by `pad`, and of the parts. */
static bool hash_keyed(EVP_MD_CTX *context, const EVP_MD *hash, struct bytes key, uint8_t pad, const struct bytes *parts, unsigned count,
                       uint8_t *out)
{
    uint8_t block[KDF_KEY_MAX];
    size_t length = (size_t)EVP_MD_get_block_size(hash);
    memset(block, pad, length);
    for (size_t i = 0; i < key.len; i++)
        block[i] ^= (uint8_t)key.at[i];
    bool good = EVP_DigestInit_ex2(context, hash, NULL) == 1 && EVP_DigestUpdate(context, block, length) == 1;
    for (unsigned i = 0; i < count; i++)
        good = good && EVP_DigestUpdate(context, parts[i].at, parts[i].len) == 1;
    OPENSSL_cleanse(block, sizeof(block));
    return good && EVP_DigestFinal_ex(context, out, NULL) == 1;
}

bool tls_kdf_hmac(const EVP_MD *hash, struct bytes key, const struct bytes *parts, unsigned count, uint8_t *out)
{
    enum { INNER = 0x36, OUTER = 0x5c };
    uint8_t inner[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = false;
    if (context && key.len <= (size_t)EVP_MD_get_block_size(hash) && key.len <= KDF_KEY_MAX)
        good = hash_keyed(context, hash, key, INNER, parts, count, inner);
    struct bytes digest = bytes_from((char *)inner, (size_t)EVP_MD_get_size(hash));
    good = good && hash_keyed(context, hash, key, OUTER, &digest, 1, out);
    EVP_MD_CTX_free(context);
    OPENSSL_cleanse(inner, sizeof(inner));
    return good;
}

bool tls_kdf_expand_label(const EVP_MD *hash, struct bytes secret, struct bytes label, struct bytes context, uint8_t *out, size_t length)
{
    static const char one[] = {1}; /* RFC 5869 §2.3: the first block, and the only one */
    static const struct bytes prefix = {"tls13 ", 6};
    uint8_t block[EVP_MAX_MD_SIZE];
    if (length > (size_t)EVP_MD_get_size(hash) || prefix.len + label.len > UINT8_MAX || context.len > UINT8_MAX)
        return false;
    const char head[3] = {0, (char)length, (char)(prefix.len + label.len)}, context_length = (char)context.len;
    const struct bytes parts[] = {bytes_from(head, sizeof(head)), prefix,  label,
                                  bytes_from(&context_length, 1), context, bytes_from(one, sizeof(one))};
    bool good = tls_kdf_hmac(hash, secret, parts, sizeof(parts) / sizeof(parts[0]), block);
    if (good)
        memcpy(out, block, length);
    OPENSSL_cleanse(block, sizeof(block));
    return good;
}

/* ---- the provider ----------------------------------------------------------------------------------------------------------------------- */

/* What OpenSSL asks for: EVP_KDF-TLS13_KDF(7). */
struct derivation {
    int mode;
    const EVP_MD *hash;
    struct bytes key, salt, prefix, label, data;
};

static const EVP_MD *hash_named(const char *wanted)
{
    if (strcmp(wanted, EVP_MD_get0_name(kdf.sha256)) == 0 || EVP_MD_is_a(kdf.sha256, wanted))
        return kdf.sha256;
    return EVP_MD_is_a(kdf.sha384, wanted) ? kdf.sha384 : NULL;
}

static bool take_parameter(struct derivation *derivation, const OSSL_PARAM *parameter)
{
    const struct {
        const char *key;
        struct bytes *to;
    } octets[] = {
        {OSSL_KDF_PARAM_KEY, &derivation->key},     {OSSL_KDF_PARAM_SALT, &derivation->salt}, {OSSL_KDF_PARAM_PREFIX, &derivation->prefix},
        {OSSL_KDF_PARAM_LABEL, &derivation->label}, {OSSL_KDF_PARAM_DATA, &derivation->data},
    };
    for (unsigned i = 0; i < sizeof(octets) / sizeof(octets[0]); i++) {
        if (strcmp(parameter->key, octets[i].key) == 0) {
            *octets[i].to = bytes_from(parameter->data, parameter->data_size);
            return parameter->data_type == OSSL_PARAM_OCTET_STRING;
        }
    }
    if (strcmp(parameter->key, OSSL_KDF_PARAM_MODE) == 0)
        return OSSL_PARAM_get_int(parameter, &derivation->mode) == 1;
    if (strcmp(parameter->key, OSSL_KDF_PARAM_DIGEST) == 0)
        derivation->hash = parameter->data_type == OSSL_PARAM_UTF8_STRING ? hash_named(parameter->data) : NULL;
    return true;
}

static bool expand(const struct derivation *derivation, uint8_t *out, size_t length)
{
    return tls_kdf_expand_label(derivation->hash, derivation->key, derivation->label, derivation->data, out, length);
}

/* RFC 8446 §7.1: the next secret of the ladder: extracted from an input, or from zeros, under what is derived from the one before, or under zeros. */
static bool extract(const struct derivation *derivation, uint8_t *out, size_t length)
{
    static const uint8_t zeros[EVP_MAX_MD_SIZE];
    const size_t size = (size_t)EVP_MD_get_size(derivation->hash);
    uint8_t salt[EVP_MAX_MD_SIZE] = {0}, of_nothing[EVP_MAX_MD_SIZE];
    const struct bytes key = derivation->key.at ? derivation->key : bytes_from((const char *)zeros, size);
    bool good = length == size;
    if (good && derivation->salt.at)
        good =
            EVP_Digest("", 0, of_nothing, NULL, derivation->hash, NULL) == 1 &&
            tls_kdf_expand_label(derivation->hash, derivation->salt, derivation->label, bytes_from((char *)of_nothing, size), salt, size);
    good = good && tls_kdf_hmac(derivation->hash, bytes_from((char *)salt, size), &key, 1, out);
    OPENSSL_cleanse(salt, sizeof(salt));
    return good;
}

/* RFC 8446 §7.1 */
static void note(struct bytes label, const uint8_t *secret, size_t length)
{
    if (!noted || length > KDF_SECRET_MAX)
        return;
    if (bytes_equal(label, BYTES("c ap traffic"))) {
        memcpy(noted->in, secret, length);
        noted->in_length = (unsigned)length;
    } else if (bytes_equal(label, BYTES("s ap traffic"))) {
        memcpy(noted->out, secret, length);
        noted->out_length = (unsigned)length;
        noted->out_sequence = 0;
    }
}

static int derive(void *context, unsigned char *out, size_t length, const OSSL_PARAM *parameters)
{
    struct derivation derivation = {.mode = -1};
    (void)context;
    for (; parameters && parameters->key; parameters++)
        if (!take_parameter(&derivation, parameters))
            return 0;
    if (!derivation.hash || !bytes_equal(derivation.prefix, BYTES("tls13 ")))
        return 0;
    if (derivation.mode == EVP_KDF_HKDF_MODE_EXTRACT_ONLY)
        return extract(&derivation, out, length);
    if (derivation.mode != EVP_KDF_HKDF_MODE_EXPAND_ONLY || !derivation.key.at || !expand(&derivation, out, length))
        return 0;
    note(derivation.label, out, length);
    return 1;
}

/* A derivation keeps nothing between two calls: what OpenSSL takes for its context is the provider's. */
static void *new_context(void *provider)
{
    return provider;
}

static void free_context(void *context)
{
    (void)context;
}

static const OSSL_ALGORITHM *algorithms(void *provider, int operation, int *not_to_be_kept)
{
    static const OSSL_DISPATCH functions[] = {
        {OSSL_FUNC_KDF_NEWCTX, (void (*)(void))new_context},
        {OSSL_FUNC_KDF_FREECTX, (void (*)(void))free_context},
        {OSSL_FUNC_KDF_DERIVE, (void (*)(void))derive},
        {0, NULL},
    };
    static const OSSL_ALGORITHM kdfs[] = {{algorithm, definition, functions, NULL}, {NULL, NULL, NULL, NULL}};
    (void)provider;
    *not_to_be_kept = 0;
    return operation == OSSL_OP_KDF ? kdfs : NULL;
}

static int begin_provider(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *core, const OSSL_DISPATCH **out, void **context)
{
    static const OSSL_DISPATCH functions[] = {{OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))algorithms}, {0, NULL}};
    (void)core;
    *out = functions;
    *context = (void *)handle; /* something that is not NULL */
    return 1;
}

static bool is_chosen(void)
{
    EVP_KDF *chosen = kdf.provider ? EVP_KDF_fetch(NULL, algorithm, query) : NULL;
    bool is_ours = chosen && EVP_KDF_get0_provider(chosen) == kdf.provider;
    EVP_KDF_free(chosen);
    return is_ours;
}

static void make(void)
{
    kdf.sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    kdf.sha384 = EVP_MD_fetch(NULL, "SHA2-384", NULL);
    if (OSSL_PROVIDER_add_builtin(NULL, name, begin_provider) == 1)
        kdf.provider = OSSL_PROVIDER_try_load(NULL, name, 1);
    kdf.is_chosen = is_chosen() && kdf.sha256 && kdf.sha384;
}

static void make_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make);
}

const EVP_MD *tls_kdf_sha256(void)
{
    make_once();
    return kdf.sha256;
}

const EVP_MD *tls_kdf_sha384(void)
{
    make_once();
    return kdf.sha384;
}

const char *tls_kdf_properties(void)
{
    make_once();
    return query;
}

bool tls_kdf_is_chosen(void)
{
    make_once();
    return kdf.is_chosen;
}

void tls_kdf_note_in(struct record_secrets *secrets)
{
    noted = secrets;
}
