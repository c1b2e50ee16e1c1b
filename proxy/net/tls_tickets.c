/* Session tickets (RFC 5077): what a resumption needs is with the client, sealed with keys that only we have.
 *
 * DESIGN. Three keys, the newest first. What seals changes every 12 hours, and is good for 12 more: what a stolen key opens is at most a day old. Keys from a
 * file are as many as the file has, and change when the file does. All loops share them; the lock is held for a copy. */
#include "proxy/net/tls_tickets.h"

#include "base/ref.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>

enum { PERIOD_S = TLS_TICKET_PERIOD_S, KEYS_MAX = 16, KEYS_MADE = 2, NAME_BYTES = 16, IV_BYTES = 16 };

struct ticket_key {
    uint8_t name[NAME_BYTES], hmac[32], aes[32];
    int64_t made_s;
};
_Static_assert(NAME_BYTES + 32 + 32 == TLS_TICKET_KEY_BYTES, "as in the file");

struct tls_tickets {
    struct ref ref;
    bool is_given;        /* immutable after new */
    pthread_mutex_t lock; /* over the rest */
    struct ticket_key keys[KEYS_MAX];
    unsigned count;
};

static bool key_make(struct ticket_key *key, int64_t now_s)
{
    key->made_s = now_s;
    return RAND_bytes(key->name, sizeof(key->name)) == 1 && RAND_priv_bytes(key->hmac, sizeof(key->hmac)) == 1 &&
           RAND_priv_bytes(key->aes, sizeof(key->aes)) == 1;
}

static struct tls_tickets *tickets_alloc(void)
{
    struct tls_tickets *tickets = calloc(1, sizeof(*tickets));
    if (!tickets)
        abort();
    ref_init(&tickets->ref);
    pthread_mutex_init(&tickets->lock, NULL);
    return tickets;
}

struct tls_tickets *tls_tickets_new(void)
{
    return tickets_alloc();
}

struct tls_tickets *tls_tickets_from(struct bytes keys)
{
    if (keys.len == 0 || keys.len % TLS_TICKET_KEY_BYTES != 0 || keys.len > (size_t)KEYS_MAX * TLS_TICKET_KEY_BYTES)
        return NULL;
    struct tls_tickets *tickets = tickets_alloc();
    tickets->is_given = true;
    for (const char *at = keys.at; at < keys.at + keys.len; at += TLS_TICKET_KEY_BYTES) {
        struct ticket_key *key = &tickets->keys[tickets->count++];
        memcpy(key->name, at, NAME_BYTES);
        memcpy(key->hmac, at + NAME_BYTES, 32);
        memcpy(key->aes, at + NAME_BYTES + 32, 32);
    }
    return tickets;
}

struct tls_tickets *tls_tickets_ref(struct tls_tickets *tickets)
{
    ref_take(&tickets->ref);
    return tickets;
}

void tls_tickets_unref(struct tls_tickets **pointer)
{
    struct tls_tickets *tickets = *pointer;
    *pointer = NULL;
    if (!tickets || !ref_drop(&tickets->ref))
        return;
    pthread_mutex_destroy(&tickets->lock);
    OPENSSL_cleanse(tickets, sizeof(*tickets));
    free(tickets);
}

/* Under the lock: the key that seals is younger than a period, and none is older than two. */
static bool bring_up_to_date(struct tls_tickets *tickets, int64_t now_s)
{
    if (tickets->is_given)
        return true;
    while (tickets->count > 0 && now_s - tickets->keys[tickets->count - 1].made_s >= 2 * PERIOD_S)
        OPENSSL_cleanse(&tickets->keys[--tickets->count], sizeof(struct ticket_key));
    if (tickets->count > 0 && now_s - tickets->keys[0].made_s < PERIOD_S)
        return true;
    struct ticket_key fresh;
    if (!key_make(&fresh, now_s))
        return false;
    tickets->keys[1] = tickets->keys[0];
    tickets->keys[0] = fresh;
    tickets->count = tickets->count < KEYS_MADE ? tickets->count + 1 : KEYS_MADE;
    OPENSSL_cleanse(&fresh, sizeof(fresh));
    return true;
}

/* Copies the key of that name, or, without one, that which seals. Returns its place; −1: none. */
static int find_key(struct tls_tickets *tickets, const uint8_t *name, int64_t now_s, struct ticket_key *out)
{
    int found = -1;
    pthread_mutex_lock(&tickets->lock);
    if (bring_up_to_date(tickets, now_s)) {
        for (unsigned i = 0; i < tickets->count && found < 0; i++)
            if (!name || CRYPTO_memcmp(name, tickets->keys[i].name, NAME_BYTES) == 0)
                found = (int)i;
        if (found >= 0)
            *out = tickets->keys[found];
    }
    pthread_mutex_unlock(&tickets->lock);
    return found;
}

static EVP_CIPHER *aes; /* found by name once, and not for each ticket */

static void fetch_aes(void)
{
    aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
}

static bool use_key(const struct ticket_key *key, const uint8_t *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seals)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->hmac, sizeof(key->hmac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"sha256", 0),
        OSSL_PARAM_construct_end(),
    };
    pthread_once(&once, fetch_aes);
    return EVP_MAC_CTX_set_params(mac, parameters) == 1 && EVP_CipherInit_ex2(cipher, aes, key->aes, iv, seals, NULL) == 1;
}

int tls_tickets_use(struct tls_tickets *tickets, int64_t now_s, uint8_t *name, uint8_t *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                    int seals)
{
    struct ticket_key key;
    int place = find_key(tickets, seals ? NULL : name, now_s, &key);
    if (place < 0)
        return 0; /* not ours any more: a full handshake */
    if (seals && RAND_bytes(iv, IV_BYTES) != 1)
        return -1;
    if (seals)
        memcpy(name, key.name, NAME_BYTES);
    bool used = use_key(&key, iv, cipher, mac, seals);
    OPENSSL_cleanse(&key, sizeof(key));
    return !used ? -1 : !seals && place > 0 ? 2 : 1; /* 2: opened, and to be sealed anew */
}
