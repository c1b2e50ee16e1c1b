/* The table of settings keeps its own rules, so that what is made of it (parsing, -T, the reference) can rely on them. */
#include "proxy/config/settings.h"
#include "proxy/config/values.h"

#include <criterion/criterion.h>
#include <stdlib.h>

Test(settings, a_path_is_there_once_in_its_scope)
{
    for (unsigned i = 0; i < settings_count; i++)
        cr_expect_eq(setting_find(settings[i].scope, settings[i].path), &settings[i], "%s", settings[i].path.at);
}

Test(settings, every_one_is_explained)
{
    for (unsigned i = 0; i < settings_count; i++) {
        size_t length = strlen(settings[i].help);
        cr_expect_gt(length, 10, "%s", settings[i].path.at);
        cr_expect_eq(settings[i].help[length - 1] == '.', settings[i].type != VALUE_UNSUPPORTED, "%s", settings[i].path.at);
    }
}

Test(settings, members_stand_behind_their_section)
{
    for (unsigned i = 0; i < settings_count; i++) {
        struct bytes prefix = setting_prefix(&settings[i]);
        if (prefix.len == 0)
            continue;
        const struct setting *section = setting_find(settings[i].scope, bytes_from(prefix.at, prefix.len - 1));
        cr_assert(section && section->type == VALUE_SECTION, "%s has no section", settings[i].path.at);
        for (const struct setting *between = section + 1; between < &settings[i]; between++)
            cr_expect(bytes_equal(setting_prefix(between), prefix), "%s stands apart", settings[i].path.at);
    }
}

Test(settings, a_shorthand_is_a_member_of_its_section)
{
    for (unsigned i = 0; i < settings_count; i++) {
        if (settings[i].type != VALUE_SECTION || !settings[i].standard)
            continue;
        const struct setting *shorthand = setting_find(settings[i].scope, bytes_from_string(settings[i].standard));
        cr_assert(shorthand, "%s", settings[i].standard);
        cr_expect(bytes_starts_with(shorthand->path, settings[i].path), "%s", settings[i].standard);
    }
}

/* Each default, and each bound, is accepted by the reader of its own type. */
Test(settings, defaults_and_bounds_are_good_values)
{
    struct config config = {.workers = 0};
    struct reading reading = {.config = &config};

    arena_init(&config.arena);
    arena_init(&reading.scratch);
    report_init(&reading.report, &reading.scratch, BYTES("settings.tbl"), BYTES(""));
    for (unsigned i = 0; i < settings_count; i++) {
        const struct setting *setting = &settings[i];
        if (setting->type >= VALUE_LISTENERS)
            continue;
        const char *texts[] = {setting->standard, setting->least, setting->most};
        for (unsigned k = 0; k < 3; k++) {
            union {
                struct config config;
                struct config_site site;
                struct config_listener listener;
            } owner;
            struct setting as_default = *setting;
            if (!texts[k])
                continue;
            memset(&owner, 0, sizeof(owner));
            as_default.standard = texts[k];
            const struct yaml_node *node = value_default(&reading, &as_default);
            cr_assert(node, "%s: %s", setting->path.at, texts[k]);
            value_read(&reading, setting, node, &owner);
            cr_expect_eq(reading.report.errors, 0, "%s: %s", setting->path.at, texts[k]);
            reading.report.errors = 0;
        }
    }
    arena_free(&reading.scratch);
    arena_free(&config.arena);
}

Test(settings, edit_distance_counts_slips_of_the_finger)
{
    static const struct {
        const char *a, *b;
        unsigned distance;
    } cases[] = {
        {"", "", 0},
        {"a", "", 1},
        {"workers", "workers", 0},
        {"wokers", "workers", 1},
        {"wrokers", "workers", 1},
        {"workerss", "workers", 1},
        {"WORKERS", "workers", 0},
        {"max-age", "max_age", 1},
        {"ca", "abc", 3},
        {"abcdef", "fedcba", 5},
        {"kitten", "sitting", 3},
        {"0123456789012345678901234567890123", "0", 5},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_expect_eq(edit_distance(bytes_from_string(cases[i].a), bytes_from_string(cases[i].b), 4 + (cases[i].distance == 5 && i != 11)),
                     cases[i].distance, "%s %s", cases[i].a, cases[i].b);
        cr_expect_eq(edit_distance(bytes_from_string(cases[i].b), bytes_from_string(cases[i].a), 4 + (cases[i].distance == 5 && i != 11)),
                     cases[i].distance, "%s %s", cases[i].b, cases[i].a);
    }
}

Test(settings, what_was_probably_meant)
{
    static const struct {
        enum setting_scope scope;
        const char *prefix, *key, *meant;
    } cases[] = {
        {SCOPE_ROOT, "", "wokers", "workers"},
        {SCOPE_ROOT, "", "site", "sites"},
        {SCOPE_ROOT, "", "acces_logs", "access_log"},
        {SCOPE_ROOT, "cache.", "memroy", "memory"},
        {SCOPE_SITE, "", "host", "hosts"},
        {SCOPE_SITE, "", "origins", "origin"},
        {SCOPE_SITE, "files.", "maxage", "max_age"},
        {SCOPE_LISTENER, "", "adress", "address"},
        {SCOPE_ROOT, "", "frobnicate", NULL},
        {SCOPE_ROOT, "", "memory", NULL},
        {SCOPE_ROOT, "timeouts.", "keepalive", "keep_alive"},
    };

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct setting *meant = setting_suggest(cases[i].scope, bytes_from_string(cases[i].prefix), bytes_from_string(cases[i].key));
        if (cases[i].meant)
            cr_expect(meant && bytes_equal(setting_key(meant), bytes_from_string(cases[i].meant)), "%s", cases[i].key);
        else
            cr_expect_null(meant, "%s", cases[i].key);
    }
}
