/* Sizes and durations as people write them in the configuration: "256MiB", "10s". A bare number other than 0 is refused, because nobody can tell what it
 * counts. */
#ifndef CONFIG_UNITS_H
#define CONFIG_UNITS_H

#include "base/bytes.h"

enum unit_error { UNIT_OK, UNIT_NOT_A_NUMBER, UNIT_NEGATIVE, UNIT_FRACTION, UNIT_MISSING, UNIT_UNKNOWN, UNIT_TOO_LARGE };

/* B, KiB, MiB, GiB, TiB (powers of 1024) and KB, MB, GB, TB (powers of 1000), in any case, white space before them allowed. */
enum unit_error size_parse(struct bytes text, uint64_t *bytes);
/* ms, s, m, h, d; case counts. */
enum unit_error duration_parse(struct bytes text, int64_t *ms);

extern const char size_units_hint[], duration_units_hint[];

enum { UNIT_TEXT_MAX = 32 };

/* The largest unit that divides the value exactly, NUL-terminated; what the parsers above read back to the same value. */
void size_format(uint64_t bytes, char out[UNIT_TEXT_MAX]);
void duration_format(int64_t ms, char out[UNIT_TEXT_MAX]);

#endif
