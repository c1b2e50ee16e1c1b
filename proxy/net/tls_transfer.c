/* Reading and writing on a server's stream, whose records we seal and open ourselves.
 *
 * DESIGN. One read is one recv(2), of which as many records are opened as the caller has room for; what is left waits sealed, and is said to be readable. One
 * write seals from the caller's memory into the loop's buffer, several records at once, and sends that at once. No more is sealed than the kernel has room
 * for, and a little where it has none to begin with: what it does not take has to be kept, and a client that does not read is not to cost a record, let
 * alone a buffer; where it has none any more after a record, it says when there is much room again. A kernel that is short of memory takes less than it has
 * room for: once that was seen, one record is sealed at a time for a while, whomever it is for.
 * Records that begin a burst are small enough for one packet: a client can use them before the next packet comes; then they are as large as can be.
 */
#include "proxy/net/socket_room.h"
#include "proxy/net/tls_stream.h"

#include <errno.h>

enum {
    SMALL_PLAIN_BYTES = 1300,   /* fits a packet, sealed, with the options of TCP and IPv6 */
    SMALL_RECORDS = 10,         /* as many packets as a connection may begin with (RFC 6928) */
    BURST_PAUSE_MS = 1000,      /* after that it begins anew */
    SEALED_LITTLE_BYTES = 4096, /* where the kernel has no room */
    SCARCE_MS = 1000,           /* after the kernel was short of memory: one record at once */
    IDLE_RECORDS_MAX = 32,      /* that carry nothing: nobody needs more */
};

enum { ALERT_CLOSE_NOTIFY = 0, ALERT_USER_CANCELED = 90, ALERT_WARNING = 1, HANDSHAKE_KEY_UPDATE = 24, KEY_UPDATE_BYTES = 5 };

/* ---- what is no data -------------------------------------------------------------------------------------------------------------------- */

/* RFC 8446 §6.1; of TLS 1.2 also warnings, which nobody sends for years. */
static bool take_alert(struct tls_stream *stream, const uint8_t *alert, ssize_t length)
{
    if (length != 2)
        return false;
    if (alert[1] == ALERT_CLOSE_NOTIFY)
        stream->ended = true;
    else if (alert[1] != ALERT_USER_CANCELED && (stream->records.is_13 || alert[0] != ALERT_WARNING))
        return false;
    return true;
}

/* RFC 8446 §4.6.3. A renegotiation of TLS 1.2 would begin here as well: there is none. */
static bool take_key_update(struct tls_stream *stream, const uint8_t *message, ssize_t length)
{
    static const uint8_t answer[KEY_UPDATE_BYTES] = {HANDSHAKE_KEY_UPDATE, 0, 0, 1, 0};
    const struct iovec piece = {(void *)answer, sizeof(answer)}, *iov = &piece;
    struct tls_records *records = &stream->records;
    uint8_t sealed[KEY_UPDATE_BYTES + RECORD_GROWTH_MAX];
    size_t offset = 0;
    if (!records->is_13 || length != KEY_UPDATE_BYTES || memcmp(message, answer, 4) != 0 || message[4] > 1)
        return false;
    if (spill_bytes(stream->out).len > TLS_OUT_BYTES || !tls_record_update(records, &records->in, false))
        return false;
    if (message[4] == 0 || stream->shut)
        return true;
    size_t bytes = tls_record_seal(records, RECORD_HANDSHAKE, &iov, &offset, sizeof(answer), sealed);
    stream->holds |= stream->out == NULL; /* goes with the next answer, or at the end of the turn */
    spill_append(&stream->out, bytes_from((char *)sealed, bytes));
    tls_loop_enqueue(stream->loop, stream);
    return tls_record_update(records, &records->out, true);
}

/* A fatal alert, and the end of it (RFC 8446 §6.2). */
static void break_off(struct tls_stream *stream, uint8_t reason)
{
    const uint8_t alert[2] = {2, reason};
    const struct iovec piece = {(void *)alert, sizeof(alert)}, *iov = &piece;
    size_t offset = 0;
    if (!stream->shut) {
        stream->loop->out_length += tls_record_seal(&stream->records, RECORD_ALERT, &iov, &offset, sizeof(alert), stream->loop->out);
        tls_stream_send(stream);
    }
    stream->broken = stream->shut = true;
}

/* ---- reading ---------------------------------------------------------------------------------------------------------------------------- */

enum { BAD_RECORD_MAC = 20, UNEXPECTED_MESSAGE = 10, RECORD_OVERFLOW = 22 };

/* What a record says that is no data, or nothing. */
static bool take_control(struct tls_stream *stream, enum record_type type, const uint8_t *plain, ssize_t length)
{
    bool good = type == RECORD_DATA        ? true
                : type == RECORD_ALERT     ? take_alert(stream, plain, length)
                : type == RECORD_HANDSHAKE ? take_key_update(stream, plain, length)
                                           : false;
    return good && ++stream->idle_records <= IDLE_RECORDS_MAX;
}

/* Opens the record in front of `input` into `out`, or, where that has no room for it, in its own place, and keeps what is too much. Returns the bytes put
 * there, −1: the stream is broken. */
static ssize_t open_one(struct tls_stream *stream, struct bytes record, uint8_t *out, size_t room)
{
    bool fits = record.len <= room;
    uint8_t *plain = fits ? out : (uint8_t *)record.at + RECORD_HEAD_BYTES + (stream->records.is_13 || stream->records.is_chacha ? 0 : 8);
    enum record_type type;
    ssize_t length = tls_record_open(&stream->records, record, plain, &type);
    if (length < 0) {
        break_off(stream, BAD_RECORD_MAC);
        return -1;
    }
    if (type != RECORD_DATA || length == 0) {
        if (take_control(stream, type, plain, length))
            return 0;
        break_off(stream, UNEXPECTED_MESSAGE);
        return -1;
    }
    stream->idle_records = 0;
    if (fits)
        return length;
    size_t taken = (size_t)length < room ? (size_t)length : room;
    memcpy(out, plain, taken);
    spill_append(&stream->plain, bytes_from((char *)plain + taken, (size_t)length - taken));
    return (ssize_t)taken;
}

/* Opens whole records of *input, and leaves the rest there. */
static size_t open_records(struct tls_stream *stream, struct bytes *input, uint8_t *out, size_t room)
{
    size_t taken = 0, length;
    while (taken < room && !stream->plain && !stream->ended && (length = tls_record_length(*input)) != 0 && length <= input->len) {
        ssize_t opened = open_one(stream, bytes_from(input->at, length), out + taken, room - taken);
        if (opened < 0)
            break;
        taken += (size_t)opened;
        *input = bytes_from(input->at + length, input->len - length);
    }
    if (!stream->broken && tls_record_length(*input) == SIZE_MAX)
        break_off(stream, RECORD_OVERFLOW);
    return taken;
}

static ssize_t outcome(const struct tls_stream *stream, size_t taken)
{
    if (taken > 0)
        return (ssize_t)taken;
    return stream->broken ? CONNECTION_ERROR : stream->ended ? CONNECTION_EOF : CONNECTION_AGAIN;
}

static size_t take_plain(struct tls_stream *stream, void *buffer, size_t capacity)
{
    struct bytes plain = spill_bytes(stream->plain);
    size_t taken = plain.len < capacity ? plain.len : capacity;
    memcpy(buffer, plain.at, taken);
    spill_drop(&stream->plain, taken);
    return taken;
}

/* Input that is worth opening: held, or received now behind what is held. */
static struct bytes gather_input(struct tls_stream *stream, size_t capacity)
{
    struct tls_loop *loop = stream->loop;
    struct bytes held = spill_bytes(stream->in);
    size_t length = tls_record_length(held), most = capacity + RECORD_HEAD_BYTES + 256;
    if (length != 0 && length <= held.len)
        return held;
    if (most > TLS_IN_BYTES - held.len)
        most = TLS_IN_BYTES - held.len;
    ssize_t got = recv(stream->fd, loop->in + held.len, most, 0);
    if (got == 0)
        stream->ended = true; /* without close_notify: HTTP's framing says what is whole */
    else if (got < 0 && errno != EAGAIN && errno != EINTR)
        stream->broken = true;
    if (got <= 0)
        return BYTES_NONE;
    memcpy(loop->in, held.at ? held.at : "", held.len);
    return bytes_from((char *)loop->in, held.len + (size_t)got);
}

ssize_t tls_stream_read(struct tls_stream *stream, void *buffer, size_t capacity)
{
    stream->looks = false;
    if (stream->ssl)
        return tls_ssl_read(stream, buffer, capacity);
    if (stream->plain)
        return (ssize_t)take_plain(stream, buffer, capacity);
    if (stream->ended || stream->broken)
        return outcome(stream, 0);
    struct bytes input = gather_input(stream, capacity);
    if (!input.at)
        return outcome(stream, 0);
    size_t taken = open_records(stream, &input, buffer, capacity);
    struct spill *rest = NULL;
    spill_append(&rest, stream->broken ? BYTES_NONE : input);
    spill_free(&stream->in);
    stream->in = rest;
    return outcome(stream, taken);
}

/* ---- writing ---------------------------------------------------------------------------------------------------------------------------- */

static size_t bytes_left(const struct iovec *iov, const struct iovec *end, size_t offset)
{
    size_t bytes = 0;
    for (const struct iovec *piece = iov; piece < end; piece++)
        bytes += piece->iov_len;
    return bytes - offset;
}

static uint32_t now_ms(const struct tls_stream *stream)
{
    return (uint32_t)loop_now(stream->loop->loop).ms;
}

/* A kernel that is short of memory takes less than it has room for. It was so a moment ago. */
static bool is_memory_scarce(const struct tls_stream *stream)
{
    const struct tls_loop *loop = stream->loop;
    return loop->was_scarce && now_ms(stream) - loop->scarce_ms < SCARCE_MS;
}

static void note_scarcity(const struct tls_stream *stream)
{
    stream->loop->was_scarce = true;
    stream->loop->scarce_ms = now_ms(stream);
}

/* How many sealed bytes may be made of so many plain ones now; `least`, where the kernel has no room. What makes a single record is not worth a system call.
 * *room: what the kernel has room for, 0: that is not known. */
static size_t sealed_max(const struct tls_stream *stream, size_t left, size_t least, size_t *room)
{
    *room = 0;
    if (left <= RECORD_PLAIN_MAX)
        return TLS_OUT_BYTES;
    *room = socket_room(stream->fd).free;
    size_t most = is_memory_scarce(stream) ? RECORD_PLAIN_MAX + RECORD_GROWTH_MAX : TLS_OUT_BYTES;
    if (*room < SEALED_LITTLE_BYTES)
        return least;
    return *room < most ? *room : most;
}

static void begin_burst(struct tls_stream *stream)
{
    uint32_t now = now_ms(stream);
    if (!stream->has_written || now - stream->written_ms > BURST_PAUSE_MS)
        stream->small_left = SMALL_RECORDS;
    stream->has_written = true;
    stream->written_ms = now;
}

/* Of so many plain bytes, where so many sealed ones may be made. 0: too few to be worth a record. */
static size_t next_record_bytes(const struct tls_stream *stream, size_t left, size_t space)
{
    size_t most = stream->records.plain_max;
    if (stream->small_left > 0 && most > SMALL_PLAIN_BYTES)
        most = SMALL_PLAIN_BYTES;
    size_t length = left < most ? left : most;
    if (length + RECORD_GROWTH_MAX <= space)
        return length;
    return space >= SEALED_LITTLE_BYTES ? space - RECORD_GROWTH_MAX : 0;
}

/* Seals what the kernel has room for, `least` at least, as far as the buffer goes. Returns the plain bytes. */
static size_t seal_some(struct tls_stream *stream, const struct iovec **iov, size_t *offset, size_t left, size_t least, size_t *room)
{
    struct tls_loop *loop = stream->loop;
    size_t most = sealed_max(stream, left, least, room), sealed = 0, length;
    while (sealed < left && (length = next_record_bytes(stream, left - sealed, most - loop->out_length)) > 0) {
        stream->small_left -= stream->small_left > 0;
        loop->out_length += tls_record_seal(&stream->records, RECORD_DATA, iov, offset, length, loop->out + loop->out_length);
        sealed += length;
    }
    return sealed;
}

ssize_t tls_stream_writev(struct tls_stream *stream, const struct iovec *iov, int count)
{
    if (stream->ssl)
        return tls_ssl_writev(stream, iov, count);
    if (stream->out && !stream->holds && !tls_stream_flush(stream))
        return CONNECTION_ERROR;
    if (stream->broken || stream->shut)
        return CONNECTION_ERROR;
    if (stream->out && !stream->holds)
        return CONNECTION_AGAIN;
    size_t offset = 0, left = bytes_left(iov, iov + count, 0), written = 0;
    bool ends = stream->ends;
    stream->ends = false;
    begin_burst(stream);
    while (written < left) {
        size_t room;
        size_t sealed = seal_some(stream, &iov, &offset, left - written, written == 0 ? SEALED_LITTLE_BYTES : 0, &room);
        if (sealed == 0)
            break;
        written += sealed;
        bool has_room = stream->loop->out_length <= room;
        if (ends && written == left && stream->loop->out_length + RECORD_GROWTH_MAX + 2 <= TLS_OUT_BYTES)
            tls_stream_put_end(stream);
        if (!tls_stream_send(stream))
            return CONNECTION_ERROR;
        if (stream->out && has_room)
            note_scarcity(stream);
        if (stream->out)
            break;
    }
    return (ssize_t)written;
}
