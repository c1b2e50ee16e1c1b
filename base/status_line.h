/* Status lines as they usually are (RFC 9112 §4): of this version of HTTP, with the registered reason phrase; the rows are in status_line.tbl. */
#ifndef BASE_STATUS_LINE_H
#define BASE_STATUS_LINE_H

#include "base/bytes.h"

/* "HTTP/1.1 200 OK\r\n"; empty for a status that has no row. Static. */
struct bytes status_line_usual(unsigned status);
/* "OK", which is its end; empty for a status that has no row. Static. */
struct bytes status_phrase(unsigned status);

#endif
