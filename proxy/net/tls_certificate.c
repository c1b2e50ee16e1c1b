/* See tls_certificate.h. */
#include "proxy/net/tls_certificate.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdlib.h>

enum { DAY_S = 86400 };

const char *openssl_reason(void)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return reason ? reason : "out of memory";
}

void report_problem(struct reporting *reporting, enum log_level level, const struct tls_material *about, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    reporting->errors += level == LOG_LEVEL_ERROR;
    reporting->report(reporting->context, level, about->about, text);
}

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm parts;
    return time && ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) : 0;
}

/* ---- PEM -------------------------------------------------------------------------------------------------------------------------------- */

static BIO *reader_of(const struct tls_material *material)
{
    return BIO_new_mem_buf(material->content.at, (int)material->content.len);
}

/* The certificates of a PEM file, the first of which is *leaf; NULL: reported. */
static STACK_OF(X509) * read_chain(const struct tls_material *material, X509 **leaf, struct reporting *reporting)
{
    BIO *bio = reader_of(material);
    STACK_OF(X509) *chain = sk_X509_new_null();
    X509 *next;
    *leaf = bio && chain ? PEM_read_bio_X509_AUX(bio, NULL, NULL, (char *)"") : NULL;
    if (!*leaf) {
        unsigned long code = ERR_peek_last_error();
        bool is_none = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
        const char *reason = openssl_reason();
        report_problem(reporting, LOG_LEVEL_ERROR, material, "%s", is_none ? "there is no certificate (PEM) in it" : reason);
        sk_X509_pop_free(chain, X509_free);
        BIO_free(bio);
        return NULL;
    }
    while ((next = PEM_read_bio_X509(bio, NULL, NULL, (char *)"")))
        sk_X509_push(chain, next);
    ERR_clear_error(); /* that there are no more */
    BIO_free(bio);
    return chain;
}

static int no_passphrase(char *buffer, int size, int writes, void *asked)
{
    (void)buffer;
    (void)size;
    (void)writes;
    *(bool *)asked = true;
    return -1;
}

static EVP_PKEY *read_key(const struct tls_material *material, struct reporting *reporting)
{
    BIO *bio = reader_of(material);
    bool asked = false;
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked) : NULL;
    BIO_free(bio);
    if (!key)
        report_problem(reporting, LOG_LEVEL_ERROR, material, "%s",
                       asked ? "the key has a passphrase, which nobody could enter" : "there is no private key (PEM) in it");
    ERR_clear_error();
    return key;
}

/* ---- a certificate ---------------------------------------------------------------------------------------------------------------------- */

static void check_dates(const struct certificate *certificate, int64_t now_s, const struct tls_material *about, struct reporting *reporting)
{
    if (seconds_of(X509_get0_notBefore(certificate->leaf)) > now_s)
        report_problem(reporting, LOG_LEVEL_WARN, about, "the certificate is not valid yet: until then no client trusts it");
    if (certificate->ends_s <= now_s)
        report_problem(reporting, LOG_LEVEL_WARN, about, "the certificate has expired: no client trusts it");
    else if (certificate->ends_s - now_s < TLS_CERTIFICATE_SOON_DAYS * DAY_S)
        report_problem(reporting, LOG_LEVEL_WARN, about, "the certificate expires in %lld days: what renews it should have done so",
                       (long long)(certificate->ends_s - now_s) / DAY_S);
}

/* Whether it names a place where its issuer's certificate is: public authorities, which issue by intermediate ones only, always do. */
static bool names_its_issuer(const X509 *leaf)
{
    AUTHORITY_INFO_ACCESS *access = X509_get_ext_d2i(leaf, NID_info_access, NULL, NULL);
    bool found = false;
    for (int i = 0; i < sk_ACCESS_DESCRIPTION_num(access); i++)
        found |= OBJ_obj2nid(sk_ACCESS_DESCRIPTION_value(access, i)->method) == NID_ad_ca_issuers;
    AUTHORITY_INFO_ACCESS_free(access);
    return found;
}

/* RFC 8446 §4.4.2, RFC 5246 §7.4.2: each certificate certifies the one before it. Alone it may be of an authority that clients know: that cannot be told. */
static void check_chain(X509 *leaf, STACK_OF(X509) * chain, const struct tls_material *about, struct reporting *reporting)
{
    X509 *before = leaf;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        X509 *next = sk_X509_value(chain, i);
        if (X509_check_issued(next, before) != X509_V_OK) {
            report_problem(reporting, LOG_LEVEL_WARN, about,
                           "certificate %d in it did not issue the one before it: clients that do not mend the chain refuse it", i + 2);
            return;
        }
        before = next;
    }
    if (sk_X509_num(chain) == 0 && !(X509_get_extension_flags(leaf) & EXFLAG_SI) && names_its_issuer(leaf))
        report_problem(reporting, LOG_LEVEL_WARN, about,
                       "the certificate's issuer is not in it: clients that do not have it already refuse the certificate; append the "
                       "authority's intermediate certificate");
}

static bool use_pair(SSL_CTX *context, X509 *leaf, EVP_PKEY *key, STACK_OF(X509) * chain, const struct tls_certificate_settings *settings,
                     struct reporting *reporting)
{
    if (X509_check_private_key(leaf, key) != 1) {
        ERR_clear_error();
        report_problem(reporting, LOG_LEVEL_ERROR, &settings->key, "the key is not the one of the certificate");
        return false;
    }
    if (SSL_CTX_use_cert_and_key(context, leaf, key, chain, 0) == 1)
        return true;
    bool is_second = ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_NOT_REPLACING_CERTIFICATE;
    const char *reason = openssl_reason();
    report_problem(reporting, LOG_LEVEL_ERROR, &settings->certificate, "%s",
                   is_second ? "this site has a certificate with that kind of key already" : reason);
    return false;
}

/* ---- OCSP (RFC 6960) -------------------------------------------------------------------------------------------------------------------- */

/* What a response says of the certificate; found by its serial number. NULL: nothing. */
static OCSP_SINGLERESP *find_answer(OCSP_BASICRESP *basic, const X509 *leaf)
{
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *answer = OCSP_resp_get0(basic, i);
        ASN1_INTEGER *serial = NULL;
        OCSP_id_get0_info(NULL, NULL, NULL, &serial, (OCSP_CERTID *)OCSP_SINGLERESP_get0_id(answer));
        if (serial && ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(leaf)) == 0)
            return answer;
    }
    return NULL;
}

/* NULL: it can be stapled until *ends_s. */
static const char *judge_response(OCSP_RESPONSE *response, const X509 *leaf, int64_t now_s, int64_t *ends_s)
{
    ASN1_GENERALIZEDTIME *next = NULL;
    if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        return "is an OCSP responder's refusal";
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
    OCSP_SINGLERESP *answer = basic ? find_answer(basic, leaf) : NULL;
    int status = answer ? OCSP_single_get0_status(answer, NULL, NULL, NULL, &next) : -1;
    *ends_s = next ? seconds_of(next) : INT64_MAX;
    OCSP_BASICRESP_free(basic);
    if (!answer)
        return "is about other certificates";
    if (status == V_OCSP_CERTSTATUS_REVOKED)
        return "says that the certificate is revoked";
    return *ends_s <= now_s ? "is out of date" : NULL;
}

/* One that is no good is not stapled: the certificate is, all the same. */
static void load_ocsp(struct certificate *certificate, const struct tls_material *material, int64_t now_s, struct reporting *reporting)
{
    const uint8_t *at = (const uint8_t *)material->content.at;
    if (!at)
        return;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)material->content.len);
    const char *wrong =
        response ? judge_response(response, certificate->leaf, now_s, &certificate->ocsp_ends_s) : "is no OCSP response (DER)";
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    if (wrong) {
        report_problem(reporting, LOG_LEVEL_WARN, material, "it %s; it is not stapled", wrong);
        return;
    }
    certificate->ocsp = malloc(material->content.len);
    if (!certificate->ocsp)
        abort();
    memcpy(certificate->ocsp, material->content.at, material->content.len);
    certificate->ocsp_length = material->content.len;
}

bool certificate_load(struct certificate *certificate, SSL_CTX *context, const struct tls_certificate_settings *settings, int64_t now_s,
                      struct reporting *reporting)
{
    X509 *leaf = NULL;
    STACK_OF(X509) *chain = read_chain(&settings->certificate, &leaf, reporting);
    EVP_PKEY *key = read_key(&settings->key, reporting);
    bool good = chain && key && use_pair(context, leaf, key, chain, settings, reporting);
    *certificate = (struct certificate){.leaf = leaf};
    if (good) {
        certificate->kind = EVP_PKEY_is_a(key, "EC") ? "EC" : EVP_PKEY_is_a(key, "RSA") ? "RSA" : "other";
        certificate->ends_s = seconds_of(X509_get0_notAfter(leaf));
        check_dates(certificate, now_s, &settings->certificate, reporting);
        check_chain(leaf, chain, &settings->certificate, reporting);
        load_ocsp(certificate, &settings->ocsp, now_s, reporting);
    }
    sk_X509_pop_free(chain, X509_free);
    EVP_PKEY_free(key);
    return good;
}

void certificate_clear(struct certificate *certificate)
{
    X509_free(certificate->leaf);
    free(certificate->ocsp);
    *certificate = (struct certificate){.leaf = NULL};
}

/* ---- authorities ------------------------------------------------------------------------------------------------------------------------ */

bool authorities_load(SSL_CTX *context, const struct tls_material *ca, bool tell_names, struct reporting *reporting)
{
    X509 *first = NULL;
    STACK_OF(X509) *rest = read_chain(ca, &first, reporting);
    if (!rest)
        return false;
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    sk_X509_unshift(rest, first);
    for (int i = 0; i < sk_X509_num(rest); i++) {
        X509_STORE_add_cert(store, sk_X509_value(rest, i));
        if (tell_names)
            SSL_CTX_add_client_CA(context, sk_X509_value(rest, i));
    }
    ERR_clear_error(); /* twice the same is no error */
    sk_X509_pop_free(rest, X509_free);
    return true;
}
