#include "base/log_target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    SYSLOG_PORT = 514,
    DATAGRAM_MAX_BYTES = 16 * 1024, /* a line of 4 KiB, once more as fields */
    HOST_MAX_BYTES = 256,
    SEVERITY_ERROR = 3,
    SEVERITY_INFO = 6,
};

/* RFC 5424 §6.2.1. NULL: a number without a name that people use. */
static const char *const facilities[] = {"kern",   "user",   "mail",     "daemon", "auth",   "syslog", "lpr",    "news",
                                         "uucp",   "cron",   "authpriv", "ftp",    NULL,     NULL,     NULL,     NULL,
                                         "local0", "local1", "local2",   "local3", "local4", "local5", "local6", "local7"};
static const char *const severities[] = {"emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"};

/* ---- the text --------------------------------------------------------------------------------------------------------------------------- */

static bool find_word(struct bytes word, const char *const *words, unsigned count, unsigned *number)
{
    for (*number = 0; *number < count; (*number)++) {
        if (words[*number] && bytes_equal(word, bytes_from_string(words[*number])))
            return true;
    }
    return false;
}

static const char *read_path(struct bytes path, struct log_target *target)
{
    struct sockaddr_un *local = &target->address.local;
    if (path.len == 0 || path.at[0] != '/' || path.len >= sizeof local->sun_path)
        return "server=unix: takes the absolute path of a socket, of at most 107 bytes";
    *local = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(local->sun_path, path.at, path.len);
    target->address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
    return NULL;
}

/* "192.0.2.1", "192.0.2.1:514", "[2001:db8::1]", "[2001:db8::1]:514". A name would have to be looked up, which takes time again and again. */
static const char *read_address(struct bytes text, struct log_target *target)
{
    static const char expected[] = "server= takes an address such as 192.0.2.1:514 or [2001:db8::1]:514, or unix: and a path";
    char host[INET6_ADDRSTRLEN];
    bool is_ip6 = text.len > 0 && text.at[0] == '[';
    size_t end = bytes_find(text, is_ip6 ? ']' : ':'), after = end + (is_ip6 ? 1 : 0);
    uint64_t port = SYSLOG_PORT;
    if (after > text.len || end - is_ip6 >= sizeof host)
        return expected;
    snprintf(host, sizeof host, "%.*s", (int)(end - is_ip6), text.at + is_ip6);
    if (after < text.len && (text.at[after] != ':' || !bytes_parse_u64(bytes_from(text.at + after + 1, text.len - after - 1), &port) ||
                             port == 0 || port > 65535))
        return expected;
    if (is_ip6) {
        target->address.ip6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        target->address_size = sizeof target->address.ip6;
        return inet_pton(AF_INET6, host, &target->address.ip6.sin6_addr) == 1 ? NULL : expected;
    }
    target->address.ip4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    target->address_size = sizeof target->address.ip4;
    return inet_pton(AF_INET, host, &target->address.ip4.sin_addr) == 1 ? NULL : expected;
}

static const char *read_server(struct bytes value, struct log_target *target)
{
    if (bytes_starts_with(value, BYTES("unix:")))
        return read_path(bytes_from(value.at + 5, value.len - 5), target);
    return target->kind == LOG_TARGET_JOURNALD ? "journald: its server is unix: and the path of its socket" : read_address(value, target);
}

static const char *read_tag(struct bytes value, struct log_target *target)
{
    static const char expected[] = "tag= takes 1 to 32 letters, digits and the characters - _ .";
    if (value.len == 0 || value.len > LOG_TAG_MAX)
        return expected;
    for (size_t i = 0; i < value.len; i++) {
        char c = value.at[i], lower = byte_lower(c);
        if (!((lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return expected;
    }
    memcpy(target->tag, value.at, value.len);
    target->tag[value.len] = '\0';
    return NULL;
}

static const char *read_parameter(struct bytes name, struct bytes value, struct log_target *target)
{
    if (bytes_equal(name, BYTES("server")))
        return read_server(value, target);
    if (bytes_equal(name, BYTES("tag")))
        return read_tag(value, target);
    if (bytes_equal(name, BYTES("facility")))
        return find_word(value, facilities, sizeof facilities / sizeof *facilities, &target->facility)
                   ? NULL
                   : "facility= takes kern, user, mail, daemon, auth, syslog, lpr, news, uucp, cron, authpriv, ftp or local0 to local7";
    if (bytes_equal(name, BYTES("severity"))) {
        target->has_severity = true;
        return find_word(value, severities, sizeof severities / sizeof *severities, &target->severity)
                   ? NULL
                   : "severity= takes emerg, alert, crit, error, warn, notice, info or debug";
    }
    return "what may be set is server=, facility=, severity= and tag=, with commas between them";
}

/* The text after `word`, or after `word` and a colon. */
static bool begins_with(struct bytes text, struct bytes word, struct bytes *rest)
{
    if (!bytes_starts_with(text, word) || (text.len > word.len && text.at[word.len] != ':'))
        return false;
    size_t used = text.len > word.len ? word.len + 1 : word.len;
    *rest = bytes_from(text.at + used, text.len - used);
    return true;
}

const char *log_target_parse(struct bytes text, struct log_target *target)
{
    struct bytes rest;
    bool is_syslog = begins_with(text, BYTES("syslog"), &rest);
    *target = (struct log_target){.kind = LOG_TARGET_FILE};
    if (!is_syslog && !begins_with(text, BYTES("journald"), &rest))
        return NULL;
    target->kind = is_syslog ? LOG_TARGET_SYSLOG : LOG_TARGET_JOURNALD;
    target->facility = 3; /* daemon */
    target->severity = SEVERITY_INFO;
    strcpy(target->tag, "outrigger");
    read_path(is_syslog ? BYTES("/dev/log") : BYTES("/run/systemd/journal/socket"), target);
    while (rest.len > 0) {
        struct bytes value = bytes_take_until(&rest, ','), name = bytes_take_until(&value, '=');
        const char *error = read_parameter(name, value, target);
        if (error)
            return error;
    }
    return NULL;
}

/* ---- the socket ------------------------------------------------------------------------------------------------------------------------- */

/* By UDP it is connected, so that the network's refusals are heard of. */
int log_target_open(const struct log_target *target)
{
    int fd = socket(target->address.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || log_target_is_local(target) || connect(fd, &target->address.any, target->address_size) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* ---- one line --------------------------------------------------------------------------------------------------------------------------- */

/* "2026-01-31T12:00:00.123Z level role[pid] area: text" (base/log.h); of another line only the text is set. */
struct parts {
    struct bytes time, role, pid, area, text;
    unsigned severity;
};

static struct parts take_apart(const struct log_target *target, struct bytes line, bool has_level)
{
    struct parts parts = {.text = line, .severity = has_level ? SEVERITY_ERROR : target->severity};
    struct bytes rest = line;
    if (!has_level)
        return parts;
    struct bytes time = bytes_take_until(&rest, ' '), level = bytes_take_until(&rest, ' '), role = bytes_take_until(&rest, '['),
                 pid = bytes_take_until(&rest, ']');
    unsigned severity;
    if (rest.len < 2 || rest.at[0] != ' ' || !find_word(level, severities, sizeof severities / sizeof *severities, &severity))
        return parts;
    rest = bytes_from(rest.at + 1, rest.len - 1);
    parts = (struct parts){.time = time, .role = role, .pid = pid, .text = rest, .severity = severity};
    parts.area = bytes_take_until(&rest, ':');
    return parts;
}

struct datagram {
    char bytes[DATAGRAM_MAX_BYTES];
    size_t used;
};

static void __attribute__((format(printf, 2, 3))) add(struct datagram *out, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(out->bytes + out->used, sizeof out->bytes - out->used, format, arguments);
    va_end(arguments);
    size_t room = sizeof out->bytes - out->used - 1;
    out->used += length < 0 ? 0 : (size_t)length < room ? (size_t)length : room;
}

static void add_byte(struct datagram *out, char c)
{
    if (out->used < sizeof out->bytes - 1)
        out->bytes[out->used++] = c;
}

static void put_host(struct datagram *out)
{
    char name[HOST_MAX_BYTES];
    if (gethostname(name, sizeof name) < 0 || name[0] == '\0')
        strcpy(name, "-");
    name[sizeof name - 1] = '\0';
    for (char *at = name; *at; at++)
        *at = *at > 0x20 && *at < 0x7f ? *at : '-';
    add(out, "%s", name);
}

/* RFC 5424 §6; the time is the line's own, where it has one. */
static void put_remote(struct datagram *out, const struct log_target *target, const struct parts *parts)
{
    char now_text[32];
    struct timespec now;
    struct tm tm;
    struct bytes time = parts->time;
    if (time.len == 0) {
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &tm);
        size_t length = strftime(now_text, sizeof now_text, "%Y-%m-%dT%H:%M:%S", &tm);
        length += (size_t)snprintf(now_text + length, sizeof now_text - length, ".%03ldZ", now.tv_nsec / 1000000);
        time = bytes_from(now_text, length);
    }
    add(out, "<%u>1 %.*s ", target->facility * 8 + parts->severity, BYTES_FMT(time));
    put_host(out);
    add(out, " %s %.*s - - ", target->tag, BYTES_FMT(parts->pid.len > 0 ? parts->pid : BYTES("-")));
    if (parts->role.len > 0)
        add(out, "%.*s ", BYTES_FMT(parts->role));
    add(out, "%.*s", BYTES_FMT(parts->text));
}

/* As syslog(3) writes it: that is what local daemons expect. In local time, for the same reason. */
static void put_local(struct datagram *out, const struct log_target *target, const struct parts *parts)
{
    char now_text[32];
    time_t now = time(NULL);
    struct tm tm;
    localtime_r(&now, &tm);
    strftime(now_text, sizeof now_text, "%b %e %H:%M:%S", &tm);
    add(out, "<%u>%s %s", target->facility * 8 + parts->severity, now_text, target->tag);
    if (parts->pid.len > 0)
        add(out, "[%.*s]", BYTES_FMT(parts->pid));
    add(out, ": ");
    if (parts->role.len > 0)
        add(out, "%.*s ", BYTES_FMT(parts->role));
    add(out, "%.*s", BYTES_FMT(parts->text));
}

/* The fields of a combined line, by their place in it; NULL: not worth one. */
static const char *const access_fields[] = {"OUTRIGGER_CLIENT",
                                            NULL,
                                            NULL,
                                            NULL,
                                            "OUTRIGGER_REQUEST",
                                            "OUTRIGGER_STATUS",
                                            "OUTRIGGER_BYTES",
                                            "OUTRIGGER_REFERER",
                                            "OUTRIGGER_USER_AGENT",
                                            "OUTRIGGER_RESULT",
                                            "OUTRIGGER_REASON",
                                            "OUTRIGGER_DURATION",
                                            "OUTRIGGER_HOST"};

enum { ACCESS_FIELDS = sizeof access_fields / sizeof *access_fields };

/* "…" and […] are one field; there are no quotes or brackets within them (proxy/observe/access_log.h). False: it is another kind of line. */
static bool split_access_line(struct bytes line, struct bytes fields[ACCESS_FIELDS])
{
    for (unsigned i = 0; i < ACCESS_FIELDS; i++) {
        char closing = line.len > 0 && line.at[0] == '"' ? '"' : line.len > 0 && line.at[0] == '[' ? ']' : ' ';
        if (closing != ' ')
            line = bytes_from(line.at + 1, line.len - 1);
        fields[i] = bytes_take_until(&line, closing);
        if (closing != ' ' && line.len > 0 && line.at[0] == ' ')
            line = bytes_from(line.at + 1, line.len - 1);
        if (fields[i].len == 0 && closing == ' ')
            return false;
    }
    return line.len == 0;
}

static void put_field(struct datagram *out, const char *name, struct bytes value)
{
    if (value.len > 0 && !bytes_equal(value, BYTES("-")))
        add(out, "%s=%.*s\n", name, BYTES_FMT(value));
}

/* ---- a line in JSON: one object of strings, numbers and null, without white space (proxy/observe/access_log.h) ---- */

static bool take_byte(struct bytes *rest, char c)
{
    if (rest->len == 0 || rest->at[0] != c)
        return false;
    *rest = bytes_from(rest->at + 1, rest->len - 1);
    return true;
}

/* What is between the quotes, escapes included. */
static bool take_string(struct bytes *rest, struct bytes *text)
{
    if (!take_byte(rest, '"'))
        return false;
    for (size_t i = 0; i < rest->len; i += rest->at[i] == '\\' ? 2 : 1) {
        if (rest->at[i] != '"')
            continue;
        *text = bytes_from(rest->at, i);
        *rest = bytes_from(rest->at + i + 1, rest->len - i - 1);
        return true;
    }
    return false;
}

static bool take_value(struct bytes *rest, struct bytes *value)
{
    size_t end = 0;
    if (rest->len > 0 && rest->at[0] == '"')
        return take_string(rest, value);
    while (end < rest->len && rest->at[end] != ',' && rest->at[end] != '}')
        end++;
    *value = bytes_from(rest->at, end);
    *rest = bytes_from(rest->at + end, rest->len - end);
    return end > 0;
}

/* The journal's names are capitals, digits and underscores. */
static bool put_json_name(struct datagram *out, struct bytes name)
{
    if (bytes_equal(name, BYTES("cache")))
        name = BYTES("result");
    if (bytes_equal(name, BYTES("detail")) || bytes_equal(name, BYTES("error")))
        name = BYTES("reason");
    add(out, "OUTRIGGER_");
    for (size_t i = 0; i < name.len; i++) {
        char c = name.at[i];
        if (!(c >= 'a' && c <= 'z') && c != '_')
            return false;
        add_byte(out, c == '_' ? c : (char)(c - 'a' + 'A'));
    }
    add_byte(out, '=');
    return true;
}

/* Control bytes stay escaped: a newline would begin another field. */
static void put_json_value(struct datagram *out, struct bytes value)
{
    for (size_t i = 0; i < value.len; i++) {
        bool is_escape = value.at[i] == '\\' && i + 1 < value.len && (value.at[i + 1] == '"' || value.at[i + 1] == '\\');
        i += is_escape;
        add_byte(out, value.at[i]);
    }
    add_byte(out, '\n');
}

/* By the names that the fields of a combined line have, where it has them. Nothing is put of a line that is something else. */
static void put_json_fields(struct datagram *out, struct bytes line)
{
    size_t before = out->used;
    struct bytes name, value;
    bool good = take_byte(&line, '{');
    while (good && take_string(&line, &name)) {
        good = take_byte(&line, ':') && take_value(&line, &value);
        if (good && value.len > 0 && !bytes_equal(value, BYTES("null")) && !bytes_equal(name, BYTES("time"))) {
            good = put_json_name(out, name);
            put_json_value(out, value);
        }
        if (!take_byte(&line, ','))
            break;
    }
    if (!good || !take_byte(&line, '}') || line.len > 0)
        out->used = before;
}

/* systemd's native protocol: a line a field. No value has a newline. */
static void put_journal(struct datagram *out, const struct log_target *target, const struct parts *parts, bool has_level)
{
    struct bytes fields[ACCESS_FIELDS];
    add(out, "MESSAGE=%.*s\nPRIORITY=%u\nSYSLOG_FACILITY=%u\nSYSLOG_IDENTIFIER=%s\nOUTRIGGER_LOG=%s\n", BYTES_FMT(parts->text),
        parts->severity, target->facility, target->tag, has_level ? "error" : "access");
    put_field(out, "SYSLOG_PID", parts->pid);
    put_field(out, "OUTRIGGER_ROLE", parts->role);
    put_field(out, "OUTRIGGER_AREA", parts->area);
    if (has_level)
        return;
    if (!split_access_line(parts->text, fields)) {
        put_json_fields(out, parts->text);
        return;
    }
    for (unsigned i = 0; i < ACCESS_FIELDS; i++) {
        if (access_fields[i])
            put_field(out, access_fields[i], fields[i]);
    }
}

int log_target_send(const struct log_target *target, int fd, struct bytes line, bool has_level)
{
    struct datagram datagram, *out = &datagram;
    datagram.used = 0;
    if (line.len > 0 && line.at[line.len - 1] == '\n')
        line.len--;
    struct parts parts = take_apart(target, line, has_level);
    if (target->kind == LOG_TARGET_JOURNALD)
        put_journal(out, target, &parts, has_level);
    else if (log_target_is_local(target))
        put_local(out, target, &parts);
    else
        put_remote(out, target, &parts);
    bool is_local = log_target_is_local(target);
    ssize_t sent = sendto(fd, datagram.bytes, datagram.used, MSG_DONTWAIT | MSG_NOSIGNAL, is_local ? &target->address.any : NULL,
                          is_local ? target->address_size : 0);
    return sent < 0 ? errno : 0;
}
