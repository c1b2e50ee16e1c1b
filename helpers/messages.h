/* Payloads of the messages in messages.tbl: fixed-width integers, no pointers; sizes asserted in wire.c. */
#ifndef HELPERS_MESSAGES_H
#define HELPERS_MESSAGES_H

#include <stdint.h>

enum role { ROLE_NONE, ROLE_SUPERVISOR, ROLE_PROXY, ROLE_DISK, ROLE_RESOLVER, ROLE_LOG, ROLE_COUNT };

/* "proxy", "disk"… static. */
const char *role_name(enum role role);

enum message_type {
    MESSAGE_NONE,
#define MESSAGE(name, from, to, payload, tail, fds) MESSAGE_##name,
#include "helpers/messages.tbl"
#undef MESSAGE
    MESSAGE_COUNT
};

enum { RESOLVE_ADDRESSES_MAX = 64 };

struct message_empty {
    uint32_t unused;
};

/* Read `length` bytes from `offset` of root/path into the slab. Stateless: any helper can answer, and a request can be sent again. */
struct message_file_read {
    uint64_t request;        /* the client's id of it */
    uint64_t offset, length; /* length 0: only look it up */
    uint64_t slab_offset;    /* where the bytes go: length bytes from here */
    /* When inode is not 0 the file must still be this one (a later piece of a body already begun), else FILE_CHANGED. */
    uint64_t inode, size;
    int64_t  mtime_ns;
};

enum file_status { FILE_OK, FILE_MISSING, FILE_FORBIDDEN, FILE_IS_DIRECTORY, FILE_CHANGED, FILE_IO_ERROR };

struct message_file_answer {
    uint64_t request;
    uint32_t status; /* enum file_status */
    uint32_t unused;
    uint64_t inode, size;
    int64_t  mtime_ns;
    uint64_t bytes_read; /* short only at the end of the file */
};

struct message_resolve {
    uint64_t request;
};

struct resolved_address {
    uint8_t  family; /* 4 or 6 */
    uint8_t  unused[3];
    uint32_t ttl_s;
    uint8_t  bytes[16];
};

enum resolve_status { RESOLVE_OK, RESOLVE_NOT_FOUND, RESOLVE_FAILED };

struct message_resolved {
    uint64_t request;
    uint32_t status; /* enum resolve_status */
    uint32_t count;
    struct resolved_address addresses[RESOLVE_ADDRESSES_MAX];
};

enum log_kind { LOG_KIND_ACCESS, LOG_KIND_ERROR, LOG_KIND_COUNT };

struct message_log_line {
    uint32_t kind; /* enum log_kind */
    uint32_t unused;
};

struct message_log_dropped {
    uint64_t lines; /* since the last such message, whichever loop's they were */
};

struct message_channel {
    uint32_t role;   /* of the helper at the far end (for a helper: ROLE_PROXY) */
    uint32_t helper; /* its number within the role */
    uint32_t loop;
    uint32_t generation; /* of that helper; grows with each respawn */
};

struct message_helper {
    uint32_t role, helper, generation, restarts;
};

struct message_listener {
    uint32_t index; /* into the configuration's listeners */
    uint32_t kind;  /* enum listener_kind of proxy/listener.h */
};

struct message_config {
    uint32_t serial;
    uint32_t listeners; /* how many LISTENER messages went before it */
};

struct message_roots {
    uint32_t count;
    uint32_t unused;
};

struct message_resolver_settings {
    uint32_t timeout_ms;  /* of the first try; doubles with each further one */
    uint32_t tries;       /* of each server */
    uint32_t question_ms; /* a name not answered by then has failed: below the client's deadline, or a slow server looks like a hung helper */
    uint32_t hosts_file;  /* whether /etc/hosts is asked first */
};

struct message_log_file {
    uint32_t kind;
    uint32_t unused;
};

struct message_reload {
    uint32_t request;
    uint32_t accepted;
};

#endif
