/* Payloads of the messages in messages.tbl: fixed-width integers, no pointers; sizes asserted in wire.c. */
#ifndef HELPERS_MESSAGES_H
#define HELPERS_MESSAGES_H

#include <stdint.h>

enum role { ROLE_NONE, ROLE_SUPERVISOR, ROLE_PROXY, ROLE_DISK, ROLE_STORE, ROLE_RESOLVER, ROLE_LOG, ROLE_COUNT };

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
    uint64_t ahead; /* bytes behind these that will be asked for next */
};

enum file_status { FILE_OK, FILE_MISSING, FILE_FORBIDDEN, FILE_IS_DIRECTORY, FILE_CHANGED, FILE_IO_ERROR };

struct message_file_answer {
    uint64_t request;
    uint32_t status; /* enum file_status */
    uint32_t is_settled; /* whatever changes the file from now on changes its mtime: inode, size and mtime name these very bytes */
    uint64_t inode, size;
    int64_t  mtime_ns;
    uint64_t bytes_read; /* short only at the end of the file */
};

/* The cache's store. What a request means is told in cache/disk/disk_io.h; layouts on disk are those of base/store_format.h. Stateless: any helper can
 * answer, a request can be sent again, and doing it twice does no harm. */
/* A write of more than one record has at most STORE_BATCH_BYTES. */
enum { STORE_PAGES_MAX = 256, STORE_RECORDS_MAX = 128, STORE_PIECES_MAX = 512, STORE_BATCH_BYTES = 1024 * 1024 };

struct message_store_read {
    uint64_t request;
    uint64_t segment_sequence, hash;
    uint64_t offset, bytes;
    uint64_t front_offset; /* in the slab */
    uint32_t front_capacity;
    uint32_t directory;
};

enum store_status { STORE_OK, STORE_ABSENT, STORE_FRONT_LARGE, STORE_FULL, STORE_ERROR };

struct message_store_read_done {
    uint64_t request;
    uint32_t status; /* enum store_status */
    int32_t  error;
    uint32_t body_follows;
    uint32_t took_us; /* at the disk */
    unsigned char header[64]; /* struct store_header */
};

struct message_store_write {
    uint64_t request;
    uint64_t segment_sequence;
    uint64_t offset;
    uint32_t directory;
    uint32_t count; /* of records in the tail */
};

struct store_piece {
    uint32_t unit; /* of the slab */
    uint32_t bytes;
};

/* Followed by its pieces. */
struct message_store_record {
    uint64_t hash, serial;
    uint32_t front_bytes, body_bytes;
    uint32_t kind;
    uint32_t piece_count;
};

struct message_store_scan {
    uint64_t request;
    uint64_t segment_sequence;
    uint64_t offset, end, origin;
    uint64_t entries_offset; /* in the slab: a page of it */
    uint32_t directory;
    uint32_t unused;
};

struct message_store_scan_done {
    uint64_t request;
    uint32_t status;
    int32_t  error;
    uint64_t next; /* on STORE_ERROR: behind what could not be read */
    uint32_t count;
    uint32_t unused;
};

enum store_order { STORE_ALLOCATE, STORE_SYNC };

struct message_store_order {
    uint64_t request;
    uint64_t offset, bytes;
    uint32_t directory;
    uint32_t order; /* enum store_order */
};

struct message_store_done {
    uint64_t request;
    uint32_t status;
    int32_t  error;
    uint32_t took_us;
    uint32_t unused;
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

enum { STORE_DIRECTORIES = 16 };

enum store_engine_kind { STORE_ENGINE_AUTO, STORE_ENGINE_IO_URING, STORE_ENGINE_BLOCKING };

struct message_store_directory {
    uint32_t number;
    uint32_t is_direct; /* opened with O_DIRECT */
    uint32_t engine;    /* enum store_engine_kind */
    uint32_t delay_us;  /* for tests: each read takes this much longer */
};

struct message_store_geometry {
    unsigned char hash_key[32];
    uint32_t      count;
    uint32_t      is_lent; /* another instance uses them: not to be touched before STORE_BEGIN */
    struct {
        uint64_t      segment_bytes;
        uint32_t      segment_count;
        uint32_t      unused;
        unsigned char identity[16];
    } directories[STORE_DIRECTORIES];
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

struct message_invalidated {
    uint32_t key_bytes; /* of the tail */
    uint32_t is_group;  /* not what has the key: what is in the group, which follows in the tail, of the key's origin */
};

struct message_error_line {
    uint32_t left_out; /* lines that were too many, since the last that was sent */
    uint32_t unused;
};

struct message_reload {
    uint32_t request;
    uint32_t accepted;
};

#endif
