#include "proxy/boot/options.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <signal.h>

enum { WORDS_MAX = 64 };

/* Parses "outrigger" and the words of `line`. */
static bool parse(struct options *options, const char *line, char *error)
{
    static char text[1024];
    static char *argv[WORDS_MAX + 1];
    int argc = 0;
    cr_assert_lt((size_t)snprintf(text, sizeof text, "outrigger %s", line), sizeof text);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    return options_parse(options, argc, argv, error);
}

static void assert_refused(const char *line, const char *expected)
{
    struct options options;
    char error[OPTIONS_ERROR_BYTES] = "";
    cr_assert_not(parse(&options, line, error), "%s", line);
    cr_assert_str_eq(error, expected);
}

Test(options, nothing_means_run_the_demo)
{
    struct options options;
    char error[OPTIONS_ERROR_BYTES];
    cr_assert(parse(&options, "", error));
    cr_assert_eq(options.action, ACTION_RUN);
    cr_assert_null(options.file);
    cr_assert_eq(options.origin_count, 0);
}

Test(options, file_and_actions)
{
    static const struct {
        const char *line;
        enum action action;
    } cases[] = {{"-c x.yaml", ACTION_RUN},    {"-t -c x.yaml", ACTION_TEST},    {"-T -cx.yaml", ACTION_PRINT},
                 {"-tc x.yaml", ACTION_TEST},  {"-c x.yaml -V", ACTION_VERSION}, {"-c x.yaml --help", ACTION_HELP},
                 {"-c x.yaml -h", ACTION_HELP}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct options options;
        char error[OPTIONS_ERROR_BYTES];
        cr_assert(parse(&options, cases[i].line, error), "%s", cases[i].line);
        cr_assert_eq(options.action, cases[i].action, "%s", cases[i].line);
        cr_assert_str_eq(options.file, "x.yaml", "%s", cases[i].line);
    }
}

Test(options, signals_by_word)
{
    static const struct {
        const char *line;
        int signal;
    } cases[] = {{"-s reload", SIGHUP}, {"-s stop", SIGTERM}, {"-s quit", SIGQUIT}, {"-sreopen", SIGUSR1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct options options;
        char error[OPTIONS_ERROR_BYTES];
        cr_assert(parse(&options, cases[i].line, error), "%s", cases[i].line);
        cr_assert_eq(options.action, ACTION_SIGNAL);
        cr_assert_eq(options.signal, cases[i].signal, "%s", cases[i].line);
    }
}

Test(options, origins_and_listeners_are_lists)
{
    struct options options;
    char error[OPTIONS_ERROR_BYTES];
    cr_assert(parse(&options, "--origin http://a --listen :80 --origin=http://b --listen=[::1]:81 --pid-file /p", error));
    cr_assert_eq(options.origin_count, 2);
    cr_assert_str_eq(options.origins[0], "http://a");
    cr_assert_str_eq(options.origins[1], "http://b");
    cr_assert_eq(options.listen_count, 2);
    cr_assert_str_eq(options.listens[1], "[::1]:81");
    cr_assert_str_eq(options.pid_file, "/p");
}

Test(options, says_what_is_wrong)
{
    assert_refused("--bogus", "unknown option --bogus");
    assert_refused("-x", "unknown option -x");
    assert_refused("-tx", "unknown option -x");
    assert_refused("-c", "-c needs a value");
    assert_refused("--origin", "--origin needs a value");
    assert_refused("-s restart", "-s restart: expected reload, stop, quit, reopen or upgrade");
    assert_refused("-t -T", "only one of -t, -T, -V, -h, -s and --check-store can be given");
    assert_refused("file.yaml", "unexpected argument \"file.yaml\"");
    assert_refused("-c f --origin http://a", "--origin and --listen are for running without a file: with -c they belong into f");
    assert_refused("-c f --demo d", "--demo is for running without -c and --origin");
}

Test(options, lists_are_bounded)
{
    char line[1024] = "", error[OPTIONS_ERROR_BYTES];
    struct options options;
    for (int i = 0; i < OPTIONS_LIST_MAX; i++)
        strcat(line, "--listen=:1 ");
    cr_assert(parse(&options, line, error));
    strcat(line, "--listen=:1");
    cr_assert_not(parse(&options, line, error));
}
