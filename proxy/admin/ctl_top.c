/* DESIGN. /stats is asked again and again, and what it counts is shown as rates between two looks: nothing is asked of the server that it would not count
 * anyway. A screen is built in memory and written at once, over the one before, so that it does not flicker over a slow line. Sequences that every terminal
 * knows (ECMA-48): no library. The terminal is as it was when the program ends, by a signal too. */
#include "proxy/admin/ctl_top.h"
#include "proxy/admin/ctl_http.h"
#include "proxy/admin/ctl_text.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { REASONS_MAX = 128, ROWS_WITHOUT_TERMINAL = 40, COLUMNS_WITHOUT_TERMINAL = 100, LINE_MAX_BYTES = 512 };

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

/* ---- figures ------------------------------------------------------------------------------------------------------------------------------ */

static double at(const json_t *stats, const char *section, const char *key)
{
    return json_number_value(json_object_get(json_object_get(stats, section), key));
}

/* What was counted since, each second; a server that was started anew begins at 0. */
static double rate(double now, double before, bool has_before, double seconds)
{
    double more = has_before && now >= before ? now - before : has_before ? now : 0;
    return seconds > 0 ? more / seconds : 0;
}

static double rate_of(const json_t *now, const json_t *before, double seconds, const char *section, const char *key)
{
    return rate(at(now, section, key), before ? at(before, section, key) : 0, before != NULL, seconds);
}

/* Of what was asked for since the look before, the part of these results; < 0: nothing was. */
static double hit_ratio(const json_t *now, const json_t *before)
{
    static const char *const hits[] = {"HIT", "STALE", "UPDATING", "REVALIDATED"};
    const json_t *new_results = json_object_get(json_object_get(now, "requests"), "by_result");
    const json_t *old_results = before ? json_object_get(json_object_get(before, "requests"), "by_result") : NULL;
    double all = 0, good = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)new_results, key, value)
    {
        double more = json_number_value(value) - json_number_value(json_object_get(old_results, key));
        if (strcmp(key, "NONE") == 0 || more < 0)
            continue;
        all += more;
        for (size_t i = 0; i < sizeof hits / sizeof *hits; i++)
            good += strcmp(key, hits[i]) == 0 ? more : 0;
    }
    return all > 0 ? good / all : -1;
}

/* ---- the table of results, statuses and reasons ------------------------------------------------------------------------------------------- */

struct row {
    const char *kind, *name;
    double count, rate;
};

static enum top_order sorted_by; /* qsort has no place for it */

static int compare(const void *a, const void *b)
{
    const struct row *left = a, *right = b;
    double x = sorted_by == TOP_BY_RATE ? left->rate : left->count, y = sorted_by == TOP_BY_RATE ? right->rate : right->count;
    if (sorted_by != TOP_BY_NAME && x != y)
        return x > y ? -1 : 1;
    int kinds = strcmp(left->kind, right->kind);
    return kinds ? kinds : strcmp(left->name, right->name);
}

static unsigned collect(struct row *rows, unsigned count, const char *kind, const json_t *now, const json_t *before, double seconds)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)now, key, value)
    {
        double total = json_number_value(value);
        if (count < REASONS_MAX && total > 0)
            rows[count++] =
                (struct row){kind, key, total, rate(total, json_number_value(json_object_get(before, key)), before != NULL, seconds)};
    }
    return count;
}

static unsigned collect_all(struct row *rows, const json_t *now, const json_t *before, double seconds)
{
    const json_t *requests = json_object_get(now, "requests"), *old = json_object_get(before, "requests");
    unsigned count = collect(rows, 0, "result", json_object_get(requests, "by_result"), json_object_get(old, "by_result"), seconds);
    count = collect(rows, count, "status", json_object_get(requests, "by_status"), json_object_get(old, "by_status"), seconds);
    return collect(rows, count, "reason", json_object_get(now, "details"), json_object_get(before, "details"), seconds);
}

/* ---- a screen ----------------------------------------------------------------------------------------------------------------------------- */

struct screen {
    FILE *out;
    unsigned rows, columns, used;
};

static void __attribute__((format(printf, 2, 3))) put_line(struct screen *screen, const char *format, ...)
{
    char line[LINE_MAX_BYTES];
    va_list arguments;
    if (screen->used == screen->rows)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fprintf(screen->out, "%.*s\n", (int)screen->columns, line);
    screen->used++;
}

static void put_head(struct screen *screen, const json_t *now, const json_t *before, double seconds)
{
    char sent[32], fetched[32], used[32], limit[32];
    const json_t *latency = json_object_get(now, "latency");
    double ratio = hit_ratio(now, before);
    char hits[16] = "-";
    if (ratio >= 0)
        snprintf(hits, sizeof hits, "%.1f %%", ratio * 100);
    ctl_format_bytes(sent, sizeof sent, rate_of(now, before, seconds, "counters", "client_sent_bytes_total"));
    ctl_format_bytes(fetched, sizeof fetched, rate_of(now, before, seconds, "counters", "origin_received_bytes_total"));
    ctl_format_bytes(used, sizeof used, at(now, "gauges", "cache_memory_bytes{kind=\"allocated\"}"));
    ctl_format_bytes(limit, sizeof limit, at(now, "gauges", "cache_memory_bytes{kind=\"limit\"}"));
    put_line(screen, "requests %10.0f/s   hits %s   to clients %s/s   from origins %s/s (%.0f requests/s)",
             rate_of(now, before, seconds, "requests", "total"), hits, sent, fetched,
             rate_of(now, before, seconds, "counters", "origin_requests_total"));
    put_line(screen, "clients  %10.0f     memory %s of %s in %.0f responses   evicted %.0f/s", at(now, "gauges", "client_connections"),
             used, limit, at(now, "gauges", "cache_objects"), rate_of(now, before, seconds, "gauges", "cache_evictions_total"));
    put_line(screen, "latency since the start, median / 99 %%: hit %.2f / %.2f ms   miss %.2f / %.2f ms",
             at(latency, "hit", "p50_seconds") * 1e3, at(latency, "hit", "p99_seconds") * 1e3, at(latency, "miss", "p50_seconds") * 1e3,
             at(latency, "miss", "p99_seconds") * 1e3);
}

void ctl_top_print(const json_t *now, const json_t *before, double seconds, enum top_order order, unsigned rows, unsigned columns,
                   FILE *out)
{
    static const char *const orders[] = {[TOP_BY_RATE] = "rate", [TOP_BY_COUNT] = "count", [TOP_BY_NAME] = "name"};
    struct screen screen = {.out = out, .rows = rows, .columns = columns};
    struct row table[REASONS_MAX];
    unsigned count = collect_all(table, now, before, seconds);
    sorted_by = order;
    qsort(table, count, sizeof *table, compare);
    put_head(&screen, now, before, seconds);
    put_line(&screen, "%s", "");
    put_line(&screen, "%-8s %-28s %12s %14s   by %s; s: sort, q: quit", "", "", "a second", "in all", orders[order]);
    for (unsigned i = 0; i < count; i++)
        put_line(&screen, "%-8s %-28s %12.1f %14.0f", table[i].kind, table[i].name, table[i].rate, table[i].count);
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

static json_t *look(const char *socket, bool as_json, char *error, size_t size)
{
    struct ctl_answer answer;
    if (!ctl_ask(socket, "GET", "/stats", &answer, error, size))
        return NULL;
    json_t *stats = answer.status == 200 ? json_loads(answer.body, 0, NULL) : NULL;
    if (!stats)
        snprintf(error, size, "%s: the answer is not outrigger's (status %u)", socket, answer.status);
    else if (as_json)
        printf("%s%s", answer.body, strchr(answer.body, '\n') ? "" : "\n");
    free(answer.body);
    return stats;
}

static void show(const json_t *now, const json_t *before, double seconds, enum top_order order, bool has_terminal)
{
    char *text = NULL;
    size_t length = 0;
    unsigned rows, columns;
    FILE *out = open_memstream(&text, &length);
    if (!out)
        abort();
    measure(&rows, &columns);
    ctl_top_print(now, before, seconds, order, rows, columns, out);
    fclose(out);
    fputs(has_terminal ? TO_TOP : "", stdout);
    for (char *line = text, *rest; *line; line = rest + 1) {
        rest = strchr(line, '\n');
        printf("%.*s%s\n", (int)(rest - line), line, has_terminal ? CLEAR_LINE : "");
    }
    fputs(has_terminal ? CLEAR_BELOW : "\n", stdout);
    fflush(stdout);
    free(text);
}

int ctl_top(const char *socket, bool as_json, const struct ctl_top_options *options)
{
    char error[512] = "";
    bool has_terminal = !as_json && take_terminal();
    enum top_order order = TOP_BY_RATE;
    json_t *before = NULL, *now;
    bool has_failed = false;
    double then = 0;
    for (unsigned looks = 0; !is_ending && (options->count == 0 || looks < options->count); looks++) {
        now = look(socket, as_json, error, sizeof error);
        double moment = clock_seconds();
        has_failed = now == NULL;
        if (has_failed)
            break;
        if (!as_json)
            show(now, before, moment - then, order, has_terminal);
        fflush(stdout);
        json_decref(before);
        before = now;
        then = moment;
        if (looks + 1 == options->count)
            break;
        int key = wait_for_key(options->interval_s, has_terminal);
        if (key == 'q')
            break;
        if (key == 's')
            order = (order + 1) % TOP_ORDERS;
    }
    json_decref(before);
    if (has_terminal)
        give_terminal_back();
    if (has_failed)
        fprintf(stderr, "outriggerctl: %s\n", error);
    return has_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
