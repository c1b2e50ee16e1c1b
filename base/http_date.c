/* See http_date.h. Dates are computed, not handed to libc: strptime and timegm know locales, time zones and a lock. */
#include "base/http_date.h"

#include <assert.h>

enum { SECONDS_PER_DAY = 86400 };
static const int64_t fifty_years_s = 50 * 31556952LL; /* of 365.2425 days */

static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char day_names[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char day_names_long[7][10] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};

struct civil {
    int64_t year;
    unsigned month, day; /* from 1 */
    unsigned hour, minute, second;
};

/* Days since 1970-01-01 in the proleptic Gregorian calendar. Years start in March here, so that the leap day is the last of its year,
 * and are counted in eras of 400, which all have 146097 days. */
static int64_t days_from_civil(int64_t year, unsigned month, unsigned day)
{
    if (month <= 2)
        year--;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static struct civil civil_from_days(int64_t days)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned day_of_era = (unsigned)(days - era * 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned march_month = (5 * day_of_year + 2) / 153;
    unsigned month = march_month < 10 ? march_month + 3 : march_month - 9;
    return (struct civil){
        .year = era * 400 + year_of_era + (month <= 2),
        .month = month,
        .day = day_of_year - (153 * march_month + 2) / 5 + 1,
    };
}

static int64_t seconds_from_civil(const struct civil *civil)
{
    return days_from_civil(civil->year, civil->month, civil->day) * SECONDS_PER_DAY + civil->hour * 3600 + civil->minute * 60 +
           civil->second;
}

static unsigned days_in_month(int64_t year, unsigned month)
{
    static const unsigned char days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

/* The take_ functions read one part of a date from the front of *text, and return false when it is not there.
 * RFC 9111 §4.2: a cache matches dates without case, although RFC 9110 §5.6.7 makes them case-sensitive. */

static bool take_literal(struct bytes *text, struct bytes literal)
{
    if (text->len < literal.len || !bytes_equal_nocase(bytes_from(text->at, literal.len), literal))
        return false;
    *text = bytes_from(text->at + literal.len, text->len - literal.len);
    return true;
}

static bool take_number(struct bytes *text, size_t digits, unsigned *number)
{
    uint64_t value;
    if (text->len < digits || !bytes_parse_u64(bytes_from(text->at, digits), &value))
        return false;
    *number = (unsigned)value;
    *text = bytes_from(text->at + digits, text->len - digits);
    return true;
}

static bool take_month(struct bytes *text, unsigned *month)
{
    for (*month = 1; *month <= 12; ++*month) {
        if (take_literal(text, bytes_from(month_names[*month - 1], 3)))
            return true;
    }
    return false;
}

static bool take_day_name(struct bytes *text)
{
    for (unsigned day = 0; day < 7; day++) {
        if (take_literal(text, bytes_from(day_names[day], 3)))
            return true;
    }
    return false;
}

static bool take_long_day_name(struct bytes *text)
{
    for (unsigned day = 0; day < 7; day++) {
        if (take_literal(text, bytes_from_string(day_names_long[day])))
            return true;
    }
    return false;
}

static bool take_time(struct bytes *text, struct civil *civil)
{
    return take_number(text, 2, &civil->hour) && take_literal(text, BYTES(":")) && take_number(text, 2, &civil->minute) &&
           take_literal(text, BYTES(":")) && take_number(text, 2, &civil->second);
}

/* The number that two digits make; more than 99 where they are none. */
static inline unsigned two_digits(const char *at)
{
    unsigned tens = (unsigned)(unsigned char)at[0] - '0', ones = (unsigned)(unsigned char)at[1] - '0';
    return tens <= 9 && ones <= 9 ? tens * 10 + ones : 100;
}

/* Which of `count` names of three letters it is, counted from 0; `count`: none. */
static inline unsigned name_number(const char (*names)[4], unsigned count, const char *at)
{
    char name[4] = {at[0], at[1], at[2]};
    unsigned number = 0;
    while (number < count && memcmp(name, names[number], sizeof name) != 0) /* four bytes: one comparison */
        number++;
    return number;
}

/* A fixdate as senders must write it: letter by letter, which nearly all are. False: look again, with the leniency of the others. */
static bool parse_exact(struct bytes text, struct civil *civil)
{
    const char *at = text.at;
    if (text.len != HTTP_DATE_LEN || memcmp(at + 3, ", ", 2) != 0 || at[7] != ' ' || at[11] != ' ' || at[16] != ' ' || at[19] != ':' ||
        at[22] != ':' || memcmp(at + 25, " GMT", 4) != 0)
        return false;
    unsigned century = two_digits(at + 12), year = two_digits(at + 14);
    *civil = (struct civil){
        .year = century * 100 + year,
        .month = name_number(month_names, 12, at + 8) + 1,
        .day = two_digits(at + 5),
        .hour = two_digits(at + 17),
        .minute = two_digits(at + 20),
        .second = two_digits(at + 23),
    };
    return century < 100 && year < 100 && civil->month <= 12 && civil->day < 100 && civil->hour < 100 && civil->minute < 100 &&
           civil->second < 100 && name_number(day_names, 7, at) < 7;
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static bool parse_imf_fixdate(struct bytes text, struct civil *civil)
{
    unsigned year;
    bool ok = take_day_name(&text) && take_literal(&text, BYTES(", ")) && take_number(&text, 2, &civil->day) &&
              take_literal(&text, BYTES(" ")) && take_month(&text, &civil->month) && take_literal(&text, BYTES(" ")) &&
              take_number(&text, 4, &year) && take_literal(&text, BYTES(" ")) && take_time(&text, civil) &&
              take_literal(&text, BYTES(" GMT"));
    civil->year = ok ? year : 0;
    return ok && text.len == 0;
}

/* "Sun Nov  6 08:49:37 1994" */
static bool parse_asctime(struct bytes text, struct civil *civil)
{
    unsigned year;
    bool ok = take_day_name(&text) && take_literal(&text, BYTES(" ")) && take_month(&text, &civil->month) &&
              take_literal(&text, BYTES(" ")) &&
              (take_literal(&text, BYTES(" ")) ? take_number(&text, 1, &civil->day) : take_number(&text, 2, &civil->day)) &&
              take_literal(&text, BYTES(" ")) && take_time(&text, civil) && take_literal(&text, BYTES(" ")) && take_number(&text, 4, &year);
    civil->year = ok ? year : 0;
    return ok && text.len == 0;
}

/* "Sunday, 06-Nov-94 08:49:37 GMT" */
static bool parse_rfc850(struct bytes text, struct wall_seconds now, struct civil *civil)
{
    unsigned year;
    bool ok = take_long_day_name(&text) && take_literal(&text, BYTES(", ")) && take_number(&text, 2, &civil->day) &&
              take_literal(&text, BYTES("-")) && take_month(&text, &civil->month) && take_literal(&text, BYTES("-")) &&
              take_number(&text, 2, &year) && take_literal(&text, BYTES(" ")) && take_time(&text, civil) &&
              take_literal(&text, BYTES(" GMT"));
    if (!ok || text.len != 0)
        return false;
    /* RFC 9110 §5.6.7: the latest year of these two digits that is not more than 50 years ahead. */
    int64_t this_year = civil_from_days(now.s / SECONDS_PER_DAY).year;
    civil->year = this_year - this_year % 100 + 100 + year;
    while (seconds_from_civil(civil) - now.s > fifty_years_s)
        civil->year -= 100;
    return true;
}

static bool civil_is_valid(const struct civil *civil)
{
    /* RFC 9110 §5.6.7 allows a leap second; it counts as the first second of the next minute. */
    return civil->day >= 1 && civil->day <= days_in_month(civil->year, civil->month) && civil->hour <= 23 && civil->minute <= 59 &&
           civil->second <= 60;
}

bool http_date_parse(struct bytes text, struct wall_seconds now, struct wall_seconds *date)
{
    struct civil civil;
    bool ok;
    if (text.len < 4)
        return false;
    if (text.at[3] == ',')
        ok = parse_exact(text, &civil) || parse_imf_fixdate(text, &civil);
    else if (text.at[3] == ' ')
        ok = parse_asctime(text, &civil);
    else
        ok = parse_rfc850(text, now, &civil);
    if (!ok || !civil_is_valid(&civil))
        return false;
    date->s = seconds_from_civil(&civil);
    return true;
}

static char *put_two_digits(char *at, unsigned number)
{
    at[0] = (char)('0' + number / 10);
    at[1] = (char)('0' + number % 10);
    return at + 2;
}

static char *put_text(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

struct moment {
    int64_t days;
    struct civil civil;
};

static struct moment moment_of(struct wall_seconds date)
{
    static const int64_t first = -62167219200, last = 253402300799; /* years 0000 to 9999: what the formats can hold */
    int64_t seconds = date.s < first ? first : date.s > last ? last : date.s;
    int64_t days = seconds / SECONDS_PER_DAY - (seconds % SECONDS_PER_DAY < 0);
    unsigned second_of_day = (unsigned)(seconds - days * SECONDS_PER_DAY);
    struct moment moment = {days, civil_from_days(days)};
    moment.civil.hour = second_of_day / 3600;
    moment.civil.minute = second_of_day / 60 % 60;
    moment.civil.second = second_of_day % 60;
    return moment;
}

static char *put_year(char *at, const struct civil *civil)
{
    at = put_two_digits(at, (unsigned)civil->year / 100);
    return put_two_digits(at, (unsigned)civil->year % 100);
}

static char *put_time(char *at, const struct civil *civil)
{
    at = put_two_digits(at, civil->hour);
    *at++ = ':';
    at = put_two_digits(at, civil->minute);
    *at++ = ':';
    return put_two_digits(at, civil->second);
}

void http_date_format(struct wall_seconds date, char out[HTTP_DATE_LEN])
{
    struct moment moment = moment_of(date);
    char *at = put_text(out, day_names[((moment.days + 4) % 7 + 7) % 7], 3); /* 1970-01-01 was a Thursday */
    at = put_text(at, ", ", 2);
    at = put_two_digits(at, moment.civil.day);
    *at++ = ' ';
    at = put_text(at, month_names[moment.civil.month - 1], 3);
    *at++ = ' ';
    at = put_year(at, &moment.civil);
    *at++ = ' ';
    at = put_time(at, &moment.civil);
    at = put_text(at, " GMT", 4);
    assert(at == out + HTTP_DATE_LEN);
}

void iso_date_format(struct wall_seconds date, char out[ISO_DATE_LEN])
{
    struct moment moment = moment_of(date);
    char *at = put_year(out, &moment.civil);
    *at++ = '-';
    at = put_two_digits(at, moment.civil.month);
    *at++ = '-';
    at = put_two_digits(at, moment.civil.day);
    *at++ = 'T';
    at = put_time(at, &moment.civil);
    assert(at == out + ISO_DATE_LEN);
}
