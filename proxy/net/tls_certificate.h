/* Certificates, keys and OCSP responses: from the bytes of their files into a context, with what is wrong with them. For tls_server.c and tls_client.c. */
#ifndef NET_TLS_CERTIFICATE_H
#define NET_TLS_CERTIFICATE_H

#include "proxy/net/tls.h"

#include <openssl/ssl.h>

struct reporting {
    tls_reporter *report;
    void         *context;
    unsigned      errors;
};

void report_problem(struct reporting *reporting, enum log_level level, const struct tls_material *about, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* What OpenSSL complains of, in its words; empties its queue. */
const char *openssl_reason(void);

/* A certificate in use. */
struct certificate {
    X509       *leaf; /* a reference */
    const char *kind; /* of its key */
    int64_t     ends_s;
    uint8_t    *ocsp; /* malloc'ed; NULL: nothing to staple */
    size_t      ocsp_length;
    int64_t     ocsp_ends_s;
};

/* Into `context`; at most one a kind of key. False: reported. */
bool certificate_load(struct certificate *certificate, SSL_CTX *context, const struct tls_certificate_settings *settings, int64_t now_s,
                      struct reporting *reporting);
void certificate_clear(struct certificate *certificate);
/* The store, and the names to tell clients, of a file of authorities. False: reported. */
bool authorities_load(SSL_CTX *context, const struct tls_material *ca, bool tell_names, struct reporting *reporting);

#endif
