/* DESIGN. /stats is asked again and again, and what it counts is shown as rates between two looks: nothing is asked of the server that it would not count
 * anyway. A screen is built in memory and written at once, over the one before, so that it does not flicker over a slow line. Sequences that every terminal
 * knows (ECMA-48): no library. The terminal is as it was when the program ends, by a signal too. */
#include "proxy/admin/ctl_top.h"
#include "proxy/admin/ctl_http.h"
#include "proxy/admin/ctl_top_screen.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { ROWS_WITHOUT_TERMINAL = 40, COLUMNS_WITHOUT_TERMINAL = 100 };

#define OTHER_SCREEN "\033[?1049h\033[?25l"
#define FIRST_SCREEN "\033[?25h\033[?1049l"
#define TO_TOP       "\033[H"
#define CLEAR_LINE   "\033[K"
#define CLEAR_BELOW  "\033[J"

bool ctl_top_option(struct ctl_top_options *options, int option, const char *value)
{
    char *end;
    double number = strtod(value, &end);
    options->has_options = true;
    if (*value == '\0' || *end != '\0' || !(number >= 0.05) || number > 1e6)
        return false;
    if (option == 'i')
        options->interval_s = number;
    else
        options->count = (unsigned)number;
    return option == 'i' || options->count > 0;
}

/* ---- the terminal ------------------------------------------------------------------------------------------------------------------------- */

static struct termios before_us;
static volatile sig_atomic_t is_ending;

static void end(int number)
{
    (void)number;
    is_ending = 1;
}

static bool take_terminal(void)
{
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &before_us) < 0)
        return false;
    struct termios ours = before_us;
    ours.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &ours);
    struct sigaction action = {.sa_handler = end};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    fputs(OTHER_SCREEN, stdout);
    fflush(stdout);
    return true;
}

static void give_terminal_back(void)
{
    fputs(FIRST_SCREEN, stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &before_us);
}

static void measure(unsigned *rows, unsigned *columns)
{
    struct winsize size = {0};
    bool is_known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0;
    *rows = is_known ? (unsigned)size.ws_row - 1 : ROWS_WITHOUT_TERMINAL;
    *columns = is_known ? size.ws_col : COLUMNS_WITHOUT_TERMINAL;
}

/* Waits for the rest of the interval, or a key, or the end. */
static int wait_for_key(double seconds, bool has_terminal)
{
    struct pollfd keys = {.fd = has_terminal ? STDIN_FILENO : -1, .events = POLLIN};
    char key = 0;
    if (poll(&keys, 1, (int)(seconds * 1000)) > 0 && read(STDIN_FILENO, &key, 1) != 1)
        return 'q';
    return key;
}

static double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- looking ------------------------------------------------------------------------------------------------------------------------------ */

static json_t *ask(const char *socket, const char *target, bool as_json, char *error, size_t size)
{
    struct ctl_answer answer;
    if (!ctl_ask(socket, "GET", target, &answer, error, size))
        return NULL;
    json_t *object = answer.status == 200 ? json_loads(answer.body, 0, NULL) : NULL;
    if (!object)
        ctl_describe_refusal(&answer, error, size);
    else if (as_json)
        printf("%s%s", answer.body, strchr(answer.body, '\n') ? "" : "\n");
    free(answer.body);
    return object;
}

static void show(struct ctl_top_look *look)
{
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        abort();
    measure(&look->rows, &look->columns);
    ctl_top_print(look, out);
    fclose(out);
    fputs(look->is_terminal ? TO_TOP : "", stdout);
    for (char *line = text, *rest; *line; line = rest + 1) {
        rest = strchr(line, '\n');
        printf("%.*s%s\n", (int)(rest - line), line, look->is_terminal ? CLEAR_LINE : "");
    }
    fputs(look->is_terminal ? CLEAR_BELOW : "\n", stdout);
    fflush(stdout);
    free(text);
}

/* False: the end. */
static bool take_key(struct ctl_top_look *look, int key)
{
    if (key >= '1' && key < '1' + TOP_VIEWS)
        look->view = (enum top_view)(key - '1');
    else if (key == '\t')
        look->view = (look->view + 1) % TOP_VIEWS;
    else if (key == 's' && ctl_top_has_lists(look->view))
        look->measure = (look->measure + 1) % TOP_MEASURES;
    else if (key == 's')
        look->order = (look->order + 1) % TOP_ORDERS;
    return key != 'q';
}

/* Asks, shows. False: `error` says why not. */
static bool look_once(const char *socket, bool as_json, struct ctl_top_look *look, double *then, char *error, size_t size)
{
    json_t *now = ask(socket, "/stats", as_json, error, size);
    json_t *lists = now && ctl_top_has_lists(look->view) ? ask(socket, "/top", false, error, size) : NULL;
    bool is_good = now && (lists || !ctl_top_has_lists(look->view));
    double moment = clock_seconds();
    look->now = now;
    look->lists = lists;
    look->seconds = moment - *then;
    if (is_good && !as_json)
        show(look);
    fflush(stdout);
    json_decref(lists);
    json_decref((json_t *)look->before);
    look->before = now;
    *then = moment;
    return is_good;
}

int ctl_top(const char *socket, bool as_json, const struct ctl_top_options *options)
{
    char error[512] = "";
    struct ctl_top_look look = {.is_terminal = !as_json && take_terminal()};
    bool is_good = true, goes_on = true;
    double then = 0;
    for (unsigned looks = 1; is_good && goes_on && !is_ending; looks++) {
        is_good = look_once(socket, as_json, &look, &then, error, sizeof error);
        goes_on = is_good && looks != options->count && take_key(&look, wait_for_key(options->interval_s, look.is_terminal));
    }
    json_decref((json_t *)look.before);
    if (look.is_terminal)
        give_terminal_back();
    if (!is_good)
        fprintf(stderr, "outriggerctl: %s\n", error);
    return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}
