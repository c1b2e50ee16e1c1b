/* TLS on connections: handshakes of both sides, data both ways, records, ends. The server is ours; the client is OpenSSL in a thread, or ours too. */
#include "proxy/net/tls_kdf.h"

#include "tests/unit/proxy/net/tls_peer.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

static struct loop *loop;
static struct tls_server *server;
static struct connection *connection; /* ours */
static struct tls_tickets *tickets;
static struct pair pair, other, authority, user;
static int ours, theirs;
static bool is_over; /* our side's handshake */
static enum error shaken;
static char failure[200];
static char *kept; /* what the echo has not written yet */
static size_t kept_length;
static bool saw_end, saw_error;
static bool ends_with_echo; /* connection_expect_end */

static void echo(void)
{
    while (kept_length > 0) {
        const struct iovec iov[3] = {{kept, kept_length / 3}, {kept, 0}, {kept + kept_length / 3, kept_length - kept_length / 3}};
        if (ends_with_echo)
            connection_expect_end(connection);
        ssize_t written = connection_writev(connection, iov, 3);
        if (written == CONNECTION_AGAIN) {
            connection_want(connection, WANT_WRITE);
            return;
        }
        cr_assert_gt(written, 0);
        memmove(kept, kept + written, kept_length - (size_t)written);
        kept_length -= (size_t)written;
    }
    connection_want(connection, WANT_READ);
}

static void on_readable(void *owner)
{
    (void)owner;
    char buffer[20000];
    ssize_t got = connection_read(connection, buffer, sizeof(buffer));
    if (got == CONNECTION_AGAIN)
        return;
    if (got <= 0) {
        saw_end = got == CONNECTION_EOF;
        saw_error = got == CONNECTION_ERROR;
        connection_close(&connection);
        loop_stop(loop);
        return;
    }
    kept = realloc(kept, kept_length + (size_t)got);
    memcpy(kept + kept_length, buffer, (size_t)got);
    kept_length += (size_t)got;
    echo();
}

static void on_writable(void *owner)
{
    (void)owner;
    echo();
}

static void on_connected(void *owner, enum error error)
{
    (void)owner;
    is_over = true;
    shaken = error;
    if (error == ERROR_OK) {
        connection_want(connection, WANT_READ);
        return;
    }
    snprintf(failure, sizeof(failure), "%s", connection_tls_failure(connection));
    if (error == ERROR_TLS_PLAIN_HTTP)
        connection_write(connection, "plain", 5, false);
    connection_close(&connection);
    loop_stop(loop);
}

static const struct connection_events events = {.readable = on_readable, .writable = on_writable, .connected = on_connected};

static void late(struct deadline *deadline)
{
    (void)deadline;
    loop_stop(loop);
}

static void run(void)
{
    struct deadline deadline = {0};
    loop_set_deadline(loop, &deadline, 20000, late);
    loop_run(loop);
    deadline_clear(&deadline);
}

static struct tls_server_settings standard_settings(struct tls_site_settings *sites, struct tls_certificate_settings *certificates)
{
    struct tls_server_settings settings = settings_of_two(sites, certificates, &pair, &other);
    settings.tickets = tickets;
    return settings;
}

static void serve(const struct tls_server_settings *settings)
{
    server = tls_server_new(settings, note_report, NULL);
    cr_assert(server, "%s", reported);
}

static void serve_standard(void)
{
    struct tls_site_settings sites[2];
    struct tls_certificate_settings certificates[2];
    struct tls_server_settings settings = standard_settings(sites, certificates);
    serve(&settings);
}

static void open_pair(void)
{
    int sockets[2];
    int failed = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets);
    cr_assert(!failed);
    ours = sockets[0];
    theirs = sockets[1];
    fcntl(ours, F_SETFL, O_NONBLOCK);
    is_over = saw_end = saw_error = false;
    shaken = ERROR_OK;
    connection = connection_adopt(loop, ours, &events, NULL);
}

static void begin(void)
{
    signal(SIGPIPE, SIG_IGN);
    loop = loop_new(0);
    pair = pair_make("EC", "www.example.org", NULL);
    other = pair_make("EC", "other.example", NULL);
    authority = pair_make("EC", "authority", NULL);
    user = pair_make("EC", "user", &authority);
    tickets = tls_tickets_new();
    reported[0] = '\0';
}

static void end(void)
{
    connection_close(&connection);
    loop_free(&loop);
    tls_server_unref(&server);
    tls_tickets_unref(&tickets);
    pair_free(&pair);
    pair_free(&other);
    pair_free(&authority);
    pair_free(&user);
    free(kept);
    kept = NULL;
    kept_length = 0;
}

TestSuite(tls, .init = begin, .fini = end, .timeout = 60);

/* ---- the client ------------------------------------------------------------------------------------------------------------------------- */

struct script {
    SSL_CTX *context;
    int version; /* 0: the highest */
    const char *name, *ciphers, *alpn;
    SSL_SESSION *session; /* to resume; then the one that was made */
    void (*act)(SSL *ssl);
    bool shows_certificate, keeps_session;
    /* what came of it */
    bool shaken, resumed;
    unsigned long error;
    char subject[200];
};

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct script *script = SSL_get_app_data(ssl);
    SSL_SESSION_free(script->session);
    script->session = session;
    return 1;
}

static void *play(void *context)
{
    struct script *script = context;
    SSL_CTX *made = SSL_CTX_new(TLS_client_method());
    if (script->version)
        SSL_CTX_set_max_proto_version(made, script->version);
    if (script->ciphers)
        SSL_CTX_set_cipher_list(made, script->ciphers);
    if (script->shows_certificate) {
        SSL_CTX_use_certificate(made, user.certificate);
        SSL_CTX_use_PrivateKey(made, user.key);
    }
    SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(made, keep_session);
    SSL *ssl = SSL_new(made);
    SSL_set_app_data(ssl, script);
    SSL_set_fd(ssl, theirs);
    if (script->name)
        SSL_set_tlsext_host_name(ssl, script->name);
    if (script->alpn)
        SSL_set_alpn_protos(ssl, (const unsigned char *)script->alpn, (unsigned)strlen(script->alpn));
    if (script->session)
        SSL_set_session(ssl, script->session);
    script->shaken = SSL_connect(ssl) == 1;
    script->error = ERR_peek_last_error();
    script->resumed = SSL_session_reused(ssl);
    X509 *shown = SSL_get0_peer_certificate(ssl);
    if (shown)
        X509_NAME_get_text_by_NID(X509_get_subject_name(shown), NID_commonName, script->subject, sizeof(script->subject));
    if (script->shaken && script->act)
        script->act(ssl);
    script->error = script->error ? script->error : ERR_peek_last_error();
    if (script->shaken)
        SSL_shutdown(ssl);
    close(theirs);
    SSL_free(ssl);
    SSL_CTX_free(made);
    return NULL;
}

/* Plays it against our server, until both sides are done. */
static void against_server(struct script *script, bool http2)
{
    pthread_t thread;
    open_pair();
    bool started = connection_start_tls(connection, server, http2, BYTES_NONE);
    cr_assert(started);
    pthread_create(&thread, NULL, play, script);
    run();
    pthread_join(thread, NULL);
}

/* Sends `length` bytes and wants them back. */
static void send_and_compare(SSL *ssl, size_t length)
{
    char *sent = malloc(length), *got = malloc(length);
    for (size_t i = 0; i < length; i++)
        sent[i] = (char)(i * 31 + i / 257);
    size_t out = 0, in = 0;
    while (in < length) {
        size_t most = length - out < 40000 ? length - out : 40000, done;
        if (out < length && SSL_write_ex(ssl, sent + out, most, &done) == 1)
            out += done;
        while (in < out && SSL_read_ex(ssl, got + in, out - in, &done) == 1)
            in += done;
        if (in < out)
            break;
    }
    cr_expect_eq(in, length); /* no assertions in this thread */
    cr_expect_eq(memcmp(sent, got, in), 0);
    free(sent);
    free(got);
}

static void little(SSL *ssl)
{
    send_and_compare(ssl, 100);
}

static void much(SSL *ssl)
{
    send_and_compare(ssl, 1);
    send_and_compare(ssl, 300 * 1000);
    send_and_compare(ssl, 16384);
    send_and_compare(ssl, 16385);
}

static void updates_keys(SSL *ssl)
{
    little(ssl);
    for (int i = 0; i < 3; i++) {
        SSL_key_update(ssl, i == 1 ? SSL_KEY_UPDATE_NOT_REQUESTED : SSL_KEY_UPDATE_REQUESTED);
        little(ssl);
        much(ssl);
    }
}

static unsigned small_records; /* that the client has got */

static void count_small(int sent, int version, int type, const void *bytes, size_t length, SSL *ssl, void *context)
{
    enum { SMALL_SEALED_BYTES = 1300 + 1 + 16 };
    const unsigned char *head = bytes;
    (void)version, (void)length, (void)ssl, (void)context;
    small_records += !sent && type == SSL3_RT_HEADER && (head[3] << 8 | head[4]) == SMALL_SEALED_BYTES;
}

static void goes_on_and_on(SSL *ssl)
{
    SSL_set_msg_callback(ssl, count_small);
    for (int i = 0; i < 300; i++)
        send_and_compare(ssl, 3000);
}

/* ---- tests ------------------------------------------------------------------------------------------------------------------------------ */

Test(tls, data_goes_both_ways_with_every_cipher)
{
    static const struct {
        int version;
        const char *ciphers, *name;
    } cases[] = {
        {TLS1_3_VERSION, NULL, "TLS_AES_128_GCM_SHA256"},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
        {TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
    };
    serve_standard();
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct script script = {.version = cases[i].version, .ciphers = cases[i].ciphers, .act = much, .name = "www.example.org"};
        against_server(&script, false);
        cr_expect(script.shaken && shaken == ERROR_OK, "%zu: %s", i, failure);
        cr_expect(saw_end, "%zu", i);
        SSL_SESSION_free(script.session);
    }
}

/* As with a FIPS provider: OpenSSL is told to have its own only. */
Test(tls, data_goes_both_ways_where_the_library_derives_the_keys)
{
    struct script script = {.act = updates_keys};
    EVP_set_default_properties(NULL, "provider=default");
    cr_assert_not(tls_kdf_is_chosen());
    serve_standard();
    for (int i = 0; i < 2; i++) { /* a full one, and one that resumes */
        against_server(&script, false);
        cr_expect(script.shaken && saw_end && script.resumed == (i == 1));
    }
    SSL_SESSION_free(script.session);
}

static bool ended_cleanly;

static void waits_for_the_end(SSL *ssl)
{
    char byte;
    size_t got;
    little(ssl);
    ended_cleanly = SSL_read_ex(ssl, &byte, 1, &got) == 0 && SSL_get_error(ssl, 0) == SSL_ERROR_ZERO_RETURN;
}

/* The server does not close its side: the client's end ends the test. */
Test(tls, the_end_goes_with_what_is_written_last)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    serve_standard();
    ends_with_echo = true;
    for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
        struct script script = {.version = versions[i], .act = waits_for_the_end};
        ended_cleanly = false;
        against_server(&script, false);
        cr_expect(script.shaken && ended_cleanly && saw_end, "%zu", i);
        SSL_SESSION_free(script.session);
    }
}

Test(tls, keys_are_updated_both_ways)
{
    struct script script = {.act = updates_keys};
    serve_standard();
    against_server(&script, false);
    cr_expect(script.shaken && saw_end);
    SSL_SESSION_free(script.session);
}

/* Whatever the time, whose milliseconds go by meanwhile. A machine that stands still for a second makes one burst more. */
Test(tls, only_the_beginning_of_a_burst_is_in_small_records)
{
    struct script script = {.act = goes_on_and_on};
    serve_standard();
    against_server(&script, false);
    cr_expect(script.shaken && saw_end);
    cr_expect(small_records >= 5 && small_records < 60, "%u", small_records);
    SSL_SESSION_free(script.session);
}

Test(tls, a_name_finds_its_certificate)
{
    static const struct {
        const char *asked, *shown;
    } cases[] = {
        {"www.example.org", "www.example.org"}, {"WWW.Example.ORG", "www.example.org"}, {"a.b.wild.example", "www.example.org"},
        {"other.example", "other.example"},     {"unknown.example", "www.example.org"}, {NULL, "www.example.org"},
    };
    serve_standard();
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct script script = {.name = cases[i].asked, .act = little};
        against_server(&script, false);
        cr_expect_str_eq(script.subject, cases[i].shown, "%zu", i);
        SSL_SESSION_free(script.session);
    }
}

Test(tls, strictly_an_unknown_name_is_refused)
{
    struct tls_site_settings sites[2];
    struct tls_certificate_settings certificates[2];
    struct tls_server_settings settings = standard_settings(sites, certificates);
    settings.strict = true;
    serve(&settings);
    static const char *const names[] = {"unknown.example", NULL, "wild.example"};
    for (size_t i = 0; i < 3; i++) {
        struct script script = {.name = names[i]};
        against_server(&script, false);
        cr_expect(!script.shaken && shaken == ERROR_TLS_NAME_UNKNOWN, "%zu", i);
        cr_expect_eq(ERR_GET_REASON(script.error), SSL_R_TLSV1_UNRECOGNIZED_NAME);
    }
}

Test(tls, a_session_resumes_under_its_name_only)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    serve_standard();
    for (size_t i = 0; i < 2; i++) {
        struct script script = {.version = versions[i], .name = "www.example.org", .act = little};
        against_server(&script, false);
        cr_expect(script.shaken && !script.resumed);
        cr_assert(script.session);
        against_server(&script, false);
        cr_expect(script.resumed, "%zu", i);
        script.name = "other.example";
        against_server(&script, false);
        cr_expect(script.shaken && !script.resumed, "%zu", i);
        SSL_SESSION_free(script.session);
    }
}

Test(tls, the_application_protocol_is_chosen_or_the_end)
{
    serve_standard();
    struct script script = {.alpn = "\x02h2\x08http/1.1", .act = little};
    against_server(&script, true);
    cr_expect(script.shaken);
    script.alpn = "\x03"
                  "abc";
    against_server(&script, true);
    cr_expect(!script.shaken && shaken == ERROR_TLS_PROTOCOL);
    script.alpn = "\x02h2";
    script.error = 0;
    against_server(&script, false);
    cr_expect(!script.shaken && shaken == ERROR_TLS_PROTOCOL);
    cr_expect_eq(ERR_GET_REASON(script.error), SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
    SSL_SESSION_free(script.session);
}

Test(tls, a_client_certificate_is_required_and_verified)
{
    struct tls_site_settings sites[2];
    struct tls_certificate_settings certificates[2];
    struct tls_server_settings settings = standard_settings(sites, certificates);
    sites[0].client_mode = TLS_CLIENT_REQUIRE;
    sites[0].client_policy = 1;
    sites[0].client_ca = (struct tls_material){bytes_from_string(authority.certificate_pem), "ca"};
    serve(&settings);
    struct script script = {.name = "www.example.org", .version = TLS1_2_VERSION};
    against_server(&script, false);
    cr_expect_eq(shaken, ERROR_TLS_CLIENT_CERTIFICATE);
    script = (struct script){.name = "www.example.org", .shows_certificate = true, .act = little};
    against_server(&script, false);
    cr_expect(script.shaken && shaken == ERROR_OK);
    script.name = "other.example"; /* no certificate is asked for here: the session must not bring one */
    against_server(&script, false);
    cr_expect(script.shaken && !script.resumed);
    SSL_SESSION_free(script.session);
}

Test(tls, plain_http_is_told_from_garbage)
{
    static const struct {
        const char *said;
        enum error error;
    } cases[] = {{"GET / HTTP/1.1\r\n", ERROR_TLS_PLAIN_HTTP}, {"\x80\x01\x02", ERROR_TLS_GARBAGE}, {"\x16GET / HTTP", ERROR_TLS_FAILED}};
    serve_standard();
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char answer[16] = "";
        open_pair();
        ssize_t sent = write(theirs, cases[i].said, strlen(cases[i].said));
        bool started = connection_start_tls(connection, server, false, BYTES_NONE);
        cr_assert(sent > 0 && started);
        run();
        cr_expect_eq(shaken, cases[i].error, "%zu: %d", i, shaken);
        ssize_t got = read(theirs, answer, 15);
        if (cases[i].error == ERROR_TLS_PLAIN_HTTP)
            cr_expect(got == 5 && strcmp(answer, "plain") == 0);
        close(theirs);
    }
}

static void damages_a_record(SSL *ssl)
{
    char rubbish[40] = {23, 3, 3, 0, 35};
    little(ssl);
    ssize_t sent = write(theirs, rubbish, sizeof(rubbish));
    char byte;
    cr_expect_eq(sent, (ssize_t)sizeof(rubbish));
    cr_expect_leq(SSL_read(ssl, &byte, 1), 0);
}

Test(tls, a_record_that_was_not_sealed_by_the_peer_is_the_end)
{
    struct script script = {.act = damages_a_record};
    serve_standard();
    against_server(&script, false);
    cr_expect(saw_error);
    cr_expect_eq(ERR_GET_REASON(script.error), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
    SSL_SESSION_free(script.session);
}

static void renegotiates(SSL *ssl)
{
    char byte;
    little(ssl);
    SSL_renegotiate(ssl);
    SSL_do_handshake(ssl);
    cr_expect_leq(SSL_read(ssl, &byte, 1), 0);
}

Test(tls, there_is_no_renegotiation)
{
    struct script script = {.act = renegotiates, .version = TLS1_2_VERSION};
    serve_standard();
    against_server(&script, false);
    cr_expect(saw_error);
    SSL_SESSION_free(script.session);
}

/* ---- our own client --------------------------------------------------------------------------------------------------------------------- */

static struct connection *client;
static enum error client_error;
static bool client_over;
static size_t client_got, client_wants;
static unsigned client_resumed;

static void client_readable(void *owner)
{
    (void)owner;
    char buffer[10000];
    ssize_t got = connection_read(client, buffer, sizeof(buffer));
    if (got == CONNECTION_AGAIN)
        return;
    cr_assert_gt(got, 0);
    client_got += (size_t)got;
    if (client_got == client_wants)
        connection_close(&client);
}

static size_t client_sent;
static void client_writable(void *owner)
{
    (void)owner;
    static char bytes[100000];
    while (client_sent < client_wants) {
        size_t left = client_wants - client_sent;
        ssize_t written = connection_write(client, bytes, left < sizeof(bytes) ? left : sizeof(bytes), false);
        if (written == CONNECTION_AGAIN)
            return;
        cr_assert_gt(written, 0);
        client_sent += (size_t)written;
    }
    connection_want(client, WANT_READ);
}

static void client_connected(void *owner, enum error error)
{
    (void)owner;
    client_over = true;
    client_error = error;
    if (error != ERROR_OK) {
        connection_close(&client);
        return;
    }
    client_resumed += connection_tls(client)->resumed;
    connection_want(client, WANT_READ | WANT_WRITE);
}

static const struct connection_events client_events = {
    .readable = client_readable, .writable = client_writable, .connected = client_connected};

static void against_each_other(struct tls_client *context, const char *name, size_t bytes)
{
    open_pair();
    fcntl(theirs, F_SETFL, O_NONBLOCK);
    client = connection_adopt(loop, theirs, &client_events, NULL);
    client_over = false;
    client_got = client_sent = 0;
    client_wants = bytes;
    bool started = connection_start_tls_client(client, context, bytes_from_string(name)) &&
                   connection_start_tls(connection, server, false, BYTES_NONE);
    cr_assert(started);
    run();
    cr_expect(client_over && is_over);
}

Test(tls, our_client_verifies_the_server_and_resumes)
{
    struct tls_client_settings settings = {.verify = true, .ca = {bytes_from_string(pair.certificate_pem), "ca"}};
    struct tls_client *context = tls_client_new(&settings, note_report, NULL);
    cr_assert(context);
    serve_standard();
    client_resumed = 0;
    for (int i = 0; i < 3; i++) {
        against_each_other(context, "www.example.org", 500000);
        cr_expect_eq(client_error, ERROR_OK);
        cr_expect(client_got == 500000 && saw_end);
    }
    cr_expect_eq(client_resumed, 2, "%u", client_resumed);
    against_each_other(context, "other.example", 10);
    cr_expect_eq(client_error, ERROR_ORIGIN_TLS_UNTRUSTED);
    cr_expect_eq(shaken, ERROR_TLS_REFUSED);
    against_each_other(context, "unknown.example", 10);
    cr_expect_eq(client_error, ERROR_ORIGIN_TLS_NAME);
    tls_client_unref(&context);
}

Test(tls, our_client_may_be_told_not_to_verify)
{
    struct tls_client *context = tls_client_new(&(struct tls_client_settings){.verify = false}, note_report, NULL);
    serve_standard();
    against_each_other(context, "unknown.example", 1000);
    cr_expect_eq(client_error, ERROR_OK);
    tls_client_unref(&context);
}
