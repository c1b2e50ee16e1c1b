/* HTTP dates, RFC 9110 §5.6.7. */
#ifndef BASE_HTTP_DATE_H
#define BASE_HTTP_DATE_H

#include "base/bytes.h"
#include "base/clock.h"

enum { HTTP_DATE_LEN = 29 }; /* "Sun, 06 Nov 1994 08:49:37 GMT" */

/* All three formats (IMF-fixdate, RFC 850, asctime). A two-digit year more than 50 years ahead of `now` is in the past.
 * False on anything else: day names are checked for form, not against the date. */
bool http_date_parse(struct bytes text, struct wall_seconds now, struct wall_seconds *date);

/* IMF-fixdate; writes exactly HTTP_DATE_LEN bytes, no NUL. */
void http_date_format(struct wall_seconds date, char out[HTTP_DATE_LEN]);

enum { ISO_DATE_LEN = 19 }; /* "1994-11-06T08:49:37" */

/* UTC, for logs; writes exactly ISO_DATE_LEN bytes, no NUL. Takes no lock of the C library's, unlike gmtime_r: signal handlers log too. */
void iso_date_format(struct wall_seconds date, char out[ISO_DATE_LEN]);

#endif
