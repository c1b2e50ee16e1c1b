/* An HTTP/1 request head: from bytes to struct request_head, or to the error that they are (RFC 9112 §2–6).
 *
 * DESIGN. A head is first scanned for its end, line by line, and the scan goes on where it stopped when more bytes come. The scan refuses what llhttp is
 * lenient about (bare CR or LF, folded lines, white space before a field) and reads the request line itself, since llhttp knows only the methods of a list.
 * The field lines of a whole head are then cut, checked and classified in one pass. Only where they frame a body do they go to llhttp as well, in one
 * piece, behind a request line of ours: a copy of a parser that has read it already, and goes on with the body. Both have to accept them.
 * Slices point into the bytes parsed. What the bytes say does not depend on how they were cut into reads.
 */
#ifndef CLIENT_H1_PARSE_H
#define CLIENT_H1_PARSE_H

#include "proxy/request/request.h"

#include <llhttp.h>

/* How far the scan of a head has come. Zeroed: not begun. Offsets count from the first byte given to the scan. */
struct h1_scan {
    uint32_t start;     /* of the request line */
    uint32_t line;      /* of the first line that is not complete; behind the empty line when the head is */
    uint32_t method_len, target_at, target_len;
    uint8_t  empty_lines, version_minor;
    bool     has_request_line;
};

enum h1_scan_outcome { H1_SCAN_PARTIAL, H1_SCAN_COMPLETE, H1_SCAN_BAD };

/* `input` is what was given before, and more. On H1_SCAN_BAD *error says why. */
enum h1_scan_outcome h1_scan_head(struct h1_scan *scan, struct bytes input, const struct config *config, enum error *error);

/* What the scan has read of the request line, for the log of a request that is refused. */
void h1_note_request_line(const struct h1_scan *scan, struct bytes input, struct request_head *head);

struct h1_framing {
    bool     has_body, chunked;
    bool     expects_continue;
    uint64_t length; /* unless chunked */
};

/* A parser that has read a request line; copied for each head that frames a body. */
void h1_parser_init(llhttp_t *fresh);

/* Parses a head that h1_scan_head found complete. Fills `head` (as far as it came, on an error) except `upload`, and `framing`. With a body, `parser`
 * becomes a copy of the fresh one that is ready for h1_parser_begin_body. */
enum error h1_parse_head(const struct h1_scan *scan, struct bytes input, const struct config *config, const llhttp_t *fresh, llhttp_t *parser,
                         struct request_head *head, struct h1_framing *framing);

/* The body's bytes go to `parser` from now on, with the caller's callbacks and data. */
void h1_parser_begin_body(llhttp_t *parser, const llhttp_settings_t *settings, void *data);

#endif
