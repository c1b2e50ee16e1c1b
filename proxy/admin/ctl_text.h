/* Text for a terminal. */
#ifndef ADMIN_CTL_TEXT_H
#define ADMIN_CTL_TEXT_H

#include <stddef.h>

/* What a stranger may have written, so that it cannot talk to the terminal: control characters (ISO 6429's second set included) as \xNN for each of their
 * bytes. Cut where it does not fit whole, at a character; NUL-terminated. Returns how many columns it takes, one for a character. */
size_t ctl_safe_text(char *out, size_t size, const char *text);

/* Of the character in front of a text that is not empty; it is UTF-8, as JSON is. */
size_t ctl_character_bytes(const char *at);

/* "1.5 GiB", "17 KiB", "3 B". */
void ctl_format_bytes(char *out, size_t size, double bytes);

#endif
