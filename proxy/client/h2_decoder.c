/* See h2_decoder.h. */
#include "proxy/client/h2_decoder.h"

#include <assert.h>
#include <nghttp2/nghttp2.h>

/* §6: kinds of representations, by their first bits */
enum { INSERTED = 0x40, INSERTED_MASK = 0xc0, SIZE_UPDATE = 0x20, SIZE_UPDATE_MASK = 0xe0 };
enum { SHORT_INDEX_MAX = 126 /* of one byte */, SHORT_INDEX_MASK = 127, LONG_NUMBER = 0x80 /* §5.1: more of it follows */ };

/* The table has changed. */
static void count_entries(struct h2_decoder *decoder)
{
    size_t count = nghttp2_hd_inflate_get_num_table_entries(decoder->inflater); /* those of the static table included */
    decoder->index_max = decoder->expects_size ? 0 : count < SHORT_INDEX_MAX ? (uint8_t)count : SHORT_INDEX_MAX;
}

void h2_decoder_init(struct h2_decoder *decoder)
{
    *decoder = (struct h2_decoder){.inserted = 0};
    int result = nghttp2_hd_inflate_new(&decoder->inflater);
    assert(result == 0);
    (void)result;
    count_entries(decoder);
}

void h2_decoder_free(struct h2_decoder *decoder)
{
    if (decoder->inflater)
        nghttp2_hd_inflate_del(decoder->inflater);
    decoder->inflater = NULL;
}

void h2_decoder_resize(struct h2_decoder *decoder, uint32_t bytes)
{
    decoder->expects_size = bytes < nghttp2_hd_inflate_get_max_dynamic_table_size(decoder->inflater);
    int result = nghttp2_hd_inflate_change_table_size(decoder->inflater, bytes);
    assert(result == 0);
    (void)result;
    count_entries(decoder);
}

static struct h2_field field_of(const nghttp2_nv *nv, uint64_t entry)
{
    return (struct h2_field){bytes_from((const char *)nv->name, nv->namelen), bytes_from((const char *)nv->value, nv->valuelen), entry};
}

/* §6.3, §4.2: sizes are said before all fields, of which nghttp2 has not seen those that were looked up. It gets a size byte by byte, so that the field behind it
 * is seen here. */
static size_t inflate_size(struct h2_decoder *decoder, const uint8_t *at)
{
    nghttp2_nv nv;
    int flags = 0;
    bool goes_on = decoder->is_inside ? (*at & LONG_NUMBER) : (*at & (uint8_t)~SIZE_UPDATE_MASK) == (uint8_t)~SIZE_UPDATE_MASK;
    if (decoder->has_fields || nghttp2_hd_inflate_hd2(decoder->inflater, &nv, &flags, at, 1, 0) != 1)
        return 0;
    decoder->is_inside = decoder->is_size = goes_on;
    count_entries(decoder);
    return 1;
}

static enum h2_decoded inflate_field(struct h2_decoder *decoder, struct bytes *fragment, struct h2_field *field)
{
    nghttp2_nv nv;
    int flags = 0;
    if (!decoder->is_inside)
        decoder->inserts = ((uint8_t)fragment->at[0] & INSERTED_MASK) == INSERTED;
    ssize_t used = nghttp2_hd_inflate_hd2(decoder->inflater, &nv, &flags, (const uint8_t *)fragment->at, fragment->len, 0);
    if (used < 0)
        return H2_DECODED_ERROR;
    *fragment = bytes_from(fragment->at + used, fragment->len - (size_t)used);
    decoder->is_inside = !(flags & NGHTTP2_HD_INFLATE_EMIT);
    if (decoder->is_inside)
        return H2_DECODED_ALL;
    decoder->has_fields = true;
    decoder->expects_size = false;
    decoder->inserted += decoder->inserts;
    count_entries(decoder);
    *field = field_of(&nv, 0);
    return H2_DECODED_FIELD;
}

static bool is_size(const struct h2_decoder *decoder, uint8_t byte)
{
    return decoder->is_inside ? decoder->is_size : (byte & SIZE_UPDATE_MASK) == SIZE_UPDATE;
}

enum h2_decoded h2_decoder_next(struct h2_decoder *decoder, struct bytes *fragment, struct h2_field *field)
{
    uint64_t entry = h2_decoder_peek(decoder, *fragment);
    if (entry > 0) {
        *field = field_of(nghttp2_hd_inflate_get_table_entry(decoder->inflater, (uint8_t)fragment->at[0] & SHORT_INDEX_MASK), entry);
        h2_decoder_skip(decoder, fragment);
        return H2_DECODED_FIELD;
    }
    while (fragment->len > 0 && is_size(decoder, (uint8_t)fragment->at[0])) {
        if (inflate_size(decoder, (const uint8_t *)fragment->at) == 0)
            return H2_DECODED_ERROR;
        *fragment = bytes_from(fragment->at + 1, fragment->len - 1);
    }
    return fragment->len > 0 ? inflate_field(decoder, fragment, field) : H2_DECODED_ALL;
}

bool h2_decoder_end(struct h2_decoder *decoder)
{
    nghttp2_nv nv;
    int flags = 0;
    bool is_whole =
        !(decoder->is_inside || decoder->expects_size) || nghttp2_hd_inflate_hd2(decoder->inflater, &nv, &flags, NULL, 0, 1) == 0;
    nghttp2_hd_inflate_end_headers(decoder->inflater);
    decoder->has_fields = decoder->is_inside = decoder->is_size = false;
    return is_whole;
}
