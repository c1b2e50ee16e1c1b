#include "proxy/config/report.h"

#include <stdarg.h>
#include <stdlib.h>

struct finding {
    struct place place;
    unsigned order; /* qsort is not stable */
    bool is_warning;
    struct bytes message, hint;
};

/* Source lines longer than this are shown as a window around the caret. */
enum { SOURCE_WIDTH = 120, SOURCE_BEFORE = 60 };

void report_init(struct report *report, struct arena *arena, struct bytes name, struct bytes text)
{
    *report = (struct report){.name = name, .text = text, .arena = arena};
}

bool report_is_full(const struct report *report)
{
    return report->count == REPORT_FINDINGS_MAX;
}

static struct bytes message_format(struct arena *arena, const char *format, va_list arguments)
{
    char buffer[1024];
    int length = vsnprintf(buffer, sizeof(buffer), format, arguments);

    return arena_copy(arena, bytes_from(buffer, length < (int)sizeof(buffer) ? (size_t)length : sizeof(buffer) - 1));
}

static void report_add(struct report *report, struct place place, bool is_warning, struct bytes message)
{
    if (!report->findings)
        report->findings = arena_alloc(report->arena, REPORT_FINDINGS_MAX * sizeof(*report->findings));
    report->latest = &report->findings[report->count];
    *report->latest =
        (struct finding){.place = place, .order = report->count, .is_warning = is_warning, .message = message, .hint = BYTES_NONE};
    report->count++;
}

void report_error(struct report *report, struct place place, const char *format, ...)
{
    va_list arguments;

    report->errors++;
    report->latest = NULL;
    if (report_is_full(report)) {
        report->dropped++;
        return;
    }
    va_start(arguments, format);
    report_add(report, place, false, message_format(report->arena, format, arguments));
    va_end(arguments);
}

static struct finding *find_same(const struct report *report, struct place place, struct bytes message)
{
    for (unsigned i = 0; i < report->count; i++)
        if (report->findings[i].place.offset == place.offset && bytes_equal(report->findings[i].message, message))
            return &report->findings[i];
    return NULL;
}

void report_warning(struct report *report, struct place place, const char *format, ...)
{
    va_list arguments;

    report->latest = NULL;
    if (report_is_full(report))
        return;
    va_start(arguments, format);
    struct bytes message = message_format(report->arena, format, arguments);
    va_end(arguments);
    report->latest = find_same(report, place, message);
    if (!report->latest)
        report_add(report, place, true, message);
}

void report_hint(struct report *report, const char *format, ...)
{
    va_list arguments;

    if (!report->latest)
        return;
    va_start(arguments, format);
    report->latest->hint = message_format(report->arena, format, arguments);
    va_end(arguments);
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

struct bytes report_shown(struct bytes text)
{
    if (text.len <= SHOWN_MAX)
        return text;
    size_t len = SHOWN_MAX;
    while (len > 0 && is_continuation(text.at[len]))
        len--;
    return bytes_from(text.at, len);
}

static size_t line_start(struct bytes text, size_t offset)
{
    while (offset > 0 && text.at[offset - 1] != '\n')
        offset--;
    return offset;
}

static size_t clamp_offset(const struct report *report, struct place place)
{
    return place.offset < report->text.len ? place.offset : report->text.len;
}

unsigned report_line(const struct report *report, struct place place)
{
    size_t end = clamp_offset(report, place);
    unsigned line = 1;

    for (size_t i = 0; i < end; i++)
        line += report->text.at[i] == '\n';
    return line;
}

/* Characters, not bytes: what an editor shows. */
static unsigned count_characters(struct bytes text)
{
    unsigned count = 0;

    for (size_t i = 0; i < text.len; i++)
        count += !is_continuation(text.at[i]);
    return count;
}

/* Length of the well-formed character at the front of `text`, 0 for a byte that must not reach a terminal: control characters (the C1 ones too, which are
 * two bytes) and broken UTF-8. */
static size_t visible_length(struct bytes text)
{
    unsigned char first = (unsigned char)text.at[0];
    size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;

    if (first < 0x20 || first == 0x7f || length > text.len || (first == 0xc2 && text.len > 1 && (unsigned char)text.at[1] < 0xa0))
        return 0;
    for (size_t i = 1; i < length; i++) {
        if (!is_continuation(text.at[i]))
            return 0;
    }
    return length;
}

void report_print_visible(struct bytes text, FILE *out)
{
    for (size_t i = 0; i < text.len;) {
        size_t length = visible_length(bytes_from(text.at + i, text.len - i));
        if (text.at[i] == '\t')
            length = 1;
        if (length == 0) {
            fputc('?', out);
            i++;
        } else {
            fwrite(text.at + i, 1, length, out);
            i += length;
        }
    }
}

static void print_source(const struct report *report, struct place place, FILE *out)
{
    struct bytes text = report->text;
    size_t at = clamp_offset(report, place), start = line_start(text, at), end = at;

    while (end < text.len && text.at[end] != '\n')
        end++;
    if (end > at && text.at[end - 1] == '\r')
        end--;
    if (at - start > SOURCE_BEFORE && end - start > SOURCE_WIDTH)
        start = at - SOURCE_BEFORE;
    if (end - start > SOURCE_WIDTH)
        end = start + SOURCE_WIDTH;
    while (start < at && is_continuation(text.at[start]))
        start++;
    fputs("    ", out);
    report_print_visible(bytes_from(text.at + start, end - start), out);
    fputs("\n    ", out);
    for (size_t i = start; i < at; i++) {
        if (!is_continuation(text.at[i]))
            fputc(text.at[i] == '\t' ? '\t' : ' ', out);
    }
    fputc('^', out);
    size_t stop = at + place.length < end ? at + place.length : end;
    for (size_t i = at + 1; i < stop; i++) {
        if (!is_continuation(text.at[i]))
            fputc('~', out);
    }
    fputc('\n', out);
}

static int finding_compare(const void *a, const void *b)
{
    const struct finding *left = a, *right = b;

    if (left->place.offset != right->place.offset)
        return left->place.offset < right->place.offset ? -1 : 1;
    return left->order < right->order ? -1 : left->order > right->order;
}

void report_print(struct report *report, FILE *out)
{
    if (report->count > 1)
        qsort(report->findings, report->count, sizeof(*report->findings), finding_compare);
    for (unsigned i = 0; i < report->count; i++) {
        const struct finding *finding = &report->findings[i];
        size_t at = clamp_offset(report, finding->place), start = line_start(report->text, at);
        report_print_visible(report->name, out);
        fprintf(out, ":%u:%u: %s: ", report_line(report, finding->place),
                count_characters(bytes_from(report->text.at + start, at - start)) + 1, finding->is_warning ? "warning" : "error");
        report_print_visible(finding->message, out);
        fputc('\n', out);
        if (report->text.len > 0)
            print_source(report, finding->place, out);
        if (finding->hint.at) {
            fputs("    hint: ", out);
            report_print_visible(finding->hint, out);
            fputc('\n', out);
        }
    }
    if (report->dropped > 0) {
        report_print_visible(report->name, out);
        fprintf(out, ": and %u more error%s\n", report->dropped, report->dropped == 1 ? "" : "s");
    }
}
