/* TLS records once the handshake is over: AEAD ciphers of TLS 1.2 (RFC 5246 §6.2.3.3, RFC 5288, RFC 7905) and 1.3 (RFC 8446 §5.2).
 *
 * DESIGN. OpenSSL makes the handshake. Then its keys are taken and the SSL object, some 15 KB of it, is freed: what is left of a connection are two cipher
 * contexts, and records are sealed straight from the caller's memory into the buffer that is sent, and opened straight into the caller's, where OpenSSL's own
 * record layer copies three times. What TLS 1.3 still says between records is one message (KeyUpdate) and alerts.
 *
 * Invariant: a sequence number, which makes the nonce, is used once: sealing cannot fail after it was counted, and nothing else seals with these keys.
 */
#ifndef NET_TLS_RECORD_H
#define NET_TLS_RECORD_H

#include "base/bytes.h"
#include "proxy/net/tls_kdf.h"

#include <openssl/ssl.h>
#include <sys/uio.h>

enum {
    RECORD_HEAD_BYTES = 5,
    RECORD_PLAIN_MAX = 16384,                      /* RFC 8446 §5.1 */
    RECORD_GROWTH_MAX = RECORD_HEAD_BYTES + 8 + 16 + 1, /* what sealing adds */
    RECORD_CIPHER_MAX = RECORD_PLAIN_MAX + 256,    /* behind the head, RFC 8446 §5.2 */
    RECORD_SECRET_MAX = KDF_SECRET_MAX,
};

enum record_type { RECORD_CCS = 20, RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_DATA = 23 };

struct record_direction {
    EVP_CIPHER_CTX *cipher;
    uint64_t        sequence;
    uint8_t         iv[12];
    uint8_t         secret[RECORD_SECRET_MAX]; /* TLS 1.3: what the next keys come from */
};

struct tls_records {
    struct record_direction in, out;
    bool     is_13, is_chacha;
    bool     is_256;    /* the key's bits; of AES */
    bool     is_sha384; /* the secret's length */
    uint16_t plain_max; /* what the peer takes in a record (RFC 6066 §4) */
};

/* Of a server's handshake that is over. False: these are not keys that we know how to use. */
bool tls_records_take(struct tls_records *records, SSL *ssl, const struct record_secrets *secrets);
void tls_records_clear(struct tls_records *records);

/* Seals `length` bytes (at most plain_max), which begin at *offset of *iov, and moves both past them. Returns the bytes written: at most `length` +
 * RECORD_GROWTH_MAX. */
size_t tls_record_seal(struct tls_records *records, enum record_type type, const struct iovec **iov, size_t *offset, size_t length, uint8_t *out);

/* Whole length of the record in front of `input`; 0: its head is not all there; SIZE_MAX: it is no record. */
size_t tls_record_length(struct bytes input);
/* Opens a whole record into `out`, which has room for `record.len` bytes. Returns the plain bytes, −1: it was not sealed by the peer, or is too long. */
ssize_t tls_record_open(struct tls_records *records, struct bytes record, uint8_t *out, enum record_type *type);

/* RFC 8446 §7.2: the keys that follow these. */
bool tls_record_update(struct tls_records *records, struct record_direction *direction, bool seals);

#endif
