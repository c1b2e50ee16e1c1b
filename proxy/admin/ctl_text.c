#include "proxy/admin/ctl_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

size_t ctl_character_bytes(const char *at)
{
    size_t length = 1;
    while (((unsigned char)at[length] & 0xc0) == 0x80)
        length++;
    return length;
}

/* Characters that change how others are shown are as bad as control characters: U+200E, U+200F, U+2028 to U+202E, U+2066 to U+2069. */
static bool is_control(const char *at)
{
    unsigned char first = (unsigned char)at[0], second = (unsigned char)at[1], third = second ? (unsigned char)at[2] : 0;
    return first < 0x20 || first == 0x7f || (first == 0xc2 && second < 0xa0) ||
           (first == 0xe2 && second == 0x80 && ((third >= 0x8e && third <= 0x8f) || (third >= 0xa8 && third <= 0xae))) ||
           (first == 0xe2 && second == 0x81 && third >= 0xa6 && third <= 0xa9);
}

size_t ctl_safe_text(char *out, size_t size, const char *text)
{
    size_t columns = 0, used = 0;
    while (*text) {
        size_t length = ctl_character_bytes(text);
        bool is_escaped = is_control(text);
        size_t needed = is_escaped ? 4 * length : length;
        if (size - used <= needed)
            break;
        for (size_t i = 0; is_escaped && i < length; i++)
            snprintf(out + used + 4 * i, 5, "\\x%02x", (unsigned char)text[i]);
        if (!is_escaped)
            memcpy(out + used, text, length);
        used += needed;
        columns += is_escaped ? needed : 1;
        text += length;
    }
    out[used] = '\0';
    return columns;
}

void ctl_format_bytes(char *out, size_t size, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    unsigned unit = 0;
    while (bytes >= 1024 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1024;
        unit++;
    }
    snprintf(out, size, unit == 0 || bytes >= 100 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}
