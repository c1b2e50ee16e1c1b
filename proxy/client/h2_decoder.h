/* A client's field sections, field by field (RFC 7541). Fragments of a section may be cut anywhere.
 *
 * DESIGN. nghttp2 has the table and decodes everything but one thing: an indexed field of one byte is looked up in its table at once, without its states and copies.
 * Such a field is known again: entries of the table are numbered as they come, so that the same number is the same name and value as long as the connection lives. */
#ifndef CLIENT_H2_DECODER_H
#define CLIENT_H2_DECODER_H

#include "base/bytes.h"

struct nghttp2_hd_inflater;

/* A connection's. */
struct h2_decoder {
    struct nghttp2_hd_inflater *inflater;
    uint64_t inserted;     /* entries that came, in all */
    bool     has_fields;   /* of the section that is coming */
    bool     is_inside;    /* of a field, or a size, that nghttp2 has in part */
    bool     is_size;      /* it is a size */
    bool     inserts;      /* that field, into the table */
    bool     expects_size; /* the client has been told to make his table smaller: a section begins with that (§4.2) */
    uint8_t  index_max;    /* the entries up to this one are there, and may be referred to now; 0: none */
};

struct h2_field {
    struct bytes name, value; /* borrowed until the next call */
    uint64_t     entry;       /* what says the same has the same number; 0: that is not known */
};

enum h2_decoded { H2_DECODED_FIELD, H2_DECODED_ALL, H2_DECODED_ERROR };

void h2_decoder_init(struct h2_decoder *decoder);
void h2_decoder_free(struct h2_decoder *decoder);
/* The client has acknowledged the size that his table may have at most. Not within a section. */
void h2_decoder_resize(struct h2_decoder *decoder, uint32_t bytes);

enum { H2_STATIC_ENTRIES = 61 }; /* RFC 7541, appendix A */

/* Number of the next field's entry; 0: it has none, or nghttp2 is to see it. */
static inline uint64_t h2_decoder_peek(const struct h2_decoder *decoder, struct bytes fragment)
{
    enum { INDEXED = 0x80 }; /* §6.1 */
    unsigned index = (fragment.len > 0 ? (uint8_t)fragment.at[0] : 0U) - INDEXED;
    if (index - 1 >= decoder->index_max || decoder->is_inside) /* index 0 is an error */
        return 0;
    return index <= H2_STATIC_ENTRIES ? index : decoder->inserted + 2 * H2_STATIC_ENTRIES + 1 - index; /* the newest comes first */
}

/* It is known what that field says. */
static inline void h2_decoder_skip(struct h2_decoder *decoder, struct bytes *fragment)
{
    *fragment = bytes_from(fragment->at + 1, fragment->len - 1);
    decoder->has_fields = true;
}

/* Takes the next field off the front of *fragment; H2_DECODED_ALL: there is none left. */
enum h2_decoded h2_decoder_next(struct h2_decoder *decoder, struct bytes *fragment, struct h2_field *field);
/* The section is over. False: within a field, or it lacks a size. */
bool h2_decoder_end(struct h2_decoder *decoder);

#endif
