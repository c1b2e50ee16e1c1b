#include "proxy/admin/ctl_sizing.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static char *print(const char *json)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    json_t *sizing = json_loads(json, 0, NULL);
    cr_assert_not_null(sizing);
    ctl_print_sizing(sizing, out);
    json_decref(sizing);
    fclose(out);
    return text;
}

Test(ctl_sizing, a_line_for_each_size_and_a_mark_at_what_there_is)
{
    char *text = print("{\"requests\":1000,\"memory\":[{\"times\":0.5,\"bytes\":134217728,\"hit_ratio\":0.25},"
                       "{\"times\":1,\"bytes\":268435456,\"hit_ratio\":0.5}],\"disk\":null}");
    cr_assert(strstr(text, "   0.5 x    128 MiB    25.0 %   ##########\n"), "%s", text);
    cr_assert(strstr(text, "     1 x    256 MiB    50.0 % * ####################\n"), "%s", text);
    cr_assert_null(strstr(text, "disk"));
    free(text);
}

Test(ctl_sizing, nothing_is_told_of_nothing)
{
    char *text = print("{\"requests\":0,\"memory\":[],\"disk\":null}");
    cr_assert(strstr(text, "nothing that can be stored was asked for"), "%s", text);
    free(text);
}
