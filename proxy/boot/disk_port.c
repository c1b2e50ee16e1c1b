/* See disk_port.h. What a helper is asked is what the port was asked, in the words of messages.h; slab offsets go through as they are. */
#include "proxy/boot/disk_port.h"

#include "base/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE_MAX = 4096 }; /* calls of one loop: more are answered DISK_OVERLOADED */

_Static_assert((int)DISK_PAGES_MAX <= (int)STORE_PAGES_MAX, "a read's pages fit its message");
_Static_assert((int)DISK_BATCH_RECORDS <= (int)STORE_RECORDS_MAX && (int)DISK_BATCH_PIECES <= (int)STORE_PIECES_MAX,
               "a batch fits its message");
_Static_assert(sizeof(struct disk_piece) == sizeof(struct store_piece), "pieces are copied as they are");
_Static_assert(sizeof(struct store_header) == sizeof(((struct message_store_read_done *)0)->header), "the header is copied as it is");

/* One call on its way; gone when it is done. */
struct passage {
    struct store_call call;
    struct disk_port *port;
    union {
        struct disk_read *read;
        struct disk_write *write;
        struct disk_scan *scan;
        struct disk_order *order;
    } asked;
    char tail[];
};

static struct disk_port *port_of(struct disk_io *io)
{
    return (struct disk_port *)((char *)io - offsetof(struct disk_port, io));
}

static struct passage *new_passage(enum message_type type, size_t tail_bytes, void (*done)(struct store_call *call))
{
    struct passage *passage = calloc(1, sizeof *passage + tail_bytes);
    if (passage == NULL)
        abort();
    passage->call = (struct store_call){.type = type, .done = done, .context = passage};
    return passage;
}

static void submit(struct disk_port *port, struct passage *passage)
{
    if (port->made_here)
        disk_inline_submit(port->made_here, &passage->call);
    else
        store_client_submit(port->client, &passage->call, loop_now(port->loop));
}

static enum disk_status status_of(const struct store_call *call, uint32_t answered)
{
    static const enum disk_status statuses[] = {[STORE_OK] = DISK_OK,
                                                [STORE_ABSENT] = DISK_ABSENT,
                                                [STORE_FRONT_LARGE] = DISK_FRONT_LARGE,
                                                [STORE_FULL] = DISK_FULL,
                                                [STORE_ERROR] = DISK_ERROR};
    if (call->error != ERROR_OK)
        return call->error == ERROR_OVERLOADED ? DISK_OVERLOADED : DISK_UNAVAILABLE;
    return answered < sizeof statuses / sizeof statuses[0] ? statuses[answered] : DISK_UNAVAILABLE;
}

static void read_done(struct store_call *call)
{
    struct passage *passage = call->context;
    struct disk_read *read = passage->asked.read;
    const struct message_store_read_done *answer = &call->answer.read;
    read->status = status_of(call, answer->status);
    read->error = answer->error;
    read->destination_lost = call->destination_lost;
    read->body_follows = answer->body_follows != 0;
    memcpy(&read->header, answer->header, sizeof read->header);
    if (call->error == ERROR_OK)
        histogram_add(&passage->port->counters->store_read, answer->took_us);
    free(passage);
    read->done(read);
}

static void port_read(struct disk_io *io, struct disk_read *read)
{
    size_t tail_bytes = read->page_count * sizeof read->pages[0];
    struct passage *passage = new_passage(MESSAGE_STORE_READ, tail_bytes, read_done);
    passage->asked.read = read;
    passage->port = port_of(io);
    passage->call.ask.read = (struct message_store_read){
        .segment_sequence = read->segment_sequence,
        .hash = read->hash,
        .offset = read->place.offset,
        .bytes = read->read_bytes,
        .front_offset = extent_offset(read->front),
        .front_capacity = read->front.capacity,
        .directory = read->place.directory,
    };
    memcpy(passage->tail, read->pages, tail_bytes);
    passage->call.tail = bytes_from(passage->tail, tail_bytes);
    submit(port_of(io), passage);
}

static void write_done(struct store_call *call)
{
    struct passage *passage = call->context;
    struct disk_write *write = passage->asked.write;
    write->status = status_of(call, call->answer.done.status);
    write->error = call->answer.done.error;
    free(passage);
    write->done(write);
}

static size_t batch_tail_bytes(const struct disk_write *write)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < write->record_count; i++)
        bytes += sizeof(struct message_store_record) + write->records[i].piece_count * sizeof(struct store_piece);
    return bytes;
}

static void port_write(struct disk_io *io, struct disk_write *write)
{
    size_t tail_bytes = batch_tail_bytes(write);
    struct passage *passage = new_passage(MESSAGE_STORE_WRITE, tail_bytes, write_done);
    passage->asked.write = write;
    passage->call.ask.write = (struct message_store_write){
        .segment_sequence = write->segment_sequence,
        .offset = write->place.offset,
        .directory = write->place.directory,
        .count = write->record_count,
    };
    char *at = passage->tail;
    for (uint32_t i = 0; i < write->record_count; i++) {
        const struct disk_record *record = &write->records[i];
        const struct message_store_record row = {record->hash,       record->serial, record->front_bytes,
                                                 record->body_bytes, record->kind,   record->piece_count};
        at = (char *)memcpy(at, &row, sizeof row) + sizeof row;
        size_t pieces_bytes = record->piece_count * sizeof(struct store_piece);
        at = (char *)memcpy(at, record->pieces, pieces_bytes) + pieces_bytes;
    }
    passage->call.tail = bytes_from(passage->tail, tail_bytes);
    submit(port_of(io), passage);
}

static void scan_done(struct store_call *call)
{
    struct passage *passage = call->context;
    struct disk_scan *scan = passage->asked.scan;
    const struct message_store_scan_done *answer = &call->answer.scan;
    scan->status = status_of(call, answer->status);
    scan->error = answer->error;
    scan->destination_lost = call->destination_lost;
    scan->count = answer->count;
    scan->next = answer->next;
    free(passage);
    scan->done(scan);
}

static void port_scan(struct disk_io *io, struct disk_scan *scan)
{
    struct passage *passage = new_passage(MESSAGE_STORE_SCAN, 0, scan_done);
    passage->asked.scan = scan;
    passage->call.ask.scan = (struct message_store_scan){
        .segment_sequence = scan->segment_sequence,
        .offset = scan->place.offset,
        .end = scan->end,
        .origin = scan->origin,
        .entries_offset = extent_offset(scan->entries),
        .directory = scan->place.directory,
    };
    submit(port_of(io), passage);
}

static void order_done(struct store_call *call)
{
    struct passage *passage = call->context;
    struct disk_order *order = passage->asked.order;
    order->status = status_of(call, call->answer.done.status);
    order->error = call->answer.done.error;
    free(passage);
    order->done(order);
}

static void port_order(struct disk_io *io, struct disk_order *order)
{
    struct passage *passage = new_passage(MESSAGE_STORE_ORDER, 0, order_done);
    passage->asked.order = order;
    passage->call.ask.order = (struct message_store_order){
        .offset = order->place.offset,
        .bytes = order->bytes,
        .directory = order->place.directory,
        .order = order->kind == DISK_SYNC ? STORE_SYNC : STORE_ALLOCATE,
    };
    submit(port_of(io), passage);
}

void disk_port_init(struct disk_port *port, struct loop *loop, struct counters *counters, const struct helper_hooks *hooks,
                    int64_t deadline_ms, struct disk_inline *made_here)
{
    *port = (struct disk_port){
        .io = {.read = port_read, .write = port_write, .scan = port_scan, .order = port_order},
        .client = store_client_new(hooks, deadline_ms, QUEUE_MAX),
        .made_here = made_here,
        .loop = loop,
        .counters = counters,
    };
}

void disk_port_clear(struct disk_port *port)
{
    store_client_free(&port->client);
    disk_inline_free(&port->made_here);
}
