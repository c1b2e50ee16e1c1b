/* For tests of TLS: certificates made on the spot, a server that echoes on a loop, and an OpenSSL client in a thread of its own. */
#ifndef TEST_TLS_PEER_H
#define TEST_TLS_PEER_H

#include "proxy/net/connection.h"

#include <criterion/criterion.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

struct pair {
    EVP_PKEY *key;
    X509 *certificate;
    char *key_pem, *certificate_pem;
};

static inline char *pem_of(EVP_PKEY *key, X509 *certificate)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *at;
    if (key)
        PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    else
        PEM_write_bio_X509(bio, certificate);
    long length = BIO_get_mem_data(bio, &at);
    char *text = strndup(at, (size_t)length);
    BIO_free(bio);
    return text;
}

/* For `name`, signed by `by`, or by itself. */
static inline struct pair pair_make(const char *kind, const char *name, const struct pair *by)
{
    struct pair pair = {.key = strcmp(kind, "RSA") == 0 ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256")};
    X509 *certificate = pair.certificate = X509_new();
    char alternative[300];
    snprintf(alternative, sizeof(alternative), "DNS:%s", name);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), rand());
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 90 * 86400);
    X509_set_pubkey(certificate, pair.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(by ? by->certificate : certificate));
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, alternative);
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    if (strcmp(name, "authority") == 0) {
        extension = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
        X509_add_ext(certificate, extension, -1);
        X509_EXTENSION_free(extension);
    }
    X509_sign(certificate, by ? by->key : pair.key, EVP_sha256());
    pair.key_pem = pem_of(pair.key, NULL);
    pair.certificate_pem = pem_of(NULL, certificate);
    return pair;
}

static inline void pair_free(struct pair *pair)
{
    EVP_PKEY_free(pair->key);
    X509_free(pair->certificate);
    free(pair->key_pem);
    free(pair->certificate_pem);
}

static inline struct tls_certificate_settings settings_of(const struct pair *pair)
{
    return (struct tls_certificate_settings){.certificate = {bytes_from_string(pair->certificate_pem), "certificate"},
                                             .key = {bytes_from_string(pair->key_pem), "key"}};
}

/* Two sites, one with a wildcard name. The result borrows everything. */
static inline struct tls_server_settings settings_of_two(struct tls_site_settings *sites, struct tls_certificate_settings *certificates,
                                                         const struct pair *first, const struct pair *second)
{
    static struct bytes names[] = {BYTES("www.example.org"), BYTES("*.wild.example")}, other_names[] = {BYTES("other.example")};
    certificates[0] = settings_of(first);
    certificates[1] = settings_of(second);
    sites[0] = (struct tls_site_settings){.names = names, .name_count = 2, .certificates = &certificates[0], .certificate_count = 1};
    sites[1] = (struct tls_site_settings){.names = other_names, .name_count = 1, .certificates = &certificates[1], .certificate_count = 1};
    return (struct tls_server_settings){.sites = sites, .site_count = 2, .about = "tls"};
}

static char reported[4096];

static inline void note_report(void *context, enum log_level level, const void *about, const char *text)
{
    (void)context;
    size_t at = strlen(reported);
    snprintf(reported + at, sizeof(reported) - at, "%s %s: %s\n", level == LOG_LEVEL_ERROR ? "error" : "warning", about ? (const char *)about : "-", text);
}

#endif
