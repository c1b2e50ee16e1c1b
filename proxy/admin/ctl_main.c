/* outriggerctl: asks a running outrigger over its Unix socket. Exit status 0: done; 1: refused or unreachable; 2: unusable arguments. */
#include "proxy/admin/ctl_http.h"
#include "proxy/admin/ctl_log.h"
#include "proxy/admin/ctl_sizing.h"
#include "proxy/admin/ctl_stats.h"
#include "proxy/admin/ctl_text.h"
#include "proxy/admin/ctl_top.h"

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_USAGE = 2 };

static const char help[] =
    "Usage: outriggerctl [--socket PATH] [--json] COMMAND\n"
    "\n"
    "  stats        what the cache does: requests, hit ratios, memory, helpers\n"
    "  store        the disk tier: directories, segments, what is written and read\n"
    "  sizing       what the hit ratio would be with other sizes of memory and disk\n"
    "  why URL      what the next request for this URL would get, and why; with -H 'Name: value' as often as it has such fields\n"
    "  purge URL    forget what is stored of this URL, all variants; http://host/path, as clients ask for it\n"
    "  purge --tag TAG... | --host HOST | --all\n"
    "               forget every response with one of these tags, of this host, or everything\n"
    "  reload       read the configuration again; prints its errors when it is refused\n"
    "  drain        accept no more, finish what is under way, and end\n"
    "  top          what happens right now, on the whole screen: rates, URLs, sites, tags, statuses, reasons; keys: 1 to 6, s sorts,\n"
    "               q ends; with --json a line for each look\n"
    "  log          requests as they end, those that all of these let pass:\n"
    "    --status 404,5xx,500-503   --result HIT,MISS,EXPIRED,STALE,UPDATING,REVALIDATED,BYPASS   --reason WORD\n"
    "    --site HOST   --url http://host/begins-with or /begins-with   --slower-than 100ms\n"
    "\n"
    "  --interval S   top: look every S seconds; default: 1\n"
    "  --count N      top: end after N looks\n"
    "  --soft         purge: make it stale instead, so that it can be validated, and served meanwhile where that is allowed\n"
    "  --socket PATH  default: /run/outrigger/admin.sock (admin.socket in the configuration)\n"
    "  --json         print the answer as JSON\n";

struct ctl {
    const char *socket;
    bool json;
    char *query;  /* of purge, why and log */
    int purge_by; /* which kind of thing it names; 0: a URL yet to come */
    const char **tags;
    unsigned tag_count;
    bool soft, has_fields, has_filters;
    struct ctl_top_options top;
};

static int __attribute__((format(printf, 1, 2))) usage(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("outriggerctl: ", stderr);
    vfprintf(stderr, format, arguments);
    fputs("; outriggerctl --help shows how\n", stderr);
    va_end(arguments);
    return EXIT_USAGE;
}

/* NULL: it is none, and the user was told. */
static json_t *read_answer(const struct ctl_answer *answer)
{
    char line[1024];
    json_t *object = answer->status == 200 ? json_loads(answer->body, 0, NULL) : NULL;
    if (!object) {
        ctl_describe_refusal(answer, line, sizeof line);
        fprintf(stderr, "outriggerctl: %s\n", line);
    }
    return object;
}

/* False: the user was told. */
static bool get_answer(const struct ctl *ctl, const char *method, const char *target, struct ctl_answer *answer)
{
    char error[512];
    bool done = ctl_ask(ctl->socket, method, target, answer, error, sizeof error);
    if (!done)
        fprintf(stderr, "outriggerctl: %s\n", error);
    return done;
}

/* The answer's object, or NULL: the user was told. */
static json_t *ask(const struct ctl *ctl, const char *method, const char *target)
{
    struct ctl_answer answer;
    if (!get_answer(ctl, method, target, &answer))
        return NULL;
    json_t *object = read_answer(&answer);
    if (object && ctl->json)
        printf("%s%s", answer.body, strchr(answer.body, '\n') ? "" : "\n");
    free(answer.body);
    return object;
}

static int stats(const struct ctl *ctl)
{
    json_t *object = ask(ctl, "GET", "/stats");
    if (!object)
        return EXIT_FAILURE;
    if (!ctl->json)
        ctl_print_stats(object, stdout);
    json_decref(object);
    return EXIT_SUCCESS;
}

static int sizing(const struct ctl *ctl)
{
    json_t *object = ask(ctl, "GET", "/sizing");
    if (!object)
        return EXIT_FAILURE;
    if (!ctl->json)
        ctl_print_sizing(object, stdout);
    json_decref(object);
    return EXIT_SUCCESS;
}

static int store(const struct ctl *ctl)
{
    json_t *object = ask(ctl, "GET", "/stats");
    if (!object)
        return EXIT_FAILURE;
    bool is_there = ctl->json || ctl_print_store(object, stdout);
    if (!is_there)
        fputs("outriggerctl: there is no disk tier (cache.disk in the configuration)\n", stderr);
    json_decref(object);
    return is_there ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Appends "&name=value". */
static void add_parameter(struct ctl *ctl, const char *name, const char *value)
{
    char *escaped = ctl_escape(value), *before = ctl->query;
    if (asprintf(&ctl->query, "%s%s%s=%s", before ? before : "", before ? "&" : "", name, escaped) < 0)
        abort();
    free(before);
    free(escaped);
}

static int tell_purge(const struct ctl *ctl, json_t *object)
{
    if (!object)
        return EXIT_FAILURE;
    if (!ctl->json && !json_is_true(json_object_get(object, "purged")))
        puts("nothing was stored of it");
    else if (!ctl->json)
        puts(ctl->soft ? "purged softly: stale from now on" : "purged");
    json_decref(object);
    return EXIT_SUCCESS;
}

static int purge(struct ctl *ctl)
{
    char *target;
    if (ctl->soft)
        add_parameter(ctl, "soft", "1");
    if (asprintf(&target, "/purge?%s", ctl->query) < 0)
        abort();
    json_t *object = ask(ctl, "POST", target);
    free(target);
    return tell_purge(ctl, object);
}

/* Of as many tags, from `first` on, as fit into `most` bytes, of one at least. */
static char *tags_target(const struct ctl *ctl, unsigned first, size_t most, unsigned *count)
{
    char *target = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&target, &length);
    if (!out)
        abort();
    fputs(ctl->soft ? "/purge?soft=1" : "/purge?soft=0", out);
    for (*count = 0; first + *count < ctl->tag_count; ++*count) {
        char *escaped = ctl_escape(ctl->tags[first + *count]);
        fflush(out);
        bool fits = *count == 0 || length + strlen("&tag=") + strlen(escaped) <= most;
        if (fits)
            fprintf(out, "&tag=%s", escaped);
        free(escaped);
        if (!fits)
            break;
    }
    fclose(out);
    return target;
}

enum { TAGS_TARGET_BYTES = 8000 }; /* what limits.url_bytes lets through, unless it was made smaller */

/* One request, with half as many tags as before where they are too long for the server. NULL: the user was told. */
static json_t *purge_some_tags(const struct ctl *ctl, unsigned first, size_t *most, unsigned *count)
{
    struct ctl_answer answer;
    for (;;) {
        char *target = tags_target(ctl, first, *most, count);
        size_t length = strlen(target);
        bool done = get_answer(ctl, "POST", target, &answer);
        free(target);
        if (!done)
            return NULL;
        if ((answer.status != 414 && answer.status != 431) || *count == 1)
            break;
        *most = length / 2;
        free(answer.body);
    }
    json_t *object = read_answer(&answer);
    free(answer.body);
    return object;
}

/* With as many requests as it takes: a purge that is made again, because one of them failed, does no harm. */
static int purge_tags(const struct ctl *ctl)
{
    json_t *all = NULL;
    size_t most = TAGS_TARGET_BYTES;
    for (unsigned done = 0, count; done < ctl->tag_count; done += count) {
        json_t *object = purge_some_tags(ctl, done, &most, &count);
        if (!object) {
            if (done > 0)
                fprintf(stderr, "outriggerctl: %u of %u tags were purged before\n", done, ctl->tag_count);
            json_decref(all);
            return EXIT_FAILURE;
        }
        json_decref(all);
        all = object;
    }
    json_object_set_new(all, "tags", json_integer(ctl->tag_count));
    if (ctl->json && json_dumpf(all, stdout, JSON_COMPACT) == 0)
        putchar('\n');
    return tell_purge(ctl, all);
}

static int reload(const struct ctl *ctl)
{
    json_t *object = ask(ctl, "POST", "/reload");
    if (!object)
        return EXIT_FAILURE;
    bool accepted = json_is_true(json_object_get(object, "accepted"));
    const char *errors = json_string_value(json_object_get(object, "errors"));
    if (!ctl->json && accepted)
        puts("reloaded");
    else if (!ctl->json)
        fprintf(stderr, "%sthe new configuration is refused; the old one keeps serving\n", errors ? errors : "");
    json_decref(object);
    return accepted ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int drain(const struct ctl *ctl)
{
    json_t *object = ask(ctl, "POST", "/drain");
    if (!object)
        return EXIT_FAILURE;
    if (!ctl->json)
        puts("draining");
    json_decref(object);
    return EXIT_SUCCESS;
}

/* "purge URL", or "purge" with --tag, --host or --all. */
static int run_purge(struct ctl *ctl, int argc, char **argv)
{
    if (argc != (ctl->purge_by == 0))
        return usage("purge takes one URL, or --tag, --host or --all");
    if (ctl->purge_by == 't')
        return purge_tags(ctl);
    if (ctl->purge_by == 0)
        add_parameter(ctl, "url", argv[0]);
    return purge(ctl);
}

/* What clients and origins wrote is in it, too. */
static void print_line(const char *line)
{
    size_t size = 4 * strlen(line) + 1;
    char *safe = malloc(size);
    if (!safe)
        abort();
    ctl_safe_text(safe, size, line);
    puts(safe);
    free(safe);
}

static int why(struct ctl *ctl, const char *url)
{
    char *target;
    add_parameter(ctl, "url", url);
    if (asprintf(&target, "/why?%s", ctl->query) < 0)
        abort();
    json_t *object = ask(ctl, "GET", target), *line;
    size_t i;
    free(target);
    if (!object)
        return EXIT_FAILURE;
    json_array_foreach(ctl->json ? NULL : json_object_get(object, "text"), i, line) print_line(json_string_value(line));
    json_decref(object);
    return EXIT_SUCCESS;
}

static int follow_log(struct ctl *ctl)
{
    char *target;
    if (asprintf(&target, "/log%s%s", ctl->query ? "?" : "", ctl->query ? ctl->query : "") < 0)
        abort();
    int status = ctl_log(ctl->socket, ctl->json, target);
    free(target);
    return status;
}

static int run(struct ctl *ctl, int argc, char **argv)
{
    if (argc == 0)
        return usage("a command is missing");
    bool is_purge = strcmp(argv[0], "purge") == 0, is_why = strcmp(argv[0], "why") == 0;
    bool is_top = strcmp(argv[0], "top") == 0, is_log = strcmp(argv[0], "log") == 0;
    if ((!is_purge && (ctl->purge_by != 0 || ctl->soft)) || (!is_why && ctl->has_fields) || (!is_top && ctl->top.has_options) ||
        (!is_log && ctl->has_filters))
        return usage("%s does not take these options", argv[0]);
    if (is_top && argc == 1)
        return ctl_top(ctl->socket, ctl->json, &ctl->top);
    if (is_purge)
        return run_purge(ctl, argc - 1, argv + 1);
    if (is_why)
        return argc == 2 ? why(ctl, argv[1]) : usage("why takes one URL");
    if (argc != 1)
        return usage("%s takes no arguments", argv[0]);
    if (strcmp(argv[0], "stats") == 0)
        return stats(ctl);
    if (strcmp(argv[0], "store") == 0)
        return store(ctl);
    if (strcmp(argv[0], "sizing") == 0)
        return sizing(ctl);
    if (is_log)
        return follow_log(ctl);
    if (strcmp(argv[0], "reload") == 0)
        return reload(ctl);
    if (strcmp(argv[0], "drain") == 0)
        return drain(ctl);
    return usage("unknown command %s", argv[0]);
}

/* --tag may come several times, and alone; --host and --all once, and alone. */
static bool take_purge_option(struct ctl *ctl, int option)
{
    if (ctl->purge_by != 0 && !(option == 't' && ctl->purge_by == 't'))
        return false;
    ctl->purge_by = option;
    if (option == 't')
        ctl->tags[ctl->tag_count++] = optarg;
    else
        add_parameter(ctl, option == 'a' ? "all" : "host", option == 'a' ? "1" : optarg);
    return true;
}

enum { GO_ON = -1, FILTER = 'F' };

/* Fills `ctl`; returns the status to end with, or GO_ON. */
static int read_options(struct ctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {{"socket", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"tag", required_argument, NULL, 't'},
                                            {"host", required_argument, NULL, 'o'},
                                            {"all", no_argument, NULL, 'a'},
                                            {"soft", no_argument, NULL, 'f'},
                                            {"interval", required_argument, NULL, 'i'},
                                            {"count", required_argument, NULL, 'n'},
                                            {"status", required_argument, NULL, FILTER},
                                            {"result", required_argument, NULL, FILTER},
                                            {"reason", required_argument, NULL, FILTER},
                                            {"site", required_argument, NULL, FILTER},
                                            {"url", required_argument, NULL, FILTER},
                                            {"slower-than", required_argument, NULL, FILTER},
                                            {0}};
    int option, at = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":hH:", options, &at)) != -1) {
        switch (option) {
        case 's':
            ctl->socket = optarg;
            break;
        case 'j':
            ctl->json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return EXIT_SUCCESS;
        case 'H':
            add_parameter(ctl, "header", optarg);
            ctl->has_fields = true;
            break;
        case FILTER: /* what it means is the server's to say */
            add_parameter(ctl, options[at].name, optarg);
            ctl->has_filters = true;
            break;
        case 'f':
            ctl->soft = true;
            break;
        case 'i':
        case 'n':
            if (!ctl_top_option(&ctl->top, option, optarg))
                return usage("--%s %s: a number is expected", option == 'i' ? "interval" : "count", optarg);
            break;
        case 't':
        case 'o':
        case 'a':
            if (!take_purge_option(ctl, option))
                return usage("purge by one thing at a time: a URL, tags, a host, or everything");
            break;
        case ':':
            return usage("%s needs a value", argv[optind - 1]);
        default:
            return usage("unknown option %s", argv[optind - 1]);
        }
    }
    return GO_ON;
}

int main(int argc, char **argv)
{
    struct ctl ctl = {.socket = "/run/outrigger/admin.sock", .tags = calloc((size_t)argc + 1, sizeof *ctl.tags), .top = {.interval_s = 1}};
    if (!ctl.tags)
        abort();
    int status = read_options(&ctl, argc, argv);
    if (status == GO_ON)
        status = run(&ctl, argc - optind, argv + optind);
    free(ctl.query);
    free(ctl.tags);
    return status;
}
