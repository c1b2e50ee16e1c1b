#include "choice.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS_MAX = 20 }; /* of an object's number */

/* splitmix64 */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static uint64_t random_below(uint64_t *state, uint64_t limit)
{
    return (uint64_t)(((__uint128_t)random_next(state) * limit) >> 64);
}

static double random_unit(uint64_t *state)
{
    return (double)(random_next(state) >> 11) * 0x1p-53;
}

static void fill_shares(struct choice *c)
{
    double sum = 0;
    for (uint64_t i = 0; i < c->objects; i++) {
        c->columns[i].share = pow((double)(i + 1), -c->exponent);
        sum += c->columns[i].share;
    }
    for (uint64_t i = 0; i < c->objects; i++) {
        c->columns[i].share *= (double)c->objects / sum;
    }
}

/* Columns with less than their share are filled up from those with more. What rounding leaves over stays itself. */
static void pair_columns(struct choice *c, uint32_t *poor, uint32_t *rich)
{
    uint64_t poor_count = 0, rich_count = 0;
    for (uint32_t i = 0; i < c->objects; i++) {
        c->columns[i].other = i;
        if (c->columns[i].share < 1) {
            poor[poor_count++] = i;
        } else {
            rich[rich_count++] = i;
        }
    }
    while (poor_count > 0 && rich_count > 0) {
        uint32_t filled = poor[--poor_count], giver = rich[rich_count - 1];
        c->columns[filled].other = giver;
        c->columns[giver].share -= 1 - c->columns[filled].share;
        if (c->columns[giver].share < 1) {
            rich_count--;
            poor[poor_count++] = giver;
        }
    }
}

static const char *prepare_zipf(struct choice *c)
{
    if (c->objects > UINT32_MAX) {
        return "too many objects for this order";
    }
    uint32_t *poor = calloc(c->objects, sizeof *poor), *rich = calloc(c->objects, sizeof *rich);
    c->columns = calloc(c->objects, sizeof *c->columns);
    bool enough = poor && rich && c->columns;
    if (enough) {
        fill_shares(c);
        pair_columns(c, poor, rich);
    }
    free(poor);
    free(rich);
    return enough ? NULL : "not enough memory for so many objects";
}

bool choice_set_order(struct choice *c, const char *word)
{
    static const char *const WORDS[] = {[ORDER_SEQUENTIAL] = "sequential", [ORDER_ONCE] = "once", [ORDER_UNIFORM] = "uniform"};
    for (enum order order = 0; order < sizeof WORDS / sizeof *WORDS; order++) {
        if (strcmp(word, WORDS[order]) == 0) {
            c->order = order;
            return true;
        }
    }
    c->order = ORDER_ZIPF;
    return sscanf(word, "zipf=%lf", &c->exponent) == 1;
}

static bool add_path(struct choice *c, const char *path)
{
    /* Room grows in powers of two. */
    if ((c->objects & (c->objects - 1)) == 0) {
        char **grown = realloc(c->paths, 2 * (c->objects + 1) * sizeof *grown);
        if (!grown) {
            return false;
        }
        c->paths = grown;
    }
    c->paths[c->objects] = strdup(path);
    return c->paths[c->objects++] != NULL;
}

const char *choice_read_list(struct choice *c, const char *file)
{
    FILE *stream = fopen(file, "r");
    if (!stream) {
        return strerror(errno);
    }
    char line[PATH_BYTES_MAX + 2];
    const char *wrong = NULL;
    while (!wrong && fgets(line, sizeof line, stream)) {
        size_t bytes = strcspn(line, "\n");
        line[bytes] = '\0';
        if (line[0] != '/' || bytes > PATH_BYTES_MAX) {
            wrong = "a line is no path, or too long";
        } else if (!add_path(c, line)) {
            wrong = "not enough memory";
        }
    }
    fclose(stream);
    return wrong ? wrong : c->objects == 0 ? "it is empty" : NULL;
}

const char *choice_begin(struct choice *c, uint64_t seed)
{
    c->random = seed;
    c->objects = c->objects ? c->objects : 1;
    if (strlen(c->pattern) > PATH_BYTES_MAX - DIGITS_MAX) {
        return "the path is too long";
    }
    return c->order == ORDER_ZIPF ? prepare_zipf(c) : NULL;
}

size_t choice_longest_path(const struct choice *c)
{
    if (!c->paths) {
        return strlen(c->pattern) + DIGITS_MAX;
    }
    size_t longest = 0;
    for (uint64_t i = 0; i < c->objects; i++) {
        size_t bytes = strlen(c->paths[i]);
        longest = bytes > longest ? bytes : longest;
    }
    return longest;
}

/* False: each has been asked for once. */
static bool choose(struct choice *c, uint64_t *object)
{
    switch (c->order) {
    case ORDER_ONCE:
    case ORDER_SEQUENTIAL:
        if (c->next == c->objects) {
            if (c->order == ORDER_ONCE) {
                return false;
            }
            c->next = 0;
        }
        *object = c->next++;
        return true;
    case ORDER_UNIFORM:
        *object = random_below(&c->random, c->objects);
        return true;
    case ORDER_ZIPF:
        break;
    }
    uint64_t column = random_below(&c->random, c->objects);
    *object = random_unit(&c->random) < c->columns[column].share ? column : c->columns[column].other;
    return true;
}

char *choice_next_path(struct choice *c, char *to)
{
    uint64_t object;
    if (!choose(c, &object)) {
        return NULL;
    }
    const char *path = c->paths ? c->paths[object] : c->pattern;
    const char *number = c->paths ? NULL : strstr(path, "%u");
    if (!number) {
        return mempcpy(to, path, strlen(path));
    }
    char digits[DIGITS_MAX], *first = digits + sizeof digits;
    do {
        *--first = (char)('0' + object % 10);
        object /= 10;
    } while (object > 0);
    to = mempcpy(to, path, (size_t)(number - path));
    to = mempcpy(to, first, (size_t)(digits + sizeof digits - first));
    return mempcpy(to, number + 2, strlen(number + 2));
}
