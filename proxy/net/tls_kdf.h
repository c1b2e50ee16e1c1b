/* The key derivation of TLS 1.3 (RFC 8446 §7.1): for our records, and, as a provider of OpenSSL's (provider-kdf(7)), for its handshakes.
 *
 * DESIGN. OpenSSL's own takes 10,000 instructions more for each of a handshake's 22 derivations, most of them to find algorithms by their names, and the only way
 * by which it tells a server the traffic secrets, the callback for a log of keys, prints five secrets in hexadecimal by a sprintf for each byte (220,000). Here a
 * derivation is two hashes, and the two secrets that our records go on with are copied as they are made. Where OpenSSL's configuration does not let it choose
 * this one (FIPS), handshakes use its own, and the callback is what there is.
 */
#ifndef NET_TLS_KDF_H
#define NET_TLS_KDF_H

#include "base/bytes.h"

#include <openssl/evp.h>

enum { KDF_SECRET_MAX = 48, KDF_KEY_MAX = 128 };

/* The traffic secrets of TLS 1.3, as the handshake made them. */
struct record_secrets {
    uint8_t  in[KDF_SECRET_MAX], out[KDF_SECRET_MAX]; /* the client's, the server's */
    unsigned in_length, out_length;
    uint64_t out_sequence; /* records that were sealed with the last of `out` */
};

/* What SSL_CTX_new_ex(3) is given so that OpenSSL chooses ours. The first call is what tells OpenSSL of it; any thread. */
const char *tls_kdf_properties(void);
/* Whether it does choose ours. */
bool tls_kdf_is_chosen(void);
/* This thread's handshakes note their traffic secrets there, until it is told otherwise; NULL: nowhere. */
void tls_kdf_note_in(struct record_secrets *secrets);

const EVP_MD *tls_kdf_sha256(void);
const EVP_MD *tls_kdf_sha384(void);

/* HMAC (RFC 2104) of the parts, one after the other. A key of KDF_KEY_MAX bytes at most, and no longer than a block of the hash. False: no memory. */
bool tls_kdf_hmac(const EVP_MD *hash, struct bytes key, const struct bytes *parts, unsigned count, uint8_t *out);
/* HKDF-Expand-Label (RFC 8446 §7.1): at most one block, that is a hash, of output. `label`: without "tls13 ". */
bool tls_kdf_expand_label(const EVP_MD *hash, struct bytes secret, struct bytes label, struct bytes context, uint8_t *out, size_t length);

#endif
