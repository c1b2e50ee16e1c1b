#include "proxy/reload.h"

#include "base/log.h"
#include "proxy/boot/config_files.h"
#include "proxy/boot/notify.h"
#include "proxy/boot/tls_setup.h"
#include "proxy/boot/version.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- reading ---------------------------------------------------------------------------------------------------------------------------- */

bool reload_text(const struct options *options, FILE *errors, struct bytes *name, struct bytes *text)
{
    *text = BYTES_NONE;
    *name = options->file ? bytes_from_string(options->file) : BYTES("command line");
    if (options->file)
        return config_read_file(options->file, errors, text);
    char *demo = realpath(options->demo ? options->demo : version_demo_root, NULL);
    if (!demo && options->origin_count == 0) {
        fprintf(errors, "the demo site %s: %s; choose a site with --origin URL or -c FILE\n",
                options->demo ? options->demo : version_demo_root, strerror(errno));
        return false;
    }
    struct arena arena;
    arena_init(&arena);
    struct bytes made = config_synthesise(&arena, options->origins, options->origin_count, options->listens, options->listen_count, demo);
    if (access("/run/outrigger", W_OK) == 0) /* where outriggerctl looks */
        made = arena_printf(&arena, "%.*sadmin: {socket: /run/outrigger/admin.sock}\n", BYTES_FMT(made));
    *text = bytes_from(strndup(made.at, made.len), made.len);
    arena_free(&arena);
    free(demo);
    return true;
}

/* With its files; NULL: they are no good, or `config` was NULL. */
static struct config *check_files(struct config *config, struct bytes text, FILE *errors)
{
    if (config && !(config_files_read(config, text, errors) && tls_setup_check(config, text, errors)))
        config_unref(&config);
    return config;
}

struct config *reload_read(const struct options *options, FILE *errors, struct bytes *text)
{
    struct bytes name;
    struct config *config = reload_text(options, errors, &name, text) ? config_parse(name, *text, errors) : NULL;
    return check_files(config, *text, errors);
}

/* Line by line, for a line of the log is a line. */
static void log_lines(enum log_level level, const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        log_write(level, "config", "%.*s", (int)len, text);
        text += len + (text[len] == '\n');
    }
}

/* ---- what a reload cannot change --------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t offset, size;
} start_only[] = {
#define START_ONLY(name, field)                                                                                                            \
    {                                                                                                                                      \
        name, offsetof(struct config, field), sizeof(((struct config *)0)->field)                                                          \
    }
    START_ONLY("workers", workers),
    START_ONLY("concurrency", concurrency),
    START_ONLY("without", without),
    START_ONLY("cache.memory", cache_memory_bytes),
    START_ONLY("cache.object_max", cache_object_max_bytes),
    START_ONLY("cache.variants", cache_variants_max),
    START_ONLY("helpers.disk", disk_helpers),
    START_ONLY("helpers.store", store_helpers),
    START_ONLY("disk.engine", disk_engine),
    START_ONLY("disk.admit", disk_admission),
    START_ONLY("disk.queue", disk_queue_bytes),
    START_ONLY("disk.read_delay", disk_read_delay_ms),
    START_ONLY("helpers.resolver", resolver_helpers),
    START_ONLY("helpers.deadline", helper_deadline_ms),
#undef START_ONLY
};

static bool same_disks(const struct config *a, const struct config *b)
{
    if (a->disk_count != b->disk_count)
        return false;
    for (unsigned i = 0; i < a->disk_count; i++)
        if (strcmp(a->disks[i].path, b->disks[i].path) != 0 || a->disks[i].size_bytes != b->disks[i].size_bytes)
            return false;
    return true;
}

static void warn_of_restart(const struct config *running, const struct config *wanted)
{
    static const char warning[] = "%s changed: it keeps its old value until the server is restarted";
    for (size_t i = 0; i < sizeof start_only / sizeof *start_only; i++)
        if (memcmp((const char *)running + start_only[i].offset, (const char *)wanted + start_only[i].offset, start_only[i].size) != 0)
            log_warn("config", warning, start_only[i].name);
    if (!same_disks(running, wanted))
        log_warn("config", warning, "cache.disk");
    const char *before = running->user ? running->user : "", *after = wanted->user ? wanted->user : "";
    if (strcmp(before, after) != 0)
        log_warn("config", warning, "user");
}

/* ---- taking over ------------------------------------------------------------------------------------------------------------------------ */

static void log_to_file(void *context, struct bytes line)
{
    const struct supervisor *s = context;
    log_files_write_error(&s->logs, line);
}

static void use_logs(struct supervisor *s, const struct log_files *logs)
{
    log_files_close(&s->logs);
    s->logs = *logs;
    log_set_level(s->config->log_level);
    log_set_thread_sink(s->logs.fd[LOG_KIND_ERROR] >= 0 ? log_to_file : NULL, s);
}

static size_t add_root(char *out, const char *root, const char *known, size_t known_len)
{
    size_t len = strlen(root) + 1;
    if (memmem(known, known_len, root, len))
        return 0;
    if (out)
        memcpy(out, root, len);
    return len;
}

static size_t add_roots(char *out, const struct config *config, const char *known, size_t known_len)
{
    size_t len = 0;
    for (unsigned site = 0; site < config->site_count; site++) {
        for (unsigned i = 0; i < config->sites[site].origin_count; i++) {
            const struct config_origin *origin = &config->sites[site].origins[i];
            if (origin->kind == ORIGIN_KIND_FILES)
                len += add_root(out ? out + len : NULL, origin->root, known, known_len);
        }
        if (config->sites[site].acme_directory)
            len += add_root(out ? out + len : NULL, config->sites[site].acme_directory, known, known_len);
    }
    return len;
}

/* The directories of the new configuration, and of the old one for requests under way. */
static void set_roots(struct supervisor *s, const struct config *before)
{
    size_t new_len = add_roots(NULL, s->config, "", 0), old_len = before ? add_roots(NULL, before, "", 0) : 0;
    free(s->roots);
    s->roots = calloc(1, new_len + old_len + 1);
    if (!s->roots)
        abort();
    s->roots_len = add_roots(s->roots, s->config, "", 0);
    if (before)
        s->roots_len += add_roots(s->roots + s->roots_len, before, s->roots, s->roots_len);
    if (s->roots_len > MESSAGE_TAIL_MAX) { /* rather the new ones alone than none */
        log_warn("config", "more directories of files: origins than fit into a message (%d bytes): some cannot be served",
                 MESSAGE_TAIL_MAX);
        s->roots_len = MESSAGE_TAIL_MAX;
        while (s->roots_len > 0 && s->roots[s->roots_len - 1] != '\0')
            s->roots_len--;
    }
}

/* Nothing of this can fail. */
static void use(struct supervisor *s, struct config *config, struct bytes text, int text_fd, const struct listening_set *sockets)
{
    struct config *before = s->config;
    s->config = config;
    s->serial++;
    free((char *)s->text.at);
    s->text = text;
    if (s->text_fd >= 0)
        close(s->text_fd);
    s->text_fd = text_fd;
    s->retiring = s->sockets;
    s->sockets = *sockets;
    set_roots(s, before);
    if (before)
        config_unref(&before);
}

/* Everything that can fail is done before anything is changed: a supervisor that can open nothing more refuses what is new, and its proxy serves on.
 * `config` may be NULL; it and `text` are taken. */
static bool take_over(struct supervisor *s, struct config *config, struct bytes text, const struct listening_set *inherited, FILE *errors)
{
    struct listening_set sockets;
    struct log_files logs;
    int text_fd = config ? config_files_keep_text(text, errors) : -1;
    if (text_fd >= 0 && log_files_open(&logs, config, errors)) {
        if (listening_open(&sockets, config, &s->sockets, inherited, errors)) {
            use(s, config, text, text_fd, &sockets);
            use_logs(s, &logs);
            return true;
        }
        log_files_close(&logs);
    }
    if (text_fd >= 0)
        close(text_fd);
    free((char *)text.at);
    if (config)
        config_unref(&config);
    return false;
}

bool reload_first(struct supervisor *s, const struct listening_set *inherited)
{
    struct bytes text;
    struct config *config = reload_read(&s->options, stderr, &text);
    return take_over(s, config, text, inherited, stderr);
}

/* ---- telling the proxy ------------------------------------------------------------------------------------------------------------------- */

void reload_send_config(struct supervisor *s)
{
    unsigned listeners = upgrade_is_guest(&s->upgrade) ? 0 : s->sockets.count; /* until then, clients are another instance's */
    for (unsigned i = 0; i < listeners; i++) {
        const struct listening *listening = &s->sockets.at[i];
        struct message_listener listener = {.index = i, .kind = listening->kind};
        child_send(&s->proxy, MESSAGE_LISTENER, &listener, bytes_from_string(listening->text), &listening->fd, 1);
    }
    struct message_config config = {.serial = s->serial, .listeners = listeners};
    const int fds[] = {s->text_fd, s->config->files_fd};
    child_send(&s->proxy, MESSAGE_CONFIG, &config, s->config->name, fds, 2);
}

static void answer_askers(struct supervisor *s, bool accepted, const char *errors)
{
    size_t len = strlen(errors);
    for (unsigned i = 0; i < s->asker_count; i++) {
        struct message_reload result = {.request = s->askers[i], .accepted = accepted};
        child_send(&s->proxy, MESSAGE_RELOAD_RESULT, &result, bytes_from(errors, len < MESSAGE_TAIL_MAX ? len : MESSAGE_TAIL_MAX), NULL, 0);
    }
    s->asker_count = 0;
}

/* ---- the reload ------------------------------------------------------------------------------------------------------------------------- */

static void notify_reloading(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    notify_manager("RELOADING=1\nMONOTONIC_USEC=%llu\n", (unsigned long long)now.tv_sec * 1000000 + (unsigned long long)now.tv_nsec / 1000);
}

static void tell_proxy(struct supervisor *s)
{
    s->is_reloading = true;
    warn_of_restart(s->started, s->config);
    family_send_settings(s);
    reload_send_config(s);
}

static void reload_with(struct supervisor *s, const struct listening_set *inherited)
{
    if (s->ending != ENDING_NOT) {
        answer_askers(s, false, "the server is shutting down\n");
        return;
    }
    const struct config *running = s->started ? s->started : s->config; /* families.c starts nobody itself */
    if (running->concurrency == CONCURRENCY_MP) {
        log_error("config", "with concurrency: mp there is no reload: restart the server");
        answer_askers(s, false, "with concurrency: mp there is no reload: restart the server\n");
        return;
    }
    if (s->proxy.pid > 0 && s->taken != s->serial) {
        s->reload_again = true;
        return;
    }
    char *errors = NULL;
    size_t size;
    struct bytes text;
    FILE *stream = open_memstream(&errors, &size);
    if (!stream)
        abort();
    notify_reloading();
    listening_close(&s->retiring, &s->sockets);
    struct config *config = reload_read(&s->options, stream, &text);
    bool accepted = take_over(s, config, text, inherited, stream);
    fclose(stream);
    log_lines(accepted ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR, errors);
    if (accepted) {
        tell_proxy(s);
    } else {
        log_error("config", "the new configuration is refused; the old one keeps serving");
        answer_askers(s, false, errors);
        notify_manager("READY=1\nSTATUS=Serving; the last reload was refused\n");
    }
    free(errors);
}

void reload_begin(struct supervisor *s)
{
    static const struct listening_set none = {0};
    reload_with(s, &none);
}

void reload_adopting(struct supervisor *s, struct listening_set *sockets)
{
    reload_with(s, sockets);
    listening_close(sockets, &s->sockets);
}

bool reload_files(struct supervisor *s)
{
    static const struct listening_set none = {0};
    char *errors = NULL;
    size_t size;
    if (s->proxy.pid == 0 || s->taken != s->serial)
        return false;
    FILE *stream = open_memstream(&errors, &size);
    if (!stream)
        abort();
    struct bytes text = bytes_from(strndup(s->text.at, s->text.len), s->text.len);
    struct config *config = check_files(config_parse(s->config->name, text, stream), text, stream);
    listening_close(&s->retiring, &s->sockets);
    bool accepted = take_over(s, config, text, &none, stream);
    fclose(stream);
    log_lines(accepted ? LOG_LEVEL_WARN : LOG_LEVEL_ERROR, errors);
    free(errors);
    if (accepted) {
        log_info("config", "files that the configuration names have changed, and were read again");
        tell_proxy(s);
    } else {
        log_error("config", "files that the configuration names have changed, and are refused; what they were keeps serving");
    }
    return true;
}

void reload_ask(struct supervisor *s, uint32_t ticket)
{
    if (s->asker_count == ASKERS_MAX) {
        struct message_reload result = {.request = ticket};
        child_send(&s->proxy, MESSAGE_RELOAD_RESULT, &result, BYTES("too many reloads are waiting\n"), NULL, 0);
        return;
    }
    s->askers[s->asker_count++] = ticket;
    reload_begin(s);
}

void reload_taken(struct supervisor *s, uint32_t serial)
{
    s->taken = serial;
    if (serial != s->serial)
        return;
    listening_close(&s->retiring, &s->sockets);
    if (s->reload_again) {
        s->reload_again = false;
        reload_begin(s);
        return;
    }
    answer_askers(s, true, "");
    if (s->is_reloading)
        log_info("config", "the new configuration serves");
    s->is_reloading = false;
    if (!upgrade_is_guest(&s->upgrade)) /* the manager would not hear it: another process is its main one until that hands over */
        notify_manager("READY=1\nSTATUS=Serving\nMAINPID=%d\n", (int)s->main_pid);
}

void reload_reopen_logs(struct supervisor *s)
{
    struct log_files logs;
    char *errors = NULL;
    size_t size;
    FILE *stream = open_memstream(&errors, &size);
    if (!stream)
        abort();
    bool opened = log_files_open(&logs, s->config, stream);
    fclose(stream);
    log_lines(LOG_LEVEL_ERROR, errors);
    free(errors);
    if (!opened)
        return;
    use_logs(s, &logs);
    family_send_settings(s);
}
