/* Field sections as nghttp2 encodes them for a client, and as nobody should: against nghttp2's decoder alone. */
#include "proxy/client/h2_decoder.h"

#include <criterion/criterion.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>

enum { TEXT_BYTES = 256 * 1024, FIELDS_MAX = 24, BLOCK_BYTES = 16 * 1024 };

static uint64_t state = 88172645463325252;

static unsigned any(unsigned below)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (unsigned)((state >> 11) % below);
}

/* --- ours, and nghttp2's --- */

struct decoded {
    char text[TEXT_BYTES]; /* "name: value\n" */
    bool is_good;
};

static char *add(char *out, struct bytes name, struct bytes value)
{
    return out + sprintf(out, "%.*s: %.*s\n", BYTES_FMT(name), BYTES_FMT(value));
}

static char known[4096][128]; /* by their entries */

/* What has an entry says the same as it did under that number before. */
static void check_entry(const struct h2_field *field)
{
    char line[128];
    if (field->entry == 0 || field->entry >= 4096 || field->name.len + field->value.len > 100)
        return;
    snprintf(line, sizeof(line), "%.*s: %.*s", BYTES_FMT(field->name), BYTES_FMT(field->value));
    if (known[field->entry][0])
        cr_assert_str_eq(known[field->entry], line, "%u", (unsigned)field->entry);
    strcpy(known[field->entry], line);
}

/* In fragments of `piece` bytes. */
static void decode(struct h2_decoder *decoder, struct bytes block, size_t piece, struct decoded *result)
{
    char *out = result->text;
    result->is_good = true;
    for (size_t at = 0; at < block.len && result->is_good; at += piece) {
        struct bytes fragment = bytes_from(block.at + at, block.len - at < piece ? block.len - at : piece);
        struct h2_field field;
        enum h2_decoded is;
        while ((is = h2_decoder_next(decoder, &fragment, &field)) == H2_DECODED_FIELD) {
            check_entry(&field);
            out = add(out, field.name, field.value);
        }
        result->is_good = is == H2_DECODED_ALL;
    }
    result->is_good = result->is_good && h2_decoder_end(decoder);
    *out = '\0';
}

static void decode_by_nghttp2(nghttp2_hd_inflater *inflater, struct bytes block, struct decoded *result)
{
    const uint8_t *at = (const uint8_t *)block.at, *end = at + block.len;
    char *out = result->text;
    int flags = 0;
    *out = '\0';
    result->is_good = false;
    while (!(flags & NGHTTP2_HD_INFLATE_FINAL)) {
        nghttp2_nv nv;
        ssize_t used = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, at, (size_t)(end - at), 1);
        if (used < 0)
            return;
        at += used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            out = add(out, bytes_from((char *)nv.name, nv.namelen), bytes_from((char *)nv.value, nv.valuelen));
    }
    nghttp2_hd_inflate_end_headers(inflater);
    result->is_good = true;
}

static struct decoded ours, theirs;

/* --- what clients say --- */

static nghttp2_nv field_of(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value), any(9) ? 0 : NGHTTP2_NV_FLAG_NO_INDEX};
}

/* Some fields that are always the same, some that seldom are. */
static size_t encode(nghttp2_hd_deflater *deflater, char *block)
{
    static const char *const names[] = {":path",      "cookie",     "accept", "x-a", "x-much-longer-than-the-others",
                                        "user-agent", ":authority", "x-b"};
    static char values[FIELDS_MAX][300];
    nghttp2_nv fields[FIELDS_MAX];
    size_t count = any(FIELDS_MAX);
    for (size_t i = 0; i < count; i++) {
        int length = any(20) ? (int)any(4) : (int)any(280);
        snprintf(values[i], sizeof(values[i]), "%0*u", length, any(3) ? any(4) : any(1000));
        fields[i] = field_of(names[any(8)], values[i]);
    }
    ssize_t length = nghttp2_hd_deflate_hd(deflater, (uint8_t *)block, BLOCK_BYTES, fields, count);
    cr_assert_geq(length, 0);
    return (size_t)length;
}

Test(h2_decoder, says_what_was_encoded_however_it_is_cut)
{
    static char block[BLOCK_BYTES];
    nghttp2_hd_deflater *deflater;
    nghttp2_hd_inflater *inflater;
    struct h2_decoder decoder;
    h2_decoder_init(&decoder);
    nghttp2_hd_inflate_new(&inflater);
    nghttp2_hd_deflate_new(&deflater, 4096);
    for (unsigned round = 0; round < 3000; round++) {
        if (any(40) == 0)
            nghttp2_hd_deflate_change_table_size(deflater, any(2) ? 4096 : any(4096));
        struct bytes said = bytes_from(block, encode(deflater, block));
        decode(&decoder, said, any(3) ? BLOCK_BYTES : 1 + any(20), &ours);
        decode_by_nghttp2(inflater, said, &theirs);
        cr_assert(ours.is_good && theirs.is_good, "%u", round);
        cr_assert_str_eq(ours.text, theirs.text);
    }
    h2_decoder_free(&decoder);
    nghttp2_hd_inflate_del(inflater);
    nghttp2_hd_deflate_del(deflater);
}

/* Blocks that are damaged: an error for the one is one for the other, and what comes before it is the same. */
Test(h2_decoder, refuses_what_nghttp2_refuses)
{
    static char block[BLOCK_BYTES];
    unsigned refused = 0;
    for (unsigned round = 0; round < 4000; round++) {
        nghttp2_hd_deflater *deflater;
        nghttp2_hd_inflater *inflater;
        struct h2_decoder decoder;
        memset(known, 0, sizeof(known));
        h2_decoder_init(&decoder);
        nghttp2_hd_inflate_new(&inflater);
        nghttp2_hd_deflate_new(&deflater, 4096);
        if (any(4) == 0) { /* the client has to say that its table is smaller */
            h2_decoder_resize(&decoder, 200);
            nghttp2_hd_inflate_change_table_size(inflater, 200);
            if (any(2))
                nghttp2_hd_deflate_change_table_size(deflater, 200);
        }
        ours.is_good = true;
        for (unsigned i = 0; i < 6 && ours.is_good; i++) {
            size_t length = encode(deflater, block);
            for (unsigned damage = any(3); i > 2 && damage > 0 && length > 0; damage--)
                block[any((unsigned)length)] = (char)(any(3) ? 0x20 | any(32) : 0x80 | any(128));
            if (i > 2 && any(5) == 0)
                length -= length ? any((unsigned)length) : 0;
            struct bytes said = bytes_from(block, length);
            decode(&decoder, said, any(3) ? BLOCK_BYTES : 1 + any(20), &ours);
            decode_by_nghttp2(inflater, said, &theirs);
            cr_assert_eq(ours.is_good, theirs.is_good, "%u, %u", round, i);
            if (ours.is_good)
                cr_assert_str_eq(ours.text, theirs.text);
        }
        refused += !ours.is_good;
        h2_decoder_free(&decoder);
        nghttp2_hd_inflate_del(inflater);
        nghttp2_hd_deflate_del(deflater);
    }
    cr_assert(refused > 500 && refused < 3900, "%u", refused);
}
