/* outriggerctl: asks a running outrigger over its Unix socket. Exit status 0: done; 1: refused or unreachable; 2: unusable arguments. */
#include "proxy/admin/ctl_http.h"
#include "proxy/admin/ctl_stats.h"

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_USAGE = 2 };

static const char help[] = "Usage: outriggerctl [--socket PATH] [--json] COMMAND\n"
                           "\n"
                           "  stats        what the cache does: requests, hit ratios, memory, helpers\n"
                           "  purge URL    forget what is stored of this URL, all variants; http://host/path, as clients ask for it\n"
                           "  reload       read the configuration again; prints its errors when it is refused\n"
                           "\n"
                           "  --socket PATH  default: /run/outrigger/admin.sock (admin.socket in the configuration)\n"
                           "  --json         print the answer as JSON\n";

struct ctl {
    const char *socket;
    bool json;
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

/* The answer's object, or NULL: the user was told. */
static json_t *ask(const struct ctl *ctl, const char *method, const char *target)
{
    struct ctl_answer answer;
    char error[512];
    if (!ctl_ask(ctl->socket, method, target, &answer, error, sizeof error)) {
        fprintf(stderr, "outriggerctl: %s\n", error);
        return NULL;
    }
    json_t *object = json_loads(answer.body, 0, NULL);
    const char *refusal = json_string_value(json_object_get(object, "error"));
    if (answer.status == 200 && object) {
        if (ctl->json)
            printf("%s%s", answer.body, strchr(answer.body, '\n') ? "" : "\n");
    } else {
        fprintf(stderr, "outriggerctl: %s (status %u)\n", refusal ? refusal : answer.body, answer.status);
        json_decref(object);
        object = NULL;
    }
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

static int purge(const struct ctl *ctl, const char *url)
{
    char *escaped = ctl_escape(url), *target;
    if (asprintf(&target, "/purge?url=%s", escaped) < 0)
        abort();
    json_t *object = ask(ctl, "POST", target);
    free(target);
    free(escaped);
    if (!object)
        return EXIT_FAILURE;
    if (!ctl->json)
        puts(json_is_true(json_object_get(object, "purged")) ? "purged" : "nothing was stored of it");
    json_decref(object);
    return EXIT_SUCCESS;
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

static int run(const struct ctl *ctl, int argc, char **argv)
{
    if (argc == 0)
        return usage("a command is missing");
    bool takes_url = strcmp(argv[0], "purge") == 0;
    if (argc != 1 + takes_url)
        return usage(takes_url ? "purge takes one URL" : "%s takes no arguments", argv[0]);
    if (takes_url)
        return purge(ctl, argv[1]);
    if (strcmp(argv[0], "stats") == 0)
        return stats(ctl);
    if (strcmp(argv[0], "reload") == 0)
        return reload(ctl);
    return usage("unknown command %s", argv[0]);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"socket", required_argument, NULL, 's'}, {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};
    struct ctl ctl = {.socket = "/run/outrigger/admin.sock"};
    int option;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        switch (option) {
        case 's':
            ctl.socket = optarg;
            break;
        case 'j':
            ctl.json = true;
            break;
        case 'h':
            fputs(help, stdout);
            return EXIT_SUCCESS;
        case ':':
            return usage("%s needs a value", argv[optind - 1]);
        default:
            return usage("unknown option %s", argv[optind - 1]);
        }
    }
    return run(&ctl, argc - optind, argv + optind);
}
