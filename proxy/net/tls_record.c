/* See tls_record.h. */
#include "proxy/net/tls_record.h"

#include <assert.h>
#include <openssl/evp.h>
#include <pthread.h>

enum { TAG_BYTES = 16, GCM_SALT_BYTES = 4, EXPLICIT_NONCE_BYTES = 8, NONCE_BYTES = 12, KEY_MAX = 32, VERSION_12 = 0x0303 };

enum { GATHERED_MAX_BYTES = 4096 }; /* pieces of a record: a call of the cipher for each costs more than copying them */

/* ---- ciphers ---------------------------------------------------------------------------------------------------------------------------- */

static EVP_CIPHER *aes128, *aes256, *chacha;

static void fetch_ciphers(void)
{
    aes128 = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
    aes256 = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    chacha = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
}

static const EVP_CIPHER *cipher_of(const struct tls_records *records)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fetch_ciphers);
    return records->is_chacha ? chacha : records->is_256 ? aes256 : aes128;
}

static bool choose_cipher(struct tls_records *records, const SSL_CIPHER *cipher)
{
    int kind = SSL_CIPHER_get_cipher_nid(cipher);
    records->is_chacha = kind == NID_chacha20_poly1305;
    records->is_256 = kind == NID_aes_256_gcm;
    records->is_sha384 = EVP_MD_get_type(SSL_CIPHER_get_handshake_digest(cipher)) == NID_sha384;
    return records->is_chacha || records->is_256 || kind == NID_aes_128_gcm;
}

static size_t key_bytes(const struct tls_records *records)
{
    return records->is_chacha || records->is_256 ? 32 : 16;
}

static const EVP_MD *digest_of(const struct tls_records *records)
{
    return records->is_sha384 ? tls_kdf_sha384() : tls_kdf_sha256();
}

static size_t digest_bytes(const struct tls_records *records)
{
    return records->is_sha384 ? 48 : 32;
}

static bool use_key(const struct tls_records *records, struct record_direction *direction, const uint8_t *key, bool seals)
{
    if (!direction->cipher)
        direction->cipher = EVP_CIPHER_CTX_new();
    return direction->cipher && EVP_CipherInit_ex(direction->cipher, cipher_of(records), NULL, key, NULL, seals) == 1;
}

/* ---- keys ------------------------------------------------------------------------------------------------------------------------------- */

static struct bytes secret_of(const struct tls_records *records, const struct record_direction *direction)
{
    return bytes_from((const char *)direction->secret, digest_bytes(records));
}

static bool expand_label(const struct tls_records *records, const struct record_direction *direction, struct bytes label, uint8_t *out,
                         size_t length)
{
    return tls_kdf_expand_label(digest_of(records), secret_of(records, direction), label, BYTES_NONE, out, length);
}

/* RFC 8446 §7.3 */
static bool derive_13(const struct tls_records *records, struct record_direction *direction, bool seals)
{
    uint8_t key[KEY_MAX];
    bool derived = expand_label(records, direction, BYTES("key"), key, key_bytes(records)) &&
                   expand_label(records, direction, BYTES("iv"), direction->iv, NONCE_BYTES) && use_key(records, direction, key, seals);
    OPENSSL_cleanse(key, sizeof(key));
    return derived;
}

bool tls_record_update(struct tls_records *records, struct record_direction *direction, bool seals)
{
    uint8_t next[RECORD_SECRET_MAX];
    if (!expand_label(records, direction, BYTES("traffic upd"), next, digest_bytes(records)))
        return false;
    memcpy(direction->secret, next, sizeof(next));
    OPENSSL_cleanse(next, sizeof(next));
    direction->sequence = 0;
    return derive_13(records, direction, seals);
}

static bool take_13(struct tls_records *records, const struct record_secrets *secrets)
{
    if (secrets->in_length != digest_bytes(records) || secrets->out_length != digest_bytes(records))
        return false;
    memcpy(records->in.secret, secrets->in, RECORD_SECRET_MAX);
    memcpy(records->out.secret, secrets->out, RECORD_SECRET_MAX);
    records->out.sequence = secrets->out_sequence;
    return derive_13(records, &records->in, false) && derive_13(records, &records->out, true);
}

/* RFC 5246 §5: P_hash of the master secret. */
static bool expand_12(const struct tls_records *records, struct bytes secret, struct bytes seed, uint8_t *out, size_t length)
{
    uint8_t chained[EVP_MAX_MD_SIZE], block[EVP_MAX_MD_SIZE];
    const size_t size = digest_bytes(records);
    const EVP_MD *digest = digest_of(records);
    const struct bytes parts[] = {bytes_from((char *)chained, size), seed};
    bool good = tls_kdf_hmac(digest, secret, &seed, 1, chained);
    for (size_t done = 0; done < length && good; done += size) {
        good = tls_kdf_hmac(digest, secret, parts, 2, block) && tls_kdf_hmac(digest, secret, parts, 1, chained);
        memcpy(out + done, block, length - done < size ? length - done : size);
    }
    OPENSSL_cleanse(block, sizeof(block));
    OPENSSL_cleanse(chained, sizeof(chained));
    return good;
}

/* RFC 5246 §6.3: client's key, server's key, client's IV, server's IV; an AEAD has no MAC keys. */
static bool take_12(struct tls_records *records, SSL *ssl)
{
    static const char label[] = "key expansion";
    enum { LABEL_BYTES = sizeof(label) - 1 };
    uint8_t master[SSL_MAX_MASTER_KEY_LENGTH], block[2 * (KEY_MAX + NONCE_BYTES)];
    char seed[LABEL_BYTES + 2 * SSL3_RANDOM_SIZE];
    const size_t key = key_bytes(records), iv = records->is_chacha ? NONCE_BYTES : GCM_SALT_BYTES;
    size_t master_length = SSL_SESSION_get_master_key(SSL_get_session(ssl), master, sizeof(master));
    memcpy(seed, label, LABEL_BYTES);
    SSL_get_server_random(ssl, (uint8_t *)seed + LABEL_BYTES, SSL3_RANDOM_SIZE);
    SSL_get_client_random(ssl, (uint8_t *)seed + LABEL_BYTES + SSL3_RANDOM_SIZE, SSL3_RANDOM_SIZE);
    bool taken = expand_12(records, bytes_from((char *)master, master_length), bytes_from(seed, sizeof(seed)), block, 2 * (key + iv));
    if (taken) {
        memcpy(records->in.iv, block + 2 * key, iv);
        memcpy(records->out.iv, block + 2 * key + iv, iv);
        taken = use_key(records, &records->in, block, false) && use_key(records, &records->out, block + key, true);
    }
    records->in.sequence = records->out.sequence =
        1; /* Finished was 0. Its explicit nonce was a random number: it is none of the next 2^40 */
    OPENSSL_cleanse(master, sizeof(master));
    OPENSSL_cleanse(block, sizeof(block));
    return taken;
}

bool tls_records_take(struct tls_records *records, SSL *ssl, const struct record_secrets *secrets)
{
    uint8_t code = SSL_SESSION_get_max_fragment_length(SSL_get_session(ssl));
    *records = (struct tls_records){.is_13 = SSL_version(ssl) == TLS1_3_VERSION};
    records->plain_max = code >= 1 && code <= 4 ? (uint16_t)(256u << code) : RECORD_PLAIN_MAX;
    if (!choose_cipher(records, SSL_get_current_cipher(ssl)))
        return false;
    return records->is_13 ? take_13(records, secrets) : SSL_version(ssl) == TLS1_2_VERSION && take_12(records, ssl);
}

void tls_records_clear(struct tls_records *records)
{
    EVP_CIPHER_CTX_free(records->in.cipher);
    EVP_CIPHER_CTX_free(records->out.cipher);
    OPENSSL_cleanse(records, sizeof(*records));
}

/* ---- records ---------------------------------------------------------------------------------------------------------------------------- */

static void put_u64(uint8_t *out, uint64_t value)
{
    for (int i = 7; i >= 0; i--, value >>= 8)
        out[i] = (uint8_t)value;
}

static bool has_explicit_nonce(const struct tls_records *records)
{
    return !records->is_13 && !records->is_chacha;
}

/* RFC 8446 §5.3, RFC 7905 §2: the IV and the sequence number; RFC 5288 §3: the salt and what is sent. */
static void make_nonce(const struct tls_records *records, const struct record_direction *direction, const uint8_t *explicit_nonce,
                       uint8_t nonce[NONCE_BYTES])
{
    memcpy(nonce, direction->iv, NONCE_BYTES);
    if (has_explicit_nonce(records)) {
        memcpy(nonce + GCM_SALT_BYTES, explicit_nonce, EXPLICIT_NONCE_BYTES);
        return;
    }
    uint8_t sequence[8];
    put_u64(sequence, direction->sequence);
    for (int i = 0; i < 8; i++)
        nonce[4 + i] ^= sequence[i];
}

/* What is authenticated besides: RFC 8446 §5.2: the head; RFC 5246 §6.2.3.3: sequence, type, version, length of the plain bytes. */
static size_t make_associated(const struct tls_records *records, const struct record_direction *direction, const uint8_t *head,
                              size_t length, uint8_t out[13])
{
    if (records->is_13) {
        memcpy(out, head, RECORD_HEAD_BYTES);
        return RECORD_HEAD_BYTES;
    }
    put_u64(out, direction->sequence);
    memcpy(out + 8, head, 3);
    out[11] = (uint8_t)(length >> 8);
    out[12] = (uint8_t)length;
    return 13;
}

/* The next piece of the plain bytes, at most `most` of it; moves past it. */
static struct bytes take_piece(const struct iovec **iov, size_t *offset, size_t most)
{
    size_t here = (*iov)->iov_len - *offset, length = here < most ? here : most;
    struct bytes piece = bytes_from((const char *)(*iov)->iov_base + *offset, length);
    *offset += length;
    if (length == here) {
        (*iov)++;
        *offset = 0;
    }
    return piece;
}

static int encrypt(EVP_CIPHER_CTX *cipher, uint8_t *out, const void *plain, size_t length)
{
    int done;
    return EVP_EncryptUpdate(cipher, out, &done, plain, (int)length);
}

/* 1: done; as OpenSSL says. */
static int encrypt_pieces(EVP_CIPHER_CTX *cipher, const struct iovec **iov, size_t *offset, size_t length, uint8_t *out)
{
    uint8_t *at = out, *end = out + length;
    bool gathers = length <= GATHERED_MAX_BYTES && (*iov)->iov_len - *offset < length;
    int good = 1;
    while (at < end) {
        struct bytes piece = take_piece(iov, offset, (size_t)(end - at));
        if (gathers)
            bytes_put((char *)at, piece);
        else if (piece.len > 0)
            good &= encrypt(cipher, at, piece.at, piece.len);
        at += piece.len;
    }
    return gathers ? encrypt(cipher, out, out, length) : good;
}

size_t tls_record_seal(struct tls_records *records, enum record_type type, const struct iovec **iov, size_t *offset, size_t length,
                       uint8_t *out)
{
    struct record_direction *direction = &records->out;
    EVP_CIPHER_CTX *cipher = direction->cipher;
    const size_t nonce_bytes = has_explicit_nonce(records) ? EXPLICIT_NONCE_BYTES : 0;
    const size_t sealed = nonce_bytes + length + records->is_13 + TAG_BYTES;
    uint8_t nonce[NONCE_BYTES], associated[13], *at = out + RECORD_HEAD_BYTES + nonce_bytes, inner_type = (uint8_t)type;
    int done, good;
    assert(length <= RECORD_PLAIN_MAX);
    out[0] = records->is_13 ? RECORD_DATA : (uint8_t)type;
    out[1] = VERSION_12 >> 8;
    out[2] = VERSION_12 & 0xff;
    out[3] = (uint8_t)(sealed >> 8);
    out[4] = (uint8_t)sealed;
    if (nonce_bytes)
        put_u64(out + RECORD_HEAD_BYTES, direction->sequence);
    make_nonce(records, direction, out + RECORD_HEAD_BYTES, nonce);
    size_t associated_bytes = make_associated(records, direction, out, length, associated);
    good = EVP_EncryptInit_ex(cipher, NULL, NULL, NULL, nonce);
    good &= EVP_EncryptUpdate(cipher, NULL, &done, associated, (int)associated_bytes);
    good &= encrypt_pieces(cipher, iov, offset, length, at);
    at += length;
    if (records->is_13)
        good &= encrypt(cipher, at++, &inner_type, 1);
    good &= EVP_EncryptFinal_ex(cipher, at, &done);
    good &= EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, at);
    assert(good == 1); /* nothing here depends on what the peer does: it failing would be ours */
    direction->sequence++;
    return RECORD_HEAD_BYTES + sealed;
}

size_t tls_record_length(struct bytes input)
{
    const uint8_t *head = (const uint8_t *)input.at;
    if (input.len < RECORD_HEAD_BYTES)
        return 0;
    size_t length = bytes_get_u16(head + 3);
    return head[1] != VERSION_12 >> 8 || length > RECORD_CIPHER_MAX ? SIZE_MAX : RECORD_HEAD_BYTES + length;
}

/* RFC 8446 §5.4: behind the type there may be zeros. */
static ssize_t strip_padding(const uint8_t *plain, size_t length, enum record_type *type)
{
    while (length > 0 && plain[length - 1] == 0)
        length--;
    if (length == 0)
        return -1;
    *type = plain[length - 1];
    return (ssize_t)length - 1;
}

ssize_t tls_record_open(struct tls_records *records, struct bytes record, uint8_t *out, enum record_type *type)
{
    struct record_direction *direction = &records->in;
    const size_t nonce_bytes = has_explicit_nonce(records) ? EXPLICIT_NONCE_BYTES : 0;
    const uint8_t *head = (const uint8_t *)record.at, *sealed = head + RECORD_HEAD_BYTES + nonce_bytes;
    uint8_t nonce[NONCE_BYTES], associated[13];
    int done;
    if (record.len < RECORD_HEAD_BYTES + nonce_bytes + TAG_BYTES + records->is_13 || (records->is_13 && head[0] != RECORD_DATA))
        return -1;
    size_t length = record.len - RECORD_HEAD_BYTES - nonce_bytes - TAG_BYTES;
    make_nonce(records, direction, head + RECORD_HEAD_BYTES, nonce);
    size_t associated_bytes = make_associated(records, direction, head, length, associated);
    if (EVP_DecryptInit_ex(direction->cipher, NULL, NULL, NULL, nonce) != 1 ||
        EVP_DecryptUpdate(direction->cipher, NULL, &done, associated, (int)associated_bytes) != 1 ||
        (length > 0 && EVP_DecryptUpdate(direction->cipher, out, &done, sealed, (int)length) != 1) ||
        EVP_CIPHER_CTX_ctrl(direction->cipher, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, (void *)(sealed + length)) != 1 ||
        EVP_DecryptFinal_ex(direction->cipher, out + length, &done) != 1)
        return -1;
    direction->sequence++;
    *type = head[0];
    ssize_t plain = records->is_13 ? strip_padding(out, length, type) : (ssize_t)length;
    return plain > RECORD_PLAIN_MAX ? -1 : plain;
}
