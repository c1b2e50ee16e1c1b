#include "proxy/config/yaml.h"

#include <libfyaml.h>

struct builder {
    struct report *report;
    struct yaml_node *root;
    struct yaml_node *open[YAML_DEPTH_MAX]; /* collections not yet closed, outermost first */
    struct yaml_node *keys[YAML_DEPTH_MAX]; /* of an open mapping: the key that waits for its value */
    unsigned depth;
    unsigned documents;
    size_t at; /* where the parser was last known to be */
};

static const char alias_refused[] = "aliases (*name) are not supported";
static const char star_hint[] = "a host pattern that begins with * needs quotes: \"*.example.org\"";

const char *yaml_kind_text(enum yaml_kind kind)
{
    switch (kind) {
    case YAML_NULL:
        return "nothing";
    case YAML_SCALAR:
        return "a single value";
    case YAML_SEQUENCE:
        return "a list";
    case YAML_MAPPING:
        return "a mapping";
    }
    return "";
}

/* Length of the character at the front of `text`; 0 when it is not UTF-8 (overlong forms, surrogates and what is beyond U+10FFFF included). */
static size_t character_length(struct bytes text)
{
    unsigned char c = (unsigned char)text.at[0], next = text.len > 1 ? (unsigned char)text.at[1] : 0;
    size_t length = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;

    if (length > text.len || (c == 0xe0 && next < 0xa0) || (c == 0xed && next > 0x9f) || (c == 0xf0 && next < 0x90) ||
        (c == 0xf4 && next > 0x8f))
        return 0;
    for (size_t i = 1; i < length; i++) {
        if (((unsigned char)text.at[i] & 0xc0) != 0x80)
            return 0;
    }
    return length;
}

/* The control characters of ASCII and, two bytes each, of Latin-1. */
static bool is_control(struct bytes text)
{
    unsigned char c = (unsigned char)text.at[0];

    return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f ||
           (c == 0xc2 && text.len > 1 && (unsigned char)text.at[1] < 0xa0);
}

/* Offset of the first byte that no configuration has, or text.len. */
static size_t find_unclean(struct bytes text)
{
    size_t at = 0;

    while (at < text.len) {
        struct bytes rest = bytes_from(text.at + at, text.len - at);
        size_t length = character_length(rest);
        if (length == 0 || is_control(rest))
            return at;
        at += length;
    }
    return at;
}

/* libfyaml 0.7 ends the stream silently at a NUL or at broken UTF-8: half a file would pass for a whole one. */
static bool text_is_clean(struct report *report)
{
    size_t at = find_unclean(report->text);
    unsigned char c = at < report->text.len ? (unsigned char)report->text.at[at] : 0;

    if (at == report->text.len)
        return true;
    if (character_length(bytes_from(report->text.at + at, report->text.len - at)) == 0) {
        report_error(report, (struct place){at, 1}, "not UTF-8: byte 0x%02x", c);
        report_hint(report, "save the file as UTF-8");
    } else {
        report_error(report, (struct place){at, 1}, c == 0 ? "NUL byte" : "control byte 0x%02x", c);
        report_hint(report, "a configuration is plain text, in UTF-8");
    }
    return false;
}

/* libfyaml 0.7 takes time squared for empty lines in a block scalar: a megabyte of them would take a quarter of an hour. */
static bool has_short_gaps(struct report *report)
{
    size_t gap = 0;

    for (size_t i = 0; i < report->text.len; i++) {
        char c = report->text.at[i];
        gap = c == '\n' ? gap + 1 : c == ' ' || c == '\t' || c == '\r' ? gap : 0;
        if (gap > YAML_EMPTY_LINES_MAX) {
            report_error(report, (struct place){i, 0}, "more than %d empty lines in a row", YAML_EMPTY_LINES_MAX);
            return false;
        }
    }
    return true;
}

static bool scalar_is_null(struct bytes text, enum fy_scalar_style style)
{
    return style == FYSS_PLAIN && (text.len == 0 || bytes_equal(text, BYTES("~")) || bytes_equal(text, BYTES("null")) ||
                                   bytes_equal(text, BYTES("Null")) || bytes_equal(text, BYTES("NULL")));
}

static bool refuse(struct builder *builder, struct place place, const char *what, const char *hint)
{
    report_error(builder->report, place, "%s", what);
    report_hint(builder->report, "%s", hint);
    return false;
}

/* libfyaml 0.7 loses memory when it unescapes more than four quotes in a row in a single-quoted scalar. */
static bool has_run_of_quotes(struct bytes source)
{
    size_t run = 0;

    for (size_t i = 1; i + 1 < source.len && run < 8; i++)
        run = source.at[i] == '\'' ? run + 1 : 0;
    return run == 8;
}

static struct yaml_node *node_new(struct builder *builder, enum yaml_kind kind, struct place place)
{
    struct yaml_node *node = arena_zalloc(builder->report->arena, sizeof(*node));

    node->kind = kind;
    node->place = place;
    return node;
}

static struct yaml_node *scalar_new(struct builder *builder, struct fy_event *event)
{
    struct fy_token *token = event->scalar.value;
    const struct fy_mark *start = token ? fy_token_start_mark(token) : NULL, *end = token ? fy_token_end_mark(token) : NULL;
    struct yaml_node *key = builder->depth > 0 ? builder->keys[builder->depth - 1] : NULL;

    if (!start || !end) /* "key:" with nothing behind it: it stands where its key does */
        return node_new(builder, YAML_NULL, key ? key->place : (struct place){builder->at, 0});

    enum fy_scalar_style style = fy_scalar_token_get_style(token);
    bool quoted = style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;
    /* A quoted scalar's marks are inside its quotes. */
    size_t from = start->input_pos - (quoted && start->input_pos > 0), to = end->input_pos + quoted, length = 0;

    struct yaml_node *node = node_new(builder, YAML_SCALAR, (struct place){from, to > from ? to - from : 0});
    if (style == FYSS_SINGLE_QUOTED && has_run_of_quotes(bytes_from(builder->report->text.at + from, to - from))) {
        refuse(builder, node->place, "so many quotes in a row are not supported", "write the value in double quotes");
        return node;
    }
    const char *text = fy_token_get_text(token, &length);
    node->text = arena_copy(builder->report->arena, bytes_from(text ? text : "", text ? length : 0));
    if (scalar_is_null(node->text, style))
        node->kind = YAML_NULL;
    /* "\0" and the like, written as an escape in double quotes. */
    if (find_unclean(node->text) < node->text.len)
        report_error(builder->report, node->place, "this text holds a control character");
    return node;
}

/* Hangs the node under the innermost open collection. */
static bool node_attach(struct builder *builder, struct yaml_node *node)
{
    if (builder->depth == 0) {
        builder->root = node;
        return true;
    }
    struct yaml_node *parent = builder->open[builder->depth - 1];
    struct yaml_node **key = &builder->keys[builder->depth - 1];
    if (parent->kind == YAML_MAPPING && !*key) {
        if (node->kind != YAML_SCALAR)
            return refuse(builder, node->place, "a key must be a word", "write \"key: value\"");
        if (bytes_equal(node->text, BYTES("<<")))
            return refuse(builder, node->place, "merge keys (<<) are not supported", "write the settings out");
        *key = node;
        return true;
    }
    if (parent->kind == YAML_MAPPING) {
        node->key = *key;
        *key = NULL;
    }
    if (parent->last)
        parent->last->next = node;
    else
        parent->first = node;
    parent->last = node;
    parent->count++;
    return true;
}

static bool collection_open(struct builder *builder, enum yaml_kind kind)
{
    struct yaml_node *node = node_new(builder, kind, (struct place){builder->at, 1});

    if (!node_attach(builder, node))
        return false;
    if (builder->depth == YAML_DEPTH_MAX)
        return refuse(builder, node->place, "nested too deep", "the settings need four levels");
    builder->open[builder->depth] = node;
    builder->keys[builder->depth] = NULL;
    builder->depth++;
    return true;
}

static bool event_has_anchor_or_tag(struct builder *builder, struct fy_event *event)
{
    struct fy_token *anchor = fy_event_get_anchor_token(event), *tag = fy_event_get_tag_token(event);
    const struct fy_mark *mark = anchor ? fy_token_start_mark(anchor) : tag ? fy_token_start_mark(tag) : NULL;

    if (!anchor && !tag)
        return false;
    size_t at = mark ? mark->input_pos : builder->at;
    if (anchor)
        refuse(builder, (struct place){at > 0 ? at - 1 : 0, 1}, "anchors (&name) are not supported",
               "write the value out where it is needed");
    else
        refuse(builder, (struct place){at, 1}, "tags (!name) are not supported", "write the value without it");
    return true;
}

/* False when the parser should stop: an error was reported. */
static bool event_take(struct builder *builder, struct fy_event *event)
{
    const struct fy_mark *mark = fy_event_start_mark(event);

    if (mark)
        builder->at = mark->input_pos;
    switch (event->type) {
    case FYET_DOCUMENT_START:
        if (builder->documents++ > 0)
            return refuse(builder, (struct place){builder->at, 3}, "a second document",
                          "a configuration is one document: remove the \"---\"");
        return true;
    case FYET_MAPPING_START:
    case FYET_SEQUENCE_START:
        return !event_has_anchor_or_tag(builder, event) &&
               collection_open(builder, event->type == FYET_MAPPING_START ? YAML_MAPPING : YAML_SEQUENCE);
    case FYET_MAPPING_END:
    case FYET_SEQUENCE_END:
        builder->depth--;
        return true;
    case FYET_SCALAR:
        return !event_has_anchor_or_tag(builder, event) && node_attach(builder, scalar_new(builder, event));
    case FYET_ALIAS:
        return refuse(builder, (struct place){builder->at > 0 ? builder->at - 1 : 0, 1}, alias_refused, star_hint);
    default:
        return true;
    }
}

/* libfyaml counts lines and characters of a syntax error from 1. */
static size_t offset_of(struct bytes text, int line, int column)
{
    size_t at = 0;

    for (; line > 1 && at < text.len; at++)
        line -= text.at[at] == '\n';
    for (; column > 1 && at < text.len && text.at[at] != '\n'; column--) {
        do
            at++;
        while (at < text.len && ((unsigned char)text.at[at] & 0xc0) == 0x80);
    }
    return at;
}

static void report_syntax_error(struct builder *builder, const struct fy_diag_error *error)
{
    struct report *report = builder->report;
    const char *message = error->msg ? error->msg : "not valid YAML";
    size_t at = offset_of(report->text, error->line, error->column);

    if (strstr(message, "alias")) { /* a lone *: its place is told one character late */
        refuse(builder, (struct place){at > 0 ? at - 1 : 0, 1}, alias_refused, star_hint);
        return;
    }
    /* At the end of the text there is nothing to see: what was left open says more. */
    if (at >= report->text.len && builder->depth > 0)
        at = builder->open[builder->depth - 1]->place.offset;
    report_error(report, (struct place){at, 0}, "%s", message);
    if (strstr(message, "tab character"))
        report_hint(report, "indent with spaces");
}

static void report_syntax_errors(struct builder *builder, struct fy_diag *diag)
{
    void *iterator = NULL;
    struct fy_diag_error *error = fy_diag_errors_iterate(diag, &iterator);

    if (!error)
        report_error(builder->report, (struct place){builder->at, 0}, "not valid YAML");
    for (; error; error = fy_diag_errors_iterate(diag, &iterator))
        report_syntax_error(builder, error);
}

static void discard_output(struct fy_diag *diag, void *user, const char *text, size_t length)
{
    (void)diag, (void)user, (void)text, (void)length;
}

static void parser_run(struct builder *builder, struct fy_parser *parser, struct fy_diag *diag)
{
    struct bytes text = builder->report->text;
    bool going = fy_parser_set_string(parser, text.at, text.len) == 0;

    while (going) {
        struct fy_event *event = fy_parser_parse(parser);
        if (!event)
            break;
        going = event_take(builder, event);
        fy_parser_event_free(parser, event);
    }
    if (builder->report->errors == 0 && (!going || fy_parser_get_stream_error(parser)))
        report_syntax_errors(builder, diag);
}

struct yaml_node *yaml_parse(struct report *report)
{
    struct builder builder = {.report = report};
    struct fy_diag_cfg diag_cfg;

    if (!text_is_clean(report) || !has_short_gaps(report))
        return NULL;
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = NULL;
    diag_cfg.output_fn = discard_output;
    diag_cfg.colorize = false;
    struct fy_diag *diag = fy_diag_create(&diag_cfg);
    fy_diag_set_collect_errors(diag, true);
    struct fy_parse_cfg cfg = {.flags = FYPCF_QUIET | FYPCF_DEFAULT_VERSION_1_2 | FYPCF_JSON_NONE, .diag = diag};
    struct fy_parser *parser = fy_parser_create(&cfg);
    if (report->text.len > 0)
        parser_run(&builder, parser, diag);
    fy_parser_destroy(parser);
    fy_diag_destroy(diag);
    if (report->errors > 0)
        return NULL;
    return builder.root ? builder.root : node_new(&builder, YAML_NULL, (struct place){0, 0});
}
