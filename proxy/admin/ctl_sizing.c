/* See ctl_sizing.h. */
#include "proxy/admin/ctl_sizing.h"

#include "proxy/admin/ctl_text.h"

#include <math.h>

enum { BAR_WIDTH = 40 };

static void put_bar(FILE *out, double ratio)
{
    for (long i = lround(ratio * BAR_WIDTH); i > 0; i--)
        fputc('#', out);
    fputc('\n', out);
}

static void put_tier(FILE *out, const char *title, const json_t *points)
{
    size_t i;
    json_t *point;
    fprintf(out, "%s\n", title);
    json_array_foreach(points, i, point)
    {
        char bytes[32];
        double times = json_number_value(json_object_get(point, "times")), ratio = json_number_value(json_object_get(point, "hit_ratio"));
        ctl_format_bytes(bytes, sizeof bytes, json_number_value(json_object_get(point, "bytes")));
        fprintf(out, "  %4g x %10s %7.1f %% %s ", times, bytes, 100 * ratio, times == 1 ? "*" : " ");
        put_bar(out, ratio);
    }
}

void ctl_print_sizing(const json_t *sizing, FILE *out)
{
    double requests = json_number_value(json_object_get(sizing, "requests"));
    const json_t *disk = json_object_get(sizing, "disk");
    if (requests == 0) {
        fputs("nothing that can be stored was asked for in the last hour\n", out);
        return;
    }
    fprintf(out, "hit ratio of what can be stored, by size (* as it is); from %.0f requests of the last one to two hours\n", requests);
    put_tier(out, "memory", json_object_get(sizing, "memory"));
    if (json_is_array(disk))
        put_tier(out, "disk, beside the memory there is", disk);
}
