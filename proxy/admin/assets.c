/* See assets.h. The assembler takes the files of proxy/admin/dashboard in as they are. */
#include "proxy/admin/assets.h"

#define ASSET(name, file)                                                                                                                  \
    __asm__(".pushsection .rodata, \"a\"\n"                                                                                                \
            ".global asset_" #name "\nasset_" #name ":\n.incbin \"proxy/admin/dashboard/" file "\"\n"                                      \
            ".global asset_" #name "_end\nasset_" #name "_end:\n.popsection\n");                                                           \
    extern const char asset_##name[], asset_##name##_end[]

ASSET(page, "index.html");
ASSET(style, "dashboard.css");
ASSET(script, "dashboard.js");
ASSET(icon, "icon.svg");

enum { ASSETS = 4 };

const struct asset *asset_find(struct bytes path)
{
    static _Thread_local struct asset assets[ASSETS];
    const struct {
        struct bytes path;
        const char *content_type, *from, *end;
    } rows[ASSETS] = {
        {BYTES("/"), "text/html; charset=utf-8", asset_page, asset_page_end},
        {BYTES("/dashboard.css"), "text/css; charset=utf-8", asset_style, asset_style_end},
        {BYTES("/dashboard.js"), "text/javascript; charset=utf-8", asset_script, asset_script_end},
        {BYTES("/icon.svg"), "image/svg+xml", asset_icon, asset_icon_end},
    };
    for (unsigned i = 0; i < ASSETS; i++) {
        if (!bytes_equal(rows[i].path, path))
            continue;
        assets[i] = (struct asset){rows[i].path, rows[i].content_type, bytes_from(rows[i].from, (size_t)(rows[i].end - rows[i].from))};
        return &assets[i];
    }
    return NULL;
}
