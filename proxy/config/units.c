#include "proxy/config/units.h"

#include <inttypes.h>
#include <stdio.h>

struct unit {
    struct bytes name;
    uint64_t factor;
};

#define KI UINT64_C(1024)
#define K  UINT64_C(1000)

/* Largest first in each family: the formatter takes the first that divides. */
static const struct unit size_units[] = {
    {BYTES("TiB"), KI *KI *KI *KI}, {BYTES("GiB"), KI *KI *KI}, {BYTES("MiB"), KI *KI}, {BYTES("KiB"), KI}, {BYTES("TB"), K *K *K *K},
    {BYTES("GB"), K *K *K},         {BYTES("MB"), K *K},        {BYTES("KB"), K},       {BYTES("B"), 1},
};

static const struct unit duration_units[] = {
    {BYTES("d"), 86400000}, {BYTES("h"), 3600000}, {BYTES("m"), 60000}, {BYTES("s"), 1000}, {BYTES("ms"), 1},
};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

const char size_units_hint[] = "units are B, KiB, MiB, GiB, TiB (powers of 1024) and KB, MB, GB, TB (powers of 1000)";
const char duration_units_hint[] = "units are ms, s, m, h, d";

static enum unit_error value_parse(struct bytes text, const struct unit *units, size_t unit_count, bool any_case, uint64_t limit,
                                   uint64_t *value)
{
    size_t digits = 0;
    uint64_t number;

    if (text.len > 1 && text.at[0] == '-' && text.at[1] >= '0' && text.at[1] <= '9')
        return UNIT_NEGATIVE;
    while (digits < text.len && text.at[digits] >= '0' && text.at[digits] <= '9')
        digits++;
    if (digits == 0)
        return UNIT_NOT_A_NUMBER;
    if (digits < text.len && (text.at[digits] == '.' || text.at[digits] == ','))
        return UNIT_FRACTION;
    if (!bytes_parse_u64(bytes_from(text.at, digits), &number))
        return UNIT_TOO_LARGE;
    struct bytes name = bytes_trim(bytes_from(text.at + digits, text.len - digits));
    if (name.len == 0) {
        *value = 0;
        return number == 0 ? UNIT_OK : UNIT_MISSING;
    }
    for (size_t i = 0; i < unit_count; i++) {
        if (any_case ? !bytes_equal_nocase(name, units[i].name) : !bytes_equal(name, units[i].name))
            continue;
        if (number > limit / units[i].factor)
            return UNIT_TOO_LARGE;
        *value = number * units[i].factor;
        return UNIT_OK;
    }
    return UNIT_UNKNOWN;
}

enum unit_error size_parse(struct bytes text, uint64_t *bytes)
{
    return value_parse(text, size_units, COUNT_OF(size_units), true, INT64_MAX, bytes);
}

enum unit_error duration_parse(struct bytes text, int64_t *ms)
{
    uint64_t value = 0;
    enum unit_error error = value_parse(text, duration_units, COUNT_OF(duration_units), false, INT64_MAX, &value);

    *ms = (int64_t)value;
    return error;
}

static void value_format(uint64_t value, const struct unit *units, size_t unit_count, char out[UNIT_TEXT_MAX])
{
    for (size_t i = 0; i < unit_count && value > 0; i++) {
        if (value % units[i].factor == 0) {
            snprintf(out, UNIT_TEXT_MAX, "%" PRIu64 "%s", value / units[i].factor, units[i].name.at);
            return;
        }
    }
    snprintf(out, UNIT_TEXT_MAX, "0");
}

void size_format(uint64_t bytes, char out[UNIT_TEXT_MAX])
{
    value_format(bytes, size_units, COUNT_OF(size_units), out);
}

void duration_format(int64_t ms, char out[UNIT_TEXT_MAX])
{
    value_format((uint64_t)ms, duration_units, COUNT_OF(duration_units), out);
}
