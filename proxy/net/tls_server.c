/* TLS servers: a context for each site, and how a connection finds its own.
 *
 * DESIGN. The SSL objects are made from `base`, which has the session tickets. The ClientHello callback comes before anything of a session is looked at: it
 * finds the site by the server name (RFC 6066 §3), gives the connection that site's certificates and its policy for client certificates, and an identity
 * that sessions are bound to, made of all of these: a ticket of one name, or of one policy, resumes nothing under another (CVE-2025-23419).
 * Everything is immutable after new, but for OpenSSL's own counts of references, and the tickets. */
#include "proxy/net/tls_certificate.h"
#include "proxy/net/tls_stream.h"
#include "proxy/net/tls_tickets.h"

#include "base/clock.h"
#include "base/ref.h"

#include <openssl/async.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

enum { SESSION_S = 12 * 3600, NAME_MAX_BYTES = 255 };

static const char standard_ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
                                       "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char standard_ciphersuites[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char standard_groups[] = "X25519:P-256:P-384";

struct tls_site {
    SSL_CTX *context;
    struct certificate *certificates;
    unsigned certificate_count;
    char *name; /* the first */
    enum tls_client_mode client_mode;
    uint64_t client_policy;
    uint8_t identity[SHA256_DIGEST_LENGTH]; /* of name, policy and authorities */
};

struct tls_name {
    char *name; /* of a wildcard: with its leading dot, without the star */
    struct tls_site *site;
};

struct tls_server {
    struct ref ref;
    SSL_CTX *base;
    struct tls_site *sites;
    unsigned site_count;
    struct tls_name *names; /* sorted */
    unsigned name_count;
    struct tls_site *standard; /* for who asks for no name of ours */
    bool strict;
    struct tls_tickets *tickets;
};

/* ---- names ------------------------------------------------------------------------------------------------------------------------------ */

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct tls_name *)a)->name, ((const struct tls_name *)b)->name);
}

static struct tls_site *find_exact(const struct tls_server *server, const char *name)
{
    const struct tls_name wanted = {.name = (char *)name};
    const struct tls_name *found = bsearch(&wanted, server->names, server->name_count, sizeof(wanted), compare_names);
    return found ? found->site : NULL;
}

/* The name itself, else the longest wildcard. */
static struct tls_site *find_site(const struct tls_server *server, const char *name)
{
    struct tls_site *site = name[0] ? find_exact(server, name) : NULL;
    for (const char *dot = strchr(name, '.'); dot && !site; dot = strchr(dot + 1, '.'))
        site = dot > name ? find_exact(server, dot) : NULL;
    return site;
}

/* The list of RFC 6066 §3, which has one name; lower case into `out`, "" when it is none. False: malformed. */
static bool parse_server_name(const uint8_t *list, size_t length, char out[NAME_MAX_BYTES + 1])
{
    out[0] = '\0';
    if (length < 5 || bytes_get_u16(list) != length - 2 || list[2] != TLSEXT_NAMETYPE_host_name)
        return false;
    size_t bytes = bytes_get_u16(list + 3);
    if (bytes != length - 5 || bytes == 0 || bytes > NAME_MAX_BYTES)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        char c = byte_lower((char)list[5 + i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_'))
            return false;
        out[i] = c;
    }
    out[bytes > 1 && out[bytes - 1] == '.' ? bytes - 1 : bytes] = '\0';
    return true;
}

/* ---- the handshake's questions ---------------------------------------------------------------------------------------------------------- */

static bool bind_sessions(SSL *ssl, const struct tls_site *site, const char *name)
{
    uint8_t input[SHA256_DIGEST_LENGTH + NAME_MAX_BYTES], identity[SHA256_DIGEST_LENGTH];
    size_t length = strlen(name);
    memcpy(input, site->identity, SHA256_DIGEST_LENGTH);
    memcpy(input + SHA256_DIGEST_LENGTH, name, length);
    SHA256(input, SHA256_DIGEST_LENGTH + length, identity);
    return SSL_set_session_id_context(ssl, identity, sizeof(identity)) == 1;
}

static int on_client_hello(SSL *ssl, int *alert, void *context)
{
    static const int verify_modes[] = {
        [TLS_CLIENT_OFF] = SSL_VERIFY_NONE,
        [TLS_CLIENT_REQUEST] = SSL_VERIFY_PEER,
        [TLS_CLIENT_REQUIRE] = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
    };
    const struct tls_server *server = context;
    struct tls_handshake *handshake = tls_stream_of(ssl)->handshake;
    const uint8_t *list;
    size_t length;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &list, &length) == 1 && !parse_server_name(list, length, handshake->name))
        handshake->name[0] = '\0';
    struct tls_site *site = find_site(server, handshake->name);
    if (!site && server->strict) {
        handshake->name_unknown = true;
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_CLIENT_HELLO_ERROR;
    }
    if (!site)
        site = server->standard;
    handshake->client_policy = site->client_policy;
    *alert = SSL_AD_INTERNAL_ERROR;
    if (!SSL_set_SSL_CTX(ssl, site->context) || !bind_sessions(ssl, site, handshake->name))
        return SSL_CLIENT_HELLO_ERROR;
    SSL_set_verify(ssl, verify_modes[site->client_mode], NULL);
    return SSL_CLIENT_HELLO_SUCCESS;
}

static bool offers(const uint8_t *list, unsigned length, struct bytes protocol)
{
    for (unsigned at = 0; at < length; at += 1u + list[at])
        if (bytes_equal(bytes_from((const char *)list + at + 1, list[at]), protocol)) /* OpenSSL has checked the lengths */
            return true;
    return false;
}

/* RFC 7301 §3.2: our order; nothing in common is the end (ALPACA). */
static int on_alpn(SSL *ssl, const uint8_t **out, uint8_t *out_length, const uint8_t *list, unsigned length, void *context)
{
    static const char h2[] = "h2", http1[] = "http/1.1";
    bool is_h2 = tls_stream_of(ssl)->handshake->http2 && offers(list, length, BYTES("h2"));
    (void)context;
    if (!is_h2 && !offers(list, length, BYTES("http/1.1")))
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = (const uint8_t *)(is_h2 ? h2 : http1);
    *out_length = (uint8_t)(is_h2 ? sizeof(h2) : sizeof(http1)) - 1;
    return SSL_TLSEXT_ERR_OK;
}

/* RFC 6066 §8. One that has run out since it was loaded is not sent. */
static int on_status(SSL *ssl, void *context)
{
    const struct tls_site *site = context;
    const X509 *leaf = SSL_get_certificate(ssl);
    for (unsigned i = 0; i < site->certificate_count; i++) {
        const struct certificate *certificate = &site->certificates[i];
        if (certificate->leaf != leaf || !certificate->ocsp || certificate->ocsp_ends_s <= clock_wall().s)
            continue;
        uint8_t *copy = OPENSSL_memdup(certificate->ocsp, certificate->ocsp_length);
        if (!copy)
            return SSL_TLSEXT_ERR_NOACK;
        SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)certificate->ocsp_length);
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

static int on_ticket(SSL *ssl, uint8_t *name, uint8_t *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seals)
{
    int used = tls_tickets_use(tls_stream_of(ssl)->handshake->server->tickets, clock_wall().s, name, iv, cipher, mac, seals);
    return used == 1 && !seals && SSL_version(ssl) == TLS1_3_VERSION
               ? 2
               : used; /* RFC 8446 §C.4: a ticket is for one use, so each brings the next */
}

static bool parse_secret(const char *line, uint8_t *out, unsigned *length)
{
    const char *digits = strrchr(line, ' ') + 1;
    *length = (unsigned)strlen(digits) / 2;
    for (unsigned i = 0; i < *length && i < RECORD_SECRET_MAX; i++) {
        uint64_t byte;
        if (!bytes_parse_hex64(bytes_from(digits + 2 * i, 2), &byte))
            return false;
        out[i] = (uint8_t)byte;
    }
    return *length <= RECORD_SECRET_MAX;
}

/* Where the handshake's key derivation is OpenSSL's own (tls_kdf.h), the one way by which it tells the secrets that tls_record.h goes on with. */
static void on_secret(const SSL *ssl, const char *line)
{
    static const char in[] = "CLIENT_TRAFFIC_SECRET_0 ", out[] = "SERVER_TRAFFIC_SECRET_0 ";
    struct record_secrets *secrets = &tls_stream_of(ssl)->handshake->secrets;
    if (strncmp(line, in, sizeof(in) - 1) == 0) {
        parse_secret(line, secrets->in, &secrets->in_length);
    } else if (strncmp(line, out, sizeof(out) - 1) == 0) {
        parse_secret(line, secrets->out, &secrets->out_length);
        secrets->out_sequence = 0;
    }
}

/* A step that may be made in parts ends here (tls_stream.c), and goes on from here in another turn of the loop. */
static void pause_step(void)
{
    if (ASYNC_get_current_job())
        ASYNC_pause_job();
}

/* The ClientHello is understood; what follows are a key exchange, */
static int on_certificate(SSL *ssl, void *context)
{
    (void)ssl;
    (void)context;
    pause_step();
    return 1;
}

/* which a ServerHello tells of, and a signature. Records that leave are counted, since the last secret was told. */
static void on_message(int is_ours, int version, int type, const void *bytes, size_t length, SSL *ssl, void *context)
{
    (void)version;
    (void)context;
    if (is_ours && type == SSL3_RT_HEADER)
        tls_stream_of(ssl)->handshake->secrets.out_sequence++;
    else if (is_ours && type == SSL3_RT_HANDSHAKE && length > 0 && *(const uint8_t *)bytes == SSL3_MT_SERVER_HELLO)
        pause_step();
}

/* ---- contexts --------------------------------------------------------------------------------------------------------------------------- */

/* Key exchange that keeps what was said secret later on, and a cipher that tls_record.c knows. */
static bool is_sound(const SSL_CIPHER *cipher)
{
    int kind = SSL_CIPHER_get_cipher_nid(cipher), exchange = SSL_CIPHER_get_kx_nid(cipher);
    return (kind == NID_aes_128_gcm || kind == NID_aes_256_gcm || kind == NID_chacha20_poly1305) &&
           (exchange == NID_kx_ecdhe || exchange == NID_kx_any);
}

static bool set_list(SSL_CTX *context, int (*set)(SSL_CTX *, const char *), struct bytes given, const char *standard, const char *what,
                     const struct tls_server_settings *settings, struct reporting *reporting)
{
    char text[1024];
    snprintf(text, sizeof(text), "%.*s", given.at ? (int)given.len : (int)strlen(standard), given.at ? given.at : standard);
    if (set(context, text) == 1)
        return true;
    ERR_clear_error();
    report_problem(reporting, LOG_LEVEL_ERROR, &(struct tls_material){.about = settings->about},
                   "tls.%s: \"%s\" has something OpenSSL does not know", what, text);
    return false;
}

static int set_groups(SSL_CTX *context, const char *list)
{
    return (int)SSL_CTX_set1_groups_list(context, list);
}

static bool set_ciphers(SSL_CTX *context, const struct tls_server_settings *settings, struct reporting *reporting)
{
    const struct tls_material about = {.about = settings->about};
    if (!set_list(context, SSL_CTX_set_cipher_list, settings->ciphers, standard_ciphers, "ciphers", settings, reporting) ||
        !set_list(context, SSL_CTX_set_ciphersuites, settings->ciphersuites, standard_ciphersuites, "ciphersuites", settings, reporting) ||
        !set_list(context, set_groups, settings->groups, standard_groups, "groups", settings, reporting))
        return false;
    STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(context);
    for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ciphers, i);
        if (is_sound(cipher))
            continue;
        report_problem(reporting, LOG_LEVEL_ERROR, &about,
                       "tls.ciphers: %s is not supported; only ECDHE with AES-GCM or ChaCha20-Poly1305 is", SSL_CIPHER_get_name(cipher));
        return false;
    }
    return true;
}

/* NULL: reported. */
static SSL_CTX *context_new(const struct tls_server_settings *settings, struct reporting *reporting)
{
    SSL_CTX *context = SSL_CTX_new_ex(NULL, tls_kdf_properties(), TLS_server_method());
    if (!context)
        abort();
    SSL_CTX_set_min_proto_version(context, settings->needs_13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA | (settings->tickets ? 0 : SSL_OP_NO_TICKET));
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(context, SESSION_S);
    SSL_CTX_set_num_tickets(context, settings->tickets ? 1 : 0);
    SSL_CTX_set_max_early_data(context, 0);
    SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
    if (!tls_kdf_is_chosen())
        SSL_CTX_set_keylog_callback(context, on_secret);
    SSL_CTX_set_cert_cb(context, on_certificate, NULL);
    SSL_CTX_set_msg_callback(context, on_message);
    if (settings->tickets)
        SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket);
    if (set_ciphers(context, settings, reporting))
        return context;
    SSL_CTX_free(context);
    return NULL;
}

static void identify(struct tls_site *site, const struct tls_site_settings *settings)
{
    uint8_t digests[2 * SHA256_DIGEST_LENGTH + sizeof(uint64_t) + 1];
    SHA256((const uint8_t *)site->name, strlen(site->name), digests);
    SHA256((const uint8_t *)(settings->client_ca.content.at ? settings->client_ca.content.at : ""), settings->client_ca.content.len,
           digests + SHA256_DIGEST_LENGTH);
    memcpy(digests + 2 * SHA256_DIGEST_LENGTH, &site->client_policy, sizeof(uint64_t));
    digests[sizeof(digests) - 1] = (uint8_t)site->client_mode;
    SHA256(digests, sizeof(digests), site->identity);
}

/* A certificate that clients will not take for these names is odd, and may be meant so. */
static void check_names(const struct tls_site *site, const struct tls_site_settings *settings, struct reporting *reporting)
{
    for (unsigned i = 0; i < site->certificate_count; i++) {
        for (unsigned k = 0; k < settings->name_count; k++) {
            struct bytes name = settings->names[k];
            if (bytes_equal(name, BYTES("*")))
                continue;
            bool is_wild = bytes_starts_with(name, BYTES("*."));
            char probe[NAME_MAX_BYTES + 2];
            snprintf(probe, sizeof(probe), "%s%.*s", is_wild ? "x" : "", (int)(name.len - is_wild), name.at + is_wild);
            if (X509_check_host(site->certificates[i].leaf, probe, 0, 0, NULL) == 1)
                continue;
            report_problem(reporting, LOG_LEVEL_WARN, &settings->certificates[i].certificate,
                           "the certificate is not for \"%.*s\": clients that ask for that name refuse it", BYTES_FMT(name));
            break;
        }
    }
}

static void add_names(struct tls_server *server, struct tls_site *site, const struct tls_site_settings *settings)
{
    for (unsigned i = 0; i < settings->name_count; i++) {
        struct bytes name = settings->names[i];
        if (bytes_equal(name, BYTES("*"))) {
            server->standard = site;
            continue;
        }
        size_t skipped = bytes_starts_with(name, BYTES("*.")) ? 1 : 0;
        server->names[server->name_count++] = (struct tls_name){strndup(name.at + skipped, name.len - skipped), site};
    }
}

static void site_load(struct tls_server *server, struct tls_site *site, const struct tls_site_settings *settings,
                      const struct tls_server_settings *all, struct reporting *reporting)
{
    const int64_t now_s = clock_wall().s;
    site->context = context_new(all, reporting);
    site->name = strndup(settings->names[0].at, settings->names[0].len);
    site->client_mode = settings->client_mode;
    site->client_policy = settings->client_policy;
    site->certificates = calloc(settings->certificate_count + 1, sizeof(*site->certificates));
    if (!site->certificates || !site->name)
        abort();
    identify(site, settings);
    add_names(server, site, settings);
    if (!site->context)
        return;
    for (unsigned i = 0; i < settings->certificate_count; i++)
        if (!certificate_load(&site->certificates[site->certificate_count++], site->context, &settings->certificates[i], now_s, reporting))
            return;
    check_names(site, settings, reporting);
    SSL_CTX_set_tlsext_status_cb(site->context, on_status);
    SSL_CTX_set_tlsext_status_arg(site->context, site);
    if (settings->client_mode != TLS_CLIENT_OFF)
        authorities_load(site->context, &settings->client_ca, true, reporting);
}

static struct tls_server *server_alloc(const struct tls_server_settings *settings)
{
    unsigned names = 0;
    struct tls_server *server = calloc(1, sizeof(*server));
    for (unsigned i = 0; i < settings->site_count; i++)
        names += settings->sites[i].name_count;
    if (!server)
        abort();
    ref_init(&server->ref);
    server->sites = calloc(settings->site_count + 1, sizeof(*server->sites));
    server->names = calloc(names + 1, sizeof(*server->names));
    if (!server->sites || !server->names)
        abort();
    server->strict = settings->strict;
    server->tickets = settings->tickets ? tls_tickets_ref(settings->tickets) : NULL;
    return server;
}

struct tls_server *tls_server_new(const struct tls_server_settings *settings, tls_reporter *report, void *context)
{
    struct reporting reporting = {.report = report, .context = context};
    struct tls_server *server = server_alloc(settings);
    server->base = context_new(settings, &reporting);
    for (unsigned i = 0; i < settings->site_count && reporting.errors == 0; i++)
        site_load(server, &server->sites[server->site_count++], &settings->sites[i], settings, &reporting);
    qsort(server->names, server->name_count, sizeof(*server->names), compare_names);
    if (!server->standard && server->site_count > 0)
        server->standard = &server->sites[0];
    if (reporting.errors == 0 && server->site_count > 0) {
        SSL_CTX_set_client_hello_cb(server->base, on_client_hello, server);
        return server;
    }
    tls_server_unref(&server);
    return NULL;
}

struct tls_server *tls_server_ref(struct tls_server *server)
{
    ref_take(&server->ref);
    return server;
}

static void site_clear(struct tls_site *site)
{
    for (unsigned i = 0; i < site->certificate_count; i++)
        certificate_clear(&site->certificates[i]);
    free(site->certificates);
    free(site->name);
    SSL_CTX_free(site->context);
}

void tls_server_unref(struct tls_server **pointer)
{
    struct tls_server *server = *pointer;
    *pointer = NULL;
    if (!server || !ref_drop(&server->ref))
        return;
    for (unsigned i = 0; i < server->site_count; i++)
        site_clear(&server->sites[i]);
    for (unsigned i = 0; i < server->name_count; i++)
        free(server->names[i].name);
    free(server->sites);
    free(server->names);
    SSL_CTX_free(server->base);
    tls_tickets_unref(&server->tickets);
    free(server);
}

bool tls_server_certificate(const struct tls_server *server, unsigned n, struct bytes *name, const char **kind, struct wall_seconds *ends)
{
    for (unsigned i = 0; i < server->site_count; i++) {
        const struct tls_site *site = &server->sites[i];
        if (n < site->certificate_count) {
            *name = bytes_from_string(site->name);
            *kind = site->certificates[n].kind;
            *ends = (struct wall_seconds){site->certificates[n].ends_s};
            return true;
        }
        n -= site->certificate_count;
    }
    return false;
}

SSL *tls_server_ssl(struct tls_server *server)
{
    SSL *ssl = SSL_new(server->base);
    if (ssl)
        SSL_set_accept_state(ssl);
    return ssl;
}
