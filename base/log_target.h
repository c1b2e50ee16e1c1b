/* Where a log goes, as the configuration names it: a file, "-", or a logging daemon, which gets a datagram a line.
 *
 *   syslog:server=127.0.0.1:514,facility=local7,severity=info,tag=outrigger     RFC 5424 by UDP
 *   syslog                                         to /dev/log (server=unix:/dev/log), in the form of syslog(3): RFC 3164 without a host name
 *   journald                                       to /run/systemd/journal/socket, in its own protocol, with fields
 *
 * A socket's path is named with every datagram: a daemon that is started anew gets the next line. */
#ifndef BASE_LOG_TARGET_H
#define BASE_LOG_TARGET_H

#include "base/bytes.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

enum log_target_kind { LOG_TARGET_FILE, LOG_TARGET_SYSLOG, LOG_TARGET_JOURNALD };

enum { LOG_TAG_MAX = 32 };

struct log_target {
    enum log_target_kind kind; /* of a file, nothing else is set */
    unsigned facility, severity; /* as RFC 5424 numbers them; the severity of lines without a level of their own */
    bool has_severity;           /* it was given */
    char tag[LOG_TAG_MAX + 1];
    union {
        struct sockaddr     any;
        struct sockaddr_un  local;
        struct sockaddr_in  ip4;
        struct sockaddr_in6 ip6;
    } address;
    socklen_t address_size;
};

/* NULL, or what is wrong with it: a sentence for whoever wrote it. A path is not looked at. */
const char *log_target_parse(struct bytes text, struct log_target *target);

static inline bool log_target_is_local(const struct log_target *target)
{
    return target->address.any.sa_family == AF_UNIX;
}

/* A socket that never blocks; −1 with errno. Not for files. */
int log_target_open(const struct log_target *target);

/* One line, with or without its newline, of the access log, or of the error log (`has_level`). 0, or errno: EAGAIN when
 * the receiver has no room. Blocks never. */
int log_target_send(const struct log_target *target, int fd, struct bytes line, bool has_level);

#endif
