/* See h1_parse.h. */
#include "proxy/client/h1_parse.h"
#include "proxy/client/h1_target.h"

#include <assert.h>

enum {
    EMPTY_LINES_MAX = 2,            /* RFC 9112 §2.2: a robust server skips at least one before the request line */
    REQUEST_LINE_BESIDES_URL = 128, /* method, version, spaces */
    CONNECTION_OPTIONS_MAX = 64,    /* each field of the request is looked for among them; a browser sends one, or two */
};

/* RFC 9112 §2.3: HTTP-name "/" DIGIT "." DIGIT, case-sensitive. */
static enum error read_version(struct bytes version, uint8_t *minor)
{
    if (version.len != 8 || !bytes_starts_with(version, BYTES("HTTP/")) || version.at[6] != '.')
        return ERROR_BAD_REQUEST_LINE;
    unsigned major_digit = (unsigned char)version.at[5] - (unsigned)'0', minor_digit = (unsigned char)version.at[7] - (unsigned)'0';
    if (major_digit > 9 || minor_digit > 9)
        return ERROR_BAD_REQUEST_LINE;
    *minor = (uint8_t)minor_digit;
    return major_digit == 1 && minor_digit <= 1 ? ERROR_OK : ERROR_VERSION_UNSUPPORTED;
}

/* RFC 9112 §3: method SP request-target SP HTTP-version, each SP exactly one. */
static enum error scan_request_line(struct h1_scan *scan, struct bytes line, const struct config *config)
{
    size_t method_len = bytes_find(line, ' ');
    if (method_len == line.len || !bytes_is_token(bytes_from(line.at, method_len)))
        return ERROR_BAD_REQUEST_LINE;
    struct bytes rest = bytes_from(line.at + method_len + 1, line.len - method_len - 1);
    size_t target_len = bytes_find(rest, ' ');
    if (target_len == 0 || target_len == rest.len)
        return ERROR_BAD_REQUEST_LINE;
    scan->method_len = (uint32_t)method_len;
    scan->target_at = scan->start + (uint32_t)method_len + 1;
    scan->target_len = (uint32_t)target_len;
    scan->has_request_line = true;
    enum error error = read_version(bytes_from(rest.at + target_len + 1, rest.len - target_len - 1), &scan->version_minor);
    if (error == ERROR_OK && target_len > config->url_bytes_max)
        error = ERROR_URL_TOO_LONG;
    return error;
}

static enum error scan_line(struct h1_scan *scan, struct bytes line, const struct config *config)
{
    if (!scan->has_request_line)
        return scan_request_line(scan, line, config);
    /* obs-fold (RFC 9112 §5.2), white space before the first field (§2.2), or a field without a name */
    return line.at[0] == ' ' || line.at[0] == '\t' || line.at[0] == ':' ? ERROR_BAD_FIELD : ERROR_OK;
}

/* `end`: how far the line that begins at scan->line is known to reach. */
static enum error check_size(const struct h1_scan *scan, size_t end, const struct config *config)
{
    if (!scan->has_request_line && end - scan->line > (size_t)config->url_bytes_max + REQUEST_LINE_BESIDES_URL)
        return ERROR_URL_TOO_LONG;
    if (end - scan->start > config->header_bytes_max)
        return scan->has_request_line ? ERROR_HEADER_TOO_LARGE : ERROR_URL_TOO_LONG;
    return ERROR_OK;
}

/* Something that is no HTTP at all (TLS, say) shall not be waited for until its header is late. */
static bool begins_like_no_method(const struct h1_scan *scan, struct bytes input)
{
    return !scan->has_request_line && scan->line < input.len && input.at[scan->line] != '\r' &&
           !byte_is_tchar((unsigned char)input.at[scan->line]);
}

static enum h1_scan_outcome scan_bad(enum error what, enum error *error)
{
    *error = what;
    return H1_SCAN_BAD;
}

/* RFC 9112 §2.2: a line ends in CRLF, and neither of them stands anywhere else. Where the first one stands; of field lines, the first byte that is forbidden in
 * a value (RFC 9110 §5.5), be it that one or another. */
static size_t line_end(const struct h1_scan *scan, struct bytes rest)
{
    if (scan->has_request_line)
        return header_value_length(rest);
    struct bytes line = bytes_from(rest.at, bytes_find(rest, '\n'));
    return bytes_find(line, '\r');
}

enum h1_scan_outcome h1_scan_head(struct h1_scan *scan, struct bytes input, const struct config *config, enum error *error)
{
    for (;;) {
        enum error malformed = scan->has_request_line ? ERROR_BAD_FIELD : ERROR_BAD_REQUEST_LINE;
        struct bytes rest = bytes_from(input.at + scan->line, input.len - scan->line);
        size_t end = line_end(scan, rest), newline = end + 1 < rest.len ? end + 1 : rest.len;
        bool is_whole = newline < rest.len, is_forbidden = end < rest.len && rest.at[end] != '\r';
        if (begins_like_no_method(scan, input))
            return scan_bad(malformed, error);
        if ((*error = check_size(scan, scan->line + (is_forbidden ? end + 1 : newline + is_whole), config)) != ERROR_OK)
            return H1_SCAN_BAD;
        if (is_forbidden || (is_whole && rest.at[newline] != '\n'))
            return scan_bad(malformed, error);
        if (!is_whole)
            return H1_SCAN_PARTIAL;
        if (newline == 1) {
            scan->line += 2;
            if (scan->has_request_line)
                return H1_SCAN_COMPLETE;
            scan->start = scan->line;
            if (++scan->empty_lines > EMPTY_LINES_MAX)
                return scan_bad(malformed, error);
            continue;
        }
        if ((*error = scan_line(scan, bytes_from(rest.at, newline - 1), config)) != ERROR_OK)
            return H1_SCAN_BAD;
        scan->line += (uint32_t)newline + 1;
    }
}

void h1_note_request_line(const struct h1_scan *scan, struct bytes input, struct request_head *head)
{
    if (!scan->has_request_line)
        return;
    head->method_name = bytes_from(input.at + scan->start, scan->method_len);
    head->method = method_identify(head->method_name);
    head->target = bytes_from(input.at + scan->target_at, scan->target_len);
    head->version_minor = scan->version_minor;
}

/* `Transfer_Encoding`: some origins read an underscore as a hyphen, and would see a framing field that we did not (HARDENING: framing). */
static bool looks_like(struct bytes name, struct bytes framing_field)
{
    if (name.len != framing_field.len)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.at[i] == '_' ? '-' : byte_lower(name.at[i]);
        if (c != framing_field.at[i])
            return false;
    }
    return true;
}

static enum error add_field(struct bytes name, struct bytes value, unsigned count_max, struct headers *fields)
{
    enum header_id id = header_identify(name);
    if (fields->count == count_max)
        return ERROR_HEADER_TOO_MANY;
    if (id == HEADER_OTHER && (looks_like(name, BYTES("transfer-encoding")) || looks_like(name, BYTES("content-length"))))
        return ERROR_BAD_FRAMING;
    headers_add(fields, id, name, value);
    return ERROR_OK;
}

/* RFC 9112 §5. The scan has found that each line ends in its first CR, and holds no other byte that is forbidden in a value. */
static enum error read_fields(struct bytes lines, unsigned count_max, struct headers *fields)
{
    const char *at = lines.at, *end = lines.at + lines.len - 2;
    while (at < end) {
        const char *name = at;
        while (byte_is_tchar((unsigned char)*at))
            at++;
        if (at == name || *at != ':')
            return ERROR_BAD_FIELD;
        const char *value = at + 1;
        struct bytes name_bytes = bytes_from(name, (size_t)(at - name));
        at = value + bytes_find(bytes_from(value, (size_t)(end - value)), '\r');
        enum error error = add_field(name_bytes, bytes_from(value, (size_t)(at - value)), count_max, fields);
        if (error != ERROR_OK)
            return error;
        at += 2;
    }
    return ERROR_OK;
}

static int on_head(llhttp_t *parser)
{
    parser->upgrade = 0; /* what follows an upgrade is none of the parser's business */
    return HPE_PAUSED;   /* the body, if any, comes with its own callbacks */
}

static const llhttp_settings_t head_settings = {.on_headers_complete = on_head};

void h1_parser_init(llhttp_t *fresh)
{
    /* A POST may have a body and is otherwise nothing special. The version decides nothing that is not decided here. */
    static const struct bytes request_line = {"POST / HTTP/1.1\r\n", 17};
    llhttp_init(fresh, HTTP_REQUEST, &head_settings);
    enum llhttp_errno failure = llhttp_execute(fresh, request_line.at, request_line.len);
    assert(failure == HPE_OK);
    (void)failure;
}

void h1_parser_begin_body(llhttp_t *parser, const llhttp_settings_t *settings, void *data)
{
    parser->settings = (void *)settings;
    parser->data = data;
    llhttp_resume(parser);
}

static enum error error_of(enum llhttp_errno failure)
{
    switch (failure) {
    case HPE_UNEXPECTED_CONTENT_LENGTH:
    case HPE_INVALID_CONTENT_LENGTH:
    case HPE_INVALID_TRANSFER_ENCODING:
        return ERROR_BAD_FRAMING;
    default:
        return ERROR_BAD_FIELD;
    }
}

/* llhttp, which decodes bodies, reads the fields that frame one, and has to agree. */
static enum error begin_framing(llhttp_t *parser, struct bytes lines)
{
    enum llhttp_errno outcome = llhttp_execute(parser, lines.at, lines.len);
    return outcome == HPE_PAUSED && llhttp_get_error_pos(parser) == lines.at + lines.len ? ERROR_OK : error_of(outcome);
}

static bool is_framed(const struct headers *fields)
{
    return headers_find(fields, HEADER_TRANSFER_ENCODING) || headers_find(fields, HEADER_CONTENT_LENGTH);
}

/* RFC 9112 §6.3, without its lenient choices. */
static enum error read_framing(const struct request_head *head, const struct config *config, struct h1_framing *framing)
{
    const struct headers *fields = &head->fields;
    const struct header *coding = headers_find(fields, HEADER_TRANSFER_ENCODING), *length = headers_find(fields, HEADER_CONTENT_LENGTH);
    if (coding) {
        if (length || head->version_minor == 0 || headers_next(fields, coding)) /* §6.1 */
            return ERROR_BAD_FRAMING;
        if (!bytes_equal_nocase(coding->value, BYTES("chunked")))
            return ERROR_TRANSFER_CODING_UNKNOWN;
        framing->has_body = framing->chunked = true;
    } else if (length) {
        if (headers_next(fields, length) || !bytes_parse_u64(length->value, &framing->length))
            return ERROR_BAD_FRAMING;
        framing->has_body = framing->length > 0;
        if (config->body_bytes_max && framing->length > config->body_bytes_max)
            return ERROR_BODY_TOO_LARGE;
    }
    return ERROR_OK;
}

/* RFC 9112 §3.2, RFC 9110 §7.2 */
static enum error read_authority(struct request_head *head)
{
    const struct header *host = headers_find(&head->fields, HEADER_HOST);
    if (!host)
        return head->version_minor == 0 ? ERROR_OK : ERROR_BAD_HOST;
    if (headers_next(&head->fields, host) || !h1_authority_is_valid(host->value))
        return ERROR_BAD_HOST;
    if (!head->authority.at) /* that of an absolute-form target beats it (RFC 9112 §3.2.2) */
        head->authority = host->value;
    return ERROR_OK;
}

/* RFC 9110 §10.1.1. The field ends here: the expectation is met by us. */
static enum error read_expectation(struct request_head *head, struct h1_framing *framing)
{
    const struct header *expect = headers_find(&head->fields, HEADER_EXPECT);
    if (!expect)
        return ERROR_OK;
    for (const struct header *field = expect; field; field = headers_next(&head->fields, field)) {
        if (!bytes_equal_nocase(field->value, BYTES("100-continue")))
            return ERROR_EXPECTATION_FAILED;
    }
    framing->expects_continue = framing->has_body && head->version_minor > 0;
    headers_remove(&head->fields, HEADER_EXPECT);
    return ERROR_OK;
}

/* Thousands of them fit into a head, for a hundred fields to be looked for. */
static bool has_too_many_options(const struct headers *fields)
{
    size_t commas = 0;
    for (const struct header *line = headers_find(fields, HEADER_CONNECTION); line; line = headers_next(fields, line)) {
        for (size_t i = 0; i < line->value.len; i++)
            commas += line->value.at[i] == ',';
    }
    return commas >= CONNECTION_OPTIONS_MAX;
}

/* RFC 9112 §9.3 and RFC 9110 §7.8. An upgrade to h2c would carry requests past us (RFC 9113 took it back), and one with a body is not offered. */
static void read_connection_options(struct request_head *head, const struct h1_framing *framing)
{
    const struct headers *fields = &head->fields;
    bool has_options = headers_find(fields, HEADER_CONNECTION);
    bool closes = has_options && headers_list_has(fields, HEADER_CONNECTION, BYTES("close"));
    bool persists = head->version_minor > 0 || (has_options && headers_list_has(fields, HEADER_CONNECTION, BYTES("keep-alive")));
    head->keep_alive = persists && !closes;
    head->wants_upgrade = has_options && head->version_minor > 0 && !framing->has_body && headers_find(fields, HEADER_UPGRADE) &&
                          headers_list_has(fields, HEADER_CONNECTION, BYTES("upgrade")) &&
                          !headers_list_has(fields, HEADER_UPGRADE, BYTES("h2c"));
}

enum error h1_parse_head(const struct h1_scan *scan, struct bytes input, const struct config *config, const llhttp_t *fresh,
                         llhttp_t *parser, struct request_head *head, struct h1_framing *framing)
{
    enum error error;
    *framing = (struct h1_framing){0};
    h1_note_request_line(scan, input, head);
    head->scheme = head->tls ? BYTES("https") : BYTES("http");
    if (head->method == METHOD_CONNECT)
        return ERROR_METHOD_NOT_ALLOWED;
    if ((error = h1_split_target(head)) != ERROR_OK)
        return error;
    size_t fields_at = scan->target_at + scan->target_len + sizeof(" HTTP/1.1\r\n") - 1;
    struct bytes lines = bytes_from(input.at + fields_at, scan->line - fields_at);
    if ((error = read_fields(lines, config->header_count_max, &head->fields)) != ERROR_OK)
        return error;
    if (is_framed(&head->fields)) {
        *parser = *fresh;
        if ((error = begin_framing(parser, lines)) != ERROR_OK)
            return error;
    }
    if ((error = read_authority(head)) != ERROR_OK)
        return error;
    if ((error = read_framing(head, config, framing)) != ERROR_OK)
        return error;
    if ((error = read_expectation(head, framing)) != ERROR_OK)
        return error;
    if (has_too_many_options(&head->fields))
        return ERROR_HEADER_TOO_MANY;
    read_connection_options(head, framing);
    return ERROR_OK;
}
