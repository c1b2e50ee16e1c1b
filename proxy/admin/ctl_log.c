#include "proxy/admin/ctl_log.h"
#include "proxy/admin/ctl_http.h"
#include "proxy/admin/ctl_text.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX_BYTES = 8192, REASON_COLUMNS = 20 };

static const char *text_of(const json_t *line, const char *key)
{
    const char *text = json_string_value(json_object_get(line, key));
    return text ? text : "";
}

/* "2026-01-31T12:00:00Z" → "12:00:00" */
static const char *clock_of(const char *time)
{
    const char *clock = strchr(time, 'T');
    return clock ? clock + 1 : time;
}

static void format_duration(char *out, size_t size, double seconds)
{
    if (seconds < 10)
        snprintf(out, size, "%.2f ms", seconds * 1e3);
    else
        snprintf(out, size, "%.1f s", seconds);
}

/* A target of another form than "/path" stands for itself. */
static void put_url(const json_t *line, FILE *out)
{
    char host[TEXT_MAX_BYTES], target[TEXT_MAX_BYTES];
    ctl_safe_text(host, sizeof host, text_of(line, "host"));
    ctl_safe_text(target, sizeof target, text_of(line, "target"));
    if (target[0] == '/' && host[0])
        fprintf(out, "%s://%s", *text_of(line, "scheme") ? text_of(line, "scheme") : "http", host);
    fputs(target[0] ? target : "-", out);
}

void ctl_log_print(const json_t *line, FILE *out)
{
    char duration[32], bytes[32], reason[TEXT_MAX_BYTES], method[TEXT_MAX_BYTES], client[TEXT_MAX_BYTES];
    const json_t *left_out = json_object_get(line, "left_out");
    if (left_out) {
        fprintf(out, "         ... and %" JSON_INTEGER_FORMAT " more, left out\n", json_integer_value(left_out));
        return;
    }
    format_duration(duration, sizeof duration, json_number_value(json_object_get(line, "duration")));
    ctl_format_bytes(bytes, sizeof bytes, json_number_value(json_object_get(line, "bytes")));
    ctl_safe_text(reason, sizeof reason, *text_of(line, "error") ? text_of(line, "error") : text_of(line, "detail"));
    ctl_safe_text(method, sizeof method, *text_of(line, "method") ? text_of(line, "method") : "-");
    ctl_safe_text(client, sizeof client, text_of(line, "client"));
    fprintf(out, "%.8s %3" JSON_INTEGER_FORMAT " %-11s %-*s %11s %9s  %s ", clock_of(text_of(line, "time")),
            json_integer_value(json_object_get(line, "status")), text_of(line, "cache"), REASON_COLUMNS, reason[0] ? reason : "-", duration,
            bytes, method);
    put_url(line, out);
    fprintf(out, "  %s\n", client);
}

static bool show(void *context, char *line)
{
    const bool *as_json = context;
    if (line[0] == '\0') { /* nothing ended for a while */
        fflush(stdout);
        return true;
    }
    json_t *object = *as_json ? NULL : json_loads(line, 0, NULL);
    if (*as_json)
        puts(line);
    else
        ctl_log_print(object, stdout);
    json_decref(object);
    return !ferror(stdout);
}

int ctl_log(const char *socket, bool as_json, const char *target)
{
    char error[512];
    struct ctl_answer answer;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!ctl_follow(socket, target, show, &as_json, &answer, error, sizeof error)) {
        fprintf(stderr, "outriggerctl: %s\n", error);
        return EXIT_FAILURE;
    }
    if (answer.body == NULL) {
        fputs("outriggerctl: outrigger has ended\n", stderr);
        return EXIT_SUCCESS;
    }
    ctl_describe_refusal(&answer, error, sizeof error);
    fprintf(stderr, "outriggerctl: %s\n", error);
    free(answer.body);
    return EXIT_FAILURE;
}
