/* TLS (OpenSSL 3): what servers and clients of it are configured with. Made once a configuration, shared by all loops, immutable after `new` but for what
 * locks itself (tickets, sessions). The streams are connections: connection.h.
 *
 * Nothing here reads a file: the caller has the bytes, for the keys were readable by somebody else only.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"

/* A certificate that ends sooner is told of, by -t, the dashboard and the alerts in packaging/: who renews by themselves do so with 30 days left. */
enum { TLS_CERTIFICATE_SOON_DAYS = 21 };

struct tls_server;
struct tls_client;
struct tls_tickets;

/* What was negotiated. Lives as long as its connection. */
struct tls_facts {
    const char  *version; /* "TLSv1.3" */
    const char  *cipher;  /* as the IANA registry has it */
    struct bytes alpn;    /* "h2", "http/1.1"; absent: the peer does not know ALPN */
    struct bytes sni;     /* the server name the client asked for, lower case; absent: none */
    struct bytes client;  /* subject of the client's verified certificate (RFC 4514); absent: none */
    uint64_t     client_policy; /* of the site whose certificate was shown: tls_site_settings */
    bool         resumed;
};

/* Bytes of a file, and whatever the reporter knows it by. */
struct tls_material {
    struct bytes content; /* absent: there is none */
    const void  *about;
};

/* Told what is wrong, or (LOG_LEVEL_WARN) merely odd, with some piece of the settings. `text` is borrowed. */
typedef void tls_reporter(void *context, enum log_level level, const void *about, const char *text);

struct tls_certificate_settings {
    struct tls_material certificate; /* PEM: the certificate, then its chain */
    struct tls_material key;         /* PEM, without a passphrase */
    struct tls_material ocsp;        /* DER: the response to staple (RFC 6066 §8) */
};

enum tls_client_mode { TLS_CLIENT_OFF, TLS_CLIENT_REQUEST, TLS_CLIENT_REQUIRE };

struct tls_site_settings {
    const struct bytes *names; /* lower case: "www.example.org", "*.example.org" (any name below it), "*" */
    unsigned            name_count;
    const struct tls_certificate_settings *certificates; /* one a kind of key */
    unsigned            certificate_count;
    enum tls_client_mode client_mode;
    struct tls_material client_ca;     /* PEM: whom client certificates must come from */
    uint64_t            client_policy; /* equal where client certificates are treated alike; 0: none are asked for */
};

struct tls_server_settings {
    const struct tls_site_settings *sites; /* who asks for no name of theirs gets "*", else the first */
    unsigned            site_count;
    bool                needs_13; /* TLS 1.3 at least; else 1.2 */
    bool                strict;   /* who asks for no name, or for none of theirs, is refused (unrecognized_name) */
    struct bytes        ciphers, ciphersuites, groups; /* OpenSSL's lists, of TLS 1.2, of 1.3, of key exchange; absent: ours */
    struct tls_tickets *tickets; /* a reference is taken; NULL: no resumption */
    const void         *about;   /* of the lists */
};

/* NULL, and reported, when it cannot serve. */
struct tls_server *tls_server_new(const struct tls_server_settings *settings, tls_reporter *report, void *context);
struct tls_server *tls_server_ref(struct tls_server *server);
void               tls_server_unref(struct tls_server **server);

/* The n-th certificate of all sites: its site's first name, the kind of its key ("EC", "RSA"), when it ends. False: there are no more. */
bool tls_server_certificate(const struct tls_server *server, unsigned n, struct bytes *name, const char **kind, struct wall_seconds *ends);

/* Keys that session tickets are sealed with (RFC 5077, RFC 8446 §4.6.1); thread-safe. They change every 12 hours and are good for 12 more; given keys stay. */
struct tls_tickets *tls_tickets_new(void);
enum { TLS_TICKET_KEY_BYTES = 80 }; /* name 16, HMAC-SHA256 32, AES-256 32: as nginx has them */
/* `keys`: any number, the first seals. NULL: that is not their length. */
struct tls_tickets *tls_tickets_from(struct bytes keys);
struct tls_tickets *tls_tickets_ref(struct tls_tickets *tickets);
void                tls_tickets_unref(struct tls_tickets **tickets);

struct tls_client_settings {
    bool                verify;      /* the server's certificate and its name */
    struct tls_material ca;          /* PEM: whom it must come from; absent: the system's */
    struct tls_material certificate; /* PEM chain; absent: none is shown */
    struct tls_material key;
    struct bytes        alpn;        /* on the wire: each with its length in front; absent: none */
};

/* Before the process is locked up: the library reads its own configuration. */
void tls_prepare(void);

struct tls_client *tls_client_new(const struct tls_client_settings *settings, tls_reporter *report, void *context);
struct tls_client *tls_client_ref(struct tls_client *client);
void               tls_client_unref(struct tls_client **client);

#endif
