/* What a request is called in several servers' logs: X-Request-Id, kept where the client or a proxy in front sent one that can stand in a log, else made. */
#include "proxy/request/life.h"

#include <stdlib.h>
#include <sys/random.h>

enum { ID_MAX_BYTES = 64 };

bool field_is_request_id(const struct header *field)
{
    static const char name[] = "x-request-id";
    if (field->id != HEADER_OTHER || field->name.len != strlen(name))
        return false;
    for (size_t i = 0; i < field->name.len; i++) /* in a CGI's environment an underscore and a hyphen are the same */
        if ((field->name.at[i] == '_' ? '-' : byte_lower(field->name.at[i])) != name[i])
            return false;
    return true;
}

static bool is_usable(struct bytes id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = byte_lower(id.at[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && !memchr("-._~+/=:@", c, 9))
            return false;
    }
    return id.len > 0 && id.len <= ID_MAX_BYTES;
}

struct bytes request_given_id(const struct request *request)
{
    const struct headers *fields = &request->head.fields;
    for (unsigned i = 0; i < fields->count; i++)
        if (field_is_request_id(&fields->at[i]))
            return is_usable(fields->at[i].value) ? fields->at[i].value : BYTES_NONE;
    return BYTES_NONE;
}

/* Sixteen hexadecimal digits. */
static void put_word(char *at, uint64_t word)
{
    for (unsigned i = 0; i < 16; i++)
        at[i] = "0123456789abcdef"[word >> (60 - i * 4) & 15];
}

/* Adds one to the number that sixteen hexadecimal digits are. */
static void count_up(char *digits)
{
    unsigned i = 16;
    while (i > 0 && digits[i - 1] == 'f')
        digits[--i] = '0';
    if (i > 0)
        digits[i - 1] = digits[i - 1] == '9' ? 'a' : (char)(digits[i - 1] + 1);
}

/* Of one thread: a random beginning, and a number that it gives once. */
static struct bytes make_id(struct arena *arena)
{
    static _Thread_local char id[32];
    uint64_t beginning;
    if (id[0] == 0) {
        if (getrandom(&beginning, sizeof beginning, 0) != (ssize_t)sizeof beginning)
            abort(); /* up to 256 bytes come whole */
        put_word(id, beginning);
        put_word(id + 16, 0);
    }
    count_up(id + 16);
    return bytes_from(memcpy(arena_alloc(arena, sizeof id), id, sizeof id), sizeof id);
}

void request_name(struct request *request)
{
    if (request->id.at != NULL)
        return;
    struct bytes given = request_given_id(request);
    request->id = given.at != NULL ? arena_copy(&request->arena, given) : make_id(&request->arena);
}
