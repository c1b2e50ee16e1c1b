/* Every way a request can end badly: one table gives the enum, the HTTP status and the text (error.tbl). A function returns
 * the error; it is logged once, where the request ends. */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

enum error {
#define ERROR(name, status, text) ERROR_##name,
#include "base/error.tbl"
#undef ERROR
    ERROR_COUNT
};

/* Status to answer with, 0 where no answer is possible. */
unsigned    error_status(enum error error);
/* A sentence without its full stop. Static. */
const char *error_text(enum error error);
/* The enum's name in lower case with hyphens ("origin-refused"), for Cache-Status and metrics. Static. */
const char *error_word(enum error error);

#endif
