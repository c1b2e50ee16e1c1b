/* Several parts of one response in one answer: multipart/byteranges, RFC 9110 §14.6, §15.3.7.2.
 *
 * DESIGN. The body is read part by part, and what is offered to the client is what is read, behind the framing of that part:
 *
 *     --boundary CRLF fields CRLF CRLF | bytes of part 1 | CRLF --boundary CRLF fields CRLF CRLF | bytes of part 2 | … | CRLF --boundary-- CRLF
 *
 * All lengths are known in advance, so that the answer has a Content-Length. The boundary is random: nobody can have written it into the body. */
#include "proxy/request/life.h"

#include "base/hash.h"
#include "cache/policy/range.h"

struct parts {
    struct range range;
    unsigned at;            /* the part under way; range.count: its end */
    struct bytes *framings; /* in front of each part, and behind the last; what was sent is cut off */
};

static struct bytes new_boundary(struct arena *arena)
{
    struct hash_key random;
    uint64_t words[2];
    hash_key_random(&random);
    memcpy(words, random.material, sizeof words);
    return arena_printf(arena, "%016lx%016lx", (unsigned long)words[0], (unsigned long)words[1]);
}

/* RFC 9110 §15.3.7.2: each part says what a response of its own would. */
static struct bytes part_framing(struct arena *arena, unsigned number, struct span part, uint64_t length, struct bytes content_type,
                                 struct bytes boundary)
{
    struct bytes type = content_type.at == NULL ? BYTES("") : arena_printf(arena, "Content-Type: %.*s\r\n", BYTES_FMT(content_type));
    return arena_printf(arena, "%s--%.*s\r\n%.*sContent-Range: bytes %lu-%lu/%lu\r\n\r\n", number > 0 ? "\r\n" : "", BYTES_FMT(boundary),
                        BYTES_FMT(type), (unsigned long)part.first, (unsigned long)part.end - 1, (unsigned long)length);
}

static void read_part(struct request *request)
{
    const struct span *part = &request->parts->range.parts[request->parts->at];
    body_set_range(request, part->first, part->end);
}

uint64_t parts_begin(struct request *request, const struct range *range, uint64_t length, struct bytes content_type, struct bytes *boundary)
{
    struct arena *arena = &request->arena;
    struct parts *parts = arena_zalloc(arena, sizeof *parts);
    uint64_t bytes = 0;
    *boundary = new_boundary(arena);
    parts->range = *range;
    parts->framings = arena_alloc(arena, (range->count + 1) * sizeof parts->framings[0]);
    for (unsigned i = 0; i < range->count; i++) {
        parts->framings[i] = part_framing(arena, i, range->parts[i], length, content_type, *boundary);
        bytes += parts->framings[i].len + range->parts[i].end - range->parts[i].first;
    }
    parts->framings[range->count] = arena_printf(arena, "\r\n--%.*s--\r\n", BYTES_FMT(*boundary));
    request->parts = parts;
    read_part(request);
    return bytes + parts->framings[range->count].len;
}

bool parts_are_stored(struct request *request)
{
    const struct range *range = &request->parts->range;
    for (unsigned i = 0; i < range->count; i++) {
        if (!body_is_stored(request, range->parts[i]))
            return false;
    }
    return true;
}

/* When all of the part under way was sent. */
static void begin_next(struct request *request)
{
    struct parts *parts = request->parts;
    parts->at++;
    if (parts->at < parts->range.count)
        read_part(request);
}

enum reader_state parts_peek(struct request *request, struct iovec *iov, int *count, size_t max_bytes)
{
    struct parts *parts = request->parts;
    enum reader_state state = READER_END;
    int body_count = 0;
    struct bytes framing = parts->framings[parts->at];
    int framing_count = framing.len > 0;
    iov[0] = (struct iovec){(char *)framing.at, framing.len};
    if (parts->at < parts->range.count) {
        body_count = *count - framing_count;
        state = body_peek(request, iov + framing_count, &body_count, max_bytes);
        if (state == READER_WAIT && request->slices != NULL && request->response_pending)
            return READER_WAIT; /* the head must not go out yet: see body_failed */
        if (state == READER_END) {
            begin_next(request);
            return parts_peek(request, iov, count, max_bytes);
        }
    }
    *count = framing_count + (state == READER_DATA ? body_count : 0);
    return framing_count > 0 && state != READER_FAILED ? READER_DATA : state;
}

void parts_consume(struct request *request, size_t bytes)
{
    struct parts *parts = request->parts;
    struct bytes *framing = &parts->framings[parts->at];
    size_t of_framing = bytes < framing->len ? bytes : framing->len;
    *framing = bytes_from(framing->at + of_framing, framing->len - of_framing);
    if (bytes > of_framing)
        body_consume(request, bytes - of_framing);
}
