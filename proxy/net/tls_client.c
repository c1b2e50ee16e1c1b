/* TLS clients: towards origins. The server's certificate is verified, and its name, unless the settings say otherwise; sessions are kept by name, so that none
 * is shown to another (the contexts of two settings share nothing). */
#include "proxy/net/tls_certificate.h"
#include "proxy/net/tls_stream.h"

#include "base/ref.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>

enum { SESSIONS_MAX = 64 }; /* kept by one client; the oldest goes */

struct kept_session {
    char *name;
    SSL_SESSION *session;
};

struct tls_client {
    struct ref ref;
    SSL_CTX *context; /* immutable after new */
    bool verify;
    pthread_mutex_t lock;                       /* over the rest */
    struct kept_session sessions[SESSIONS_MAX]; /* the newest last */
    unsigned session_count;
};

/* ---- sessions --------------------------------------------------------------------------------------------------------------------------- */

/* Under the lock. */
static SSL_SESSION *take_session(struct tls_client *client, const char *name)
{
    for (unsigned i = client->session_count; i-- > 0;) {
        struct kept_session kept = client->sessions[i];
        if (strcmp(kept.name, name) != 0)
            continue;
        client->session_count--;
        memmove(&client->sessions[i], &client->sessions[i + 1], (client->session_count - i) * sizeof(kept));
        free(kept.name);
        return kept.session;
    }
    return NULL;
}

static void keep_session(struct tls_client *client, const char *name, SSL_SESSION *session)
{
    pthread_mutex_lock(&client->lock);
    SSL_SESSION_free(take_session(client, name));
    if (client->session_count == SESSIONS_MAX) {
        free(client->sessions[0].name);
        SSL_SESSION_free(client->sessions[0].session);
        client->session_count--;
        memmove(&client->sessions[0], &client->sessions[1], client->session_count * sizeof(client->sessions[0]));
    }
    client->sessions[client->session_count++] = (struct kept_session){strdup(name), session};
    pthread_mutex_unlock(&client->lock);
}

/* A server gives a session whenever it likes. SSL_get_ex_data has the name: the handshake is long over. */
static int name_index = -1, client_index = -1;

static void free_name(void *parent, void *name, CRYPTO_EX_DATA *data, int index, long number, void *pointer)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)number;
    (void)pointer;
    free(name);
}

static void make_indices(void)
{
    name_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_name);
    client_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    keep_session(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), client_index), SSL_get_ex_data(ssl, name_index), session);
    return 1; /* the reference is ours */
}

/* One of TLS 1.3 is used once (RFC 8446 §C.4): who watches cannot tell that two connections are of one client. */
static void offer_session(struct tls_client *client, SSL *ssl, const char *name)
{
    pthread_mutex_lock(&client->lock);
    SSL_SESSION *session = take_session(client, name);
    pthread_mutex_unlock(&client->lock);
    if (!session)
        return;
    SSL_set_session(ssl, session);
    if (SSL_SESSION_get_protocol_version(session) == TLS1_3_VERSION)
        SSL_SESSION_free(session);
    else
        keep_session(client, name, session);
}

void tls_prepare(void)
{
    OPENSSL_init_ssl(0, NULL); /* reads openssl.cnf */
    tls_kdf_properties();
}

/* ---- contexts --------------------------------------------------------------------------------------------------------------------------- */

static void load(struct tls_client *client, const struct tls_client_settings *settings, struct reporting *reporting)
{
    SSL_CTX *context = client->context;
    const struct tls_certificate_settings own = {.certificate = settings->certificate, .key = settings->key};
    struct certificate certificate = {.leaf = NULL};
    if (settings->ca.content.at)
        authorities_load(context, &settings->ca, false, reporting);
    else if (settings->verify && SSL_CTX_set_default_verify_paths(context) != 1)
        report_problem(reporting, LOG_LEVEL_ERROR, &settings->ca, "the system's certificate authorities: %s", openssl_reason());
    if (settings->certificate.content.at)
        certificate_load(&certificate, context, &own, clock_wall().s, reporting);
    certificate_clear(&certificate);
    if (settings->alpn.len > 0)
        SSL_CTX_set_alpn_protos(context, (const uint8_t *)settings->alpn.at, (unsigned)settings->alpn.len);
}

struct tls_client *tls_client_new(const struct tls_client_settings *settings, tls_reporter *report, void *context)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct reporting reporting = {.report = report, .context = context};
    struct tls_client *client = calloc(1, sizeof(*client));
    pthread_once(&once, make_indices);
    if (!client || !(client->context = SSL_CTX_new_ex(NULL, tls_kdf_properties(), TLS_client_method())))
        abort();
    ref_init(&client->ref);
    pthread_mutex_init(&client->lock, NULL);
    client->verify = settings->verify;
    SSL_CTX_set_ex_data(client->context, client_index, client);
    SSL_CTX_set_min_proto_version(client->context, TLS1_2_VERSION);
    SSL_CTX_set_options(client->context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(client->context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(client->context, 1);
    SSL_CTX_set_session_cache_mode(client->context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client->context, on_session);
    SSL_CTX_set_verify(client->context, settings->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    load(client, settings, &reporting);
    if (reporting.errors > 0)
        tls_client_unref(&client);
    return client;
}

struct tls_client *tls_client_ref(struct tls_client *client)
{
    ref_take(&client->ref);
    return client;
}

void tls_client_unref(struct tls_client **pointer)
{
    struct tls_client *client = *pointer;
    *pointer = NULL;
    if (!client || !ref_drop(&client->ref))
        return;
    for (unsigned i = 0; i < client->session_count; i++) {
        free(client->sessions[i].name);
        SSL_SESSION_free(client->sessions[i].session);
    }
    SSL_CTX_free(client->context);
    pthread_mutex_destroy(&client->lock);
    free(client);
}

/* ---- connections ------------------------------------------------------------------------------------------------------------------------ */

static bool is_address(const char *name)
{
    struct in6_addr address;
    return inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1;
}

/* RFC 9110 §4.3.4; an address is no server name (RFC 6066 §3). */
static bool expect_name(SSL *ssl, const char *name, bool verify)
{
    if (is_address(name))
        return !verify || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, name) == 1 && (!verify || SSL_set1_host(ssl, name) == 1);
}

SSL *tls_client_ssl(struct tls_client *client, struct bytes name)
{
    SSL *ssl = SSL_new(client->context);
    char *text = strndup(name.at, name.len);
    if (!ssl || !text || !expect_name(ssl, text, client->verify) || SSL_set_ex_data(ssl, name_index, text) != 1) {
        SSL_free(ssl);
        free(text);
        return NULL;
    }
    SSL_set_connect_state(ssl);
    offer_session(client, ssl, text);
    return ssl;
}

enum error tls_client_error(const SSL *ssl)
{
    switch (SSL_get_verify_result(ssl)) {
    case X509_V_OK: /* OpenSSL's words for a record that begins like none; before the first good one, it is plaintext */
        return ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_WRONG_VERSION_NUMBER ? ERROR_ORIGIN_TLS_PLAINTEXT : ERROR_ORIGIN_TLS_FAILED;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return ERROR_ORIGIN_TLS_EXPIRED;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return ERROR_ORIGIN_TLS_NAME;
    default:
        return ERROR_ORIGIN_TLS_UNTRUSTED;
    }
}
