#include "proxy/boot/options.h"

#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char options_help[] =
    "Usage: outrigger -c FILE                       serve what the configuration says\n"
    "       outrigger --origin URL [--listen ADDR]  serve this site, without a file\n"
    "       outrigger                               serve the demo site\n"
    "\n"
    "  -c FILE          configuration, YAML: outrigger.yaml(5)\n"
    "  -t               test the configuration, warn of what is dangerous in it, and exit\n"
    "  -T               print the effective configuration, with where each value comes from, and exit\n"
    "  --check-store DIR  verify a cache directory that no server uses, and exit: 0 all is well, 1 not\n"
    "  -s SIGNAL        tell the running supervisor: reload, stop (at once), quit (finish what there is), reopen (log files),\n"
    "                   upgrade (the binary that is installed now takes over)\n"
    "  --origin URL     http://host:port or files:/directory; several are used in turn\n"
    "  --listen ADDR    \":8080\", \"127.0.0.1:8080\", \"[::1]:8080\"; may be given several times\n"
    "  --demo DIR       directory of the demo site\n"
    "  --pid-file PATH  default: /run/outrigger/outrigger.pid, where that can be written\n"
    "  -V               version and build\n"
    "  -h, --help       this text\n"
    "\n"
    "Signals: TERM, INT stop; QUIT drain; HUP reload; USR1 reopen log files; USR2 another binary takes over.\n";

enum { OPTION_ORIGIN = 256, OPTION_LISTEN, OPTION_DEMO, OPTION_PID_FILE, OPTION_CHECK_STORE };

static const struct option long_options[] = {
    {"origin", required_argument, NULL, OPTION_ORIGIN},
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"demo", required_argument, NULL, OPTION_DEMO},
    {"pid-file", required_argument, NULL, OPTION_PID_FILE},
    {"check-store", required_argument, NULL, OPTION_CHECK_STORE},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

static const struct {
    const char *word;
    int signal;
} signal_words[] = {{"reload", SIGHUP}, {"stop", SIGTERM}, {"quit", SIGQUIT}, {"reopen", SIGUSR1}, {"upgrade", SIGUSR2}};

static bool __attribute__((format(printf, 2, 3))) wrong(char *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, OPTIONS_ERROR_BYTES, format, arguments);
    va_end(arguments);
    return false;
}

static bool set_action(struct options *options, enum action action, char *error)
{
    if (options->action != ACTION_RUN && options->action != action)
        return wrong(error, "only one of -t, -T, -V, -h, -s and --check-store can be given");
    options->action = action;
    return true;
}

static bool set_signal(struct options *options, const char *word, char *error)
{
    for (size_t i = 0; i < sizeof signal_words / sizeof *signal_words; i++) {
        if (strcmp(word, signal_words[i].word) == 0) {
            options->signal = signal_words[i].signal;
            return set_action(options, ACTION_SIGNAL, error);
        }
    }
    return wrong(error, "-s %s: expected reload, stop, quit, reopen or upgrade", word);
}

static bool append(const char **list, unsigned *count, const char *value, const char *name, char *error)
{
    if (*count == OPTIONS_LIST_MAX)
        return wrong(error, "%s given more than %d times: use a configuration file", name, OPTIONS_LIST_MAX);
    list[(*count)++] = value;
    return true;
}

static bool take(struct options *options, int option, const char *value, char *error)
{
    switch (option) {
    case 'c':
        options->file = value;
        return true;
    case 't':
        return set_action(options, ACTION_TEST, error);
    case 'T':
        return set_action(options, ACTION_PRINT, error);
    case 'V':
        return set_action(options, ACTION_VERSION, error);
    case 'h':
        return set_action(options, ACTION_HELP, error);
    case 's':
        return set_signal(options, value, error);
    case OPTION_ORIGIN:
        return append(options->origins, &options->origin_count, value, "--origin", error);
    case OPTION_LISTEN:
        return append(options->listens, &options->listen_count, value, "--listen", error);
    case OPTION_CHECK_STORE:
        options->store = value;
        return set_action(options, ACTION_CHECK_STORE, error);
    case OPTION_DEMO:
        options->demo = value;
        return true;
    default:
        options->pid_file = value;
        return true;
    }
}

/* getopt's own words, for what it returns instead of an option. */
static bool refuse(int why, char **argv, char *error)
{
    const char *given = argv[optind - 1];
    bool is_long = given[0] == '-' && given[1] == '-';
    if (why == ':')
        return is_long ? wrong(error, "%s needs a value", given) : wrong(error, "-%c needs a value", optopt);
    return is_long ? wrong(error, "unknown option %s", given) : wrong(error, "unknown option -%c", optopt);
}

static bool check_together(const struct options *options, char *error)
{
    if (options->file && (options->origin_count || options->listen_count))
        return wrong(error, "--origin and --listen are for running without a file: with -c they belong into %s", options->file);
    if (options->demo && (options->file || options->origin_count))
        return wrong(error, "--demo is for running without -c and --origin");
    return true;
}

bool options_parse(struct options *options, int argc, char **argv, char *error)
{
    *options = (struct options){0};
    opterr = 0;
    optind = 0; /* glibc: forget an earlier parse */
    int option;
    while ((option = getopt_long(argc, argv, ":c:tTVhs:", long_options, NULL)) != -1) {
        if (option == '?' || option == ':')
            return refuse(option, argv, error);
        if (!take(options, option, optarg, error))
            return false;
    }
    if (optind < argc)
        return wrong(error, "unexpected argument \"%s\"", argv[optind]);
    return check_together(options, error);
}
