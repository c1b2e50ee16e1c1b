/* What is said of a server's settings: refused, or odd and taken all the same. */
#include "tests/unit/proxy/net/tls_peer.h"

static struct pair pair, other, authority;

static void begin(void)
{
    pair = pair_make("EC", "www.example.org", NULL);
    other = pair_make("EC", "other.example", NULL);
    authority = pair_make("EC", "authority", NULL);
    reported[0] = '\0';
}

static void end(void)
{
    pair_free(&pair);
    pair_free(&other);
    pair_free(&authority);
}

TestSuite(tls_settings, .init = begin, .fini = end, .timeout = 60);

/* ---- what settings are refused ---------------------------------------------------------------------------------------------------------- */

static void refuses(struct tls_server_settings *settings, const char *why)
{
    reported[0] = '\0';
    struct tls_server *made = tls_server_new(settings, note_report, NULL);
    cr_expect_null(made);
    cr_expect(strstr(reported, why), "%s", reported);
}

Test(tls_settings, what_cannot_serve_is_refused)
{
    struct tls_site_settings sites[2];
    struct tls_certificate_settings certificates[2];
    struct tls_server_settings settings = settings_of_two(sites, certificates, &pair, &other);
    certificates[0].key = certificates[1].key;
    refuses(&settings, "error key: the key is not the one of the certificate");
    certificates[0].key.content = BYTES("nothing");
    refuses(&settings, "error key: there is no private key");
    certificates[0] = settings_of(&pair);
    certificates[0].certificate.content = BYTES("nothing");
    refuses(&settings, "error certificate: there is no certificate");
    certificates[0] = certificates[1] = settings_of(&pair);
    sites[0].certificate_count = 2;
    refuses(&settings, "a certificate with that kind of key already");
    settings = settings_of_two(sites, certificates, &pair, &other);
    settings.ciphers = BYTES("ECDHE-ECDSA-AES128-SHA");
    refuses(&settings, "error tls: tls.ciphers: ");
    settings.ciphers = BYTES("nonsense");
    refuses(&settings, "OpenSSL does not know");
}

/* ---- what is odd, and serves all the same ---- */

static struct pair odd;
static char file[8192]; /* the certificate and what follows it */

static void sign_again(const struct pair *by)
{
    X509_sign(odd.certificate, by->key, EVP_sha256());
    free(odd.certificate_pem);
    odd.certificate_pem = pem_of(NULL, odd.certificate);
}

static void extend(int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    X509_add_ext(odd.certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

static void now(void)
{
}

static void from_tomorrow(void)
{
    X509_gmtime_adj(X509_getm_notBefore(odd.certificate), 86400);
}

static void until_yesterday(void)
{
    X509_gmtime_adj(X509_getm_notAfter(odd.certificate), -86400);
}

static void for_less_than_three_weeks(void)
{
    X509_gmtime_adj(X509_getm_notAfter(odd.certificate), TLS_CERTIFICATE_SOON_DAYS * 86400 - 60);
}

static void for_three_weeks(void)
{
    X509_gmtime_adj(X509_getm_notAfter(odd.certificate), (TLS_CERTIFICATE_SOON_DAYS + 1) * 86400);
}

static void of_a_public_authority(void)
{
    extend(NID_info_access, "caIssuers;URI:http://authority.example/ca.der");
}

Test(tls_settings, what_is_odd_about_a_certificate_is_told)
{
    static const struct {
        void (*make)(void);
        const struct pair *follows[2];
        const char *name, *said; /* "": nothing */
    } rows[] = {
        {now, {&authority}, "www.example.org", ""},
        {now, {NULL}, "www.example.org", ""},
        {from_tomorrow, {NULL}, "www.example.org", "warning certificate: the certificate is not valid yet: "},
        {until_yesterday, {NULL}, "www.example.org", "warning certificate: the certificate has expired: "},
        {for_less_than_three_weeks, {NULL}, "www.example.org", "warning certificate: the certificate expires in 20 days: "},
        {for_three_weeks, {NULL}, "www.example.org", ""},
        {now, {NULL}, "third.example", "warning certificate: the certificate is not for \"www.example.org\": "},
        {of_a_public_authority, {NULL}, "www.example.org", "warning certificate: the certificate's issuer is not in it: "},
        {of_a_public_authority, {&authority}, "www.example.org", ""},
        {now, {&other}, "www.example.org", "warning certificate: certificate 2 in it did not issue the one before it: "},
        {now, {&authority, &other}, "www.example.org", "warning certificate: certificate 3 in it did not issue the one before it: "},
    };
    struct bytes names[] = {BYTES("www.example.org")};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        reported[0] = '\0';
        odd = pair_make("EC", rows[i].name, &authority);
        rows[i].make();
        sign_again(&authority);
        snprintf(file, sizeof file, "%s%s%s", odd.certificate_pem, rows[i].follows[0] ? rows[i].follows[0]->certificate_pem : "",
                 rows[i].follows[1] ? rows[i].follows[1]->certificate_pem : "");
        struct tls_certificate_settings certificate = settings_of(&odd);
        certificate.certificate.content = bytes_from_string(file);
        struct tls_site_settings site = {.names = names, .name_count = 1, .certificates = &certificate, .certificate_count = 1};
        struct tls_server *made =
            tls_server_new(&(struct tls_server_settings){.sites = &site, .site_count = 1, .about = "tls"}, note_report, NULL);
        cr_expect(made, "row %zu: it serves all the same", i);
        cr_expect(strncmp(reported, rows[i].said, strlen(rows[i].said)) == 0 && (rows[i].said[0] || !reported[0]), "row %zu: %s", i,
                  reported);
        cr_expect(!strchr(reported, '\n') || !strchr(reported, '\n')[1], "row %zu: one thing is wrong with it, not %s", i, reported);
        tls_server_unref(&made);
        pair_free(&odd);
    }
}
