/* See sizing.h. */
#include "proxy/admin/sizing.h"

static json_t *points_json(const struct sizing_point *points)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < GHOST_SIZES; i++)
        json_array_append_new(list, json_pack("{s:f, s:I, s:f}", "times", ghost_times[i], "bytes", (json_int_t)points[i].bytes, "hit_ratio",
                                              points[i].hit_ratio));
    return list;
}

json_t *sizing_json(const struct sizing_report *report)
{
    json_t *object = json_pack("{s:I, s:o, s:f}", "requests", (json_int_t)report->requests, "memory", points_json(report->memory),
                               "memory_sample", report->memory_rate);
    json_object_set_new(object, "disk", report->has_disk ? points_json(report->disk) : json_null());
    json_object_set_new(object, "disk_sample", report->has_disk ? json_real(report->disk_rate) : json_null());
    return object;
}
