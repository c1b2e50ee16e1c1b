#include "cache/policy/key_rules.h"

#include <stdlib.h>

struct parameter {
    struct bytes text; /* with its value */
    size_t name_len;
};

struct parameters {
    struct parameter *at;
    unsigned count;
    bool is_changed;
};

/* Of Google, Meta, Microsoft, Yandex, X, TikTok, Pinterest, LinkedIn, Snap, Mailchimp, HubSpot, Marketo, Matomo and others. */
static const char *const tracking_names[] = {
    "utm_*",         "_ga",
    "_gl",           "gclid",
    "gclsrc",        "gbraid",
    "wbraid",        "dclid",
    "gad_source",    "gad_campaignid",
    "srsltid",       "fbclid",
    "fb_action_ids", "fb_action_types",
    "fb_source",     "igshid",
    "igsh",          "msclkid",
    "yclid",         "ysclid",
    "_openstat",     "twclid",
    "ttclid",        "epik",
    "li_fat_id",     "ScCid",
    "mc_cid",        "mc_eid",
    "mkt_tok",       "_hsenc",
    "_hsmi",         "hsa_*",
    "mtm_*",         "matomo_*",
    "piwik_*",       "pk_campaign",
    "pk_kwd",        "pk_keyword",
    "pk_source",     "pk_medium",
    "pk_content",    "pk_cid",
    "s_kwcid",       "vero_id",
    "vero_conv",     "oly_anon_id",
    "oly_enc_id",    "wickedid",
    "rb_clickid",    "dm_i",
};

/* A rule ends in "*" where it means every name that begins so. */
static bool rule_names_it(struct bytes rule, struct bytes name)
{
    if (rule.len > 0 && rule.at[rule.len - 1] == '*')
        return bytes_starts_with(name, bytes_from(rule.at, rule.len - 1));
    return bytes_equal(rule, name);
}

static bool is_tracking(struct bytes name)
{
    for (unsigned i = 0; i < sizeof tracking_names / sizeof *tracking_names; i++) {
        if (rule_names_it(bytes_from_string(tracking_names[i]), name))
            return true;
    }
    return false;
}

static bool is_listed(const struct rule_names *rules, struct bytes name)
{
    for (unsigned i = 0; i < rules->count; i++) {
        if (bytes_equal(rules->at[i], BYTES(QUERY_RULE_TRACKING)) ? is_tracking(name) : rule_names_it(rules->at[i], name))
            return true;
    }
    return false;
}

static bool is_wanted(const struct query_rules *rules, struct bytes name)
{
    return (!rules->keeps_only || is_listed(&rules->keep, name)) && !is_listed(&rules->ignore, name);
}

static struct bytes name_of(const struct parameter *parameter)
{
    return bytes_from(parameter->text.at, parameter->name_len);
}

static int compare_names(const struct parameter *a, const struct parameter *b)
{
    size_t shared = a->name_len < b->name_len ? a->name_len : b->name_len;
    int order = shared > 0 ? memcmp(a->text.at, b->text.at, shared) : 0;
    return order != 0 ? order : (a->name_len > b->name_len) - (a->name_len < b->name_len);
}

/* Those of one name by their place in the query. */
static int compare_parameters(const void *left, const void *right)
{
    const struct parameter *a = left, *b = right;
    int order = compare_names(a, b);
    return order != 0 ? order : (a->text.at > b->text.at) - (a->text.at < b->text.at);
}

static void select_wanted(struct bytes query, const struct query_rules *rules, struct parameters *out)
{
    for (bool is_last = false; !is_last;) {
        struct parameter next = {.text = bytes_from(query.at, bytes_find(query, '&'))};
        next.name_len = bytes_find(next.text, '=');
        is_last = next.text.len == query.len;
        if (!is_last)
            query = bytes_from(next.text.at + next.text.len + 1, query.len - next.text.len - 1);
        if (is_wanted(rules, name_of(&next)))
            out->at[out->count++] = next;
        else
            out->is_changed = true;
    }
}

static void sort(struct parameters *parameters)
{
    for (unsigned i = 1; i < parameters->count; i++) {
        if (compare_names(&parameters->at[i - 1], &parameters->at[i]) > 0) {
            qsort(parameters->at, parameters->count, sizeof *parameters->at, compare_parameters);
            parameters->is_changed = true;
            return;
        }
    }
}

static struct bytes join(const struct parameters *parameters, size_t bytes_max, struct arena *arena)
{
    char *start = arena_alloc(arena, bytes_max + 1), *at = start;
    for (unsigned i = 0; i < parameters->count; i++) {
        if (i > 0)
            *at++ = '&';
        at = mempcpy(at, parameters->at[i].text.at, parameters->at[i].text.len);
    }
    return bytes_from(start, (size_t)(at - start));
}

static size_t count_parameters(struct bytes query)
{
    size_t count = 1;
    for (size_t i = 0; i < query.len; i++)
        count += query.at[i] == '&';
    return count;
}

struct bytes query_apply_rules(struct bytes query, const struct query_rules *rules, struct arena *arena)
{
    if (query.at == NULL || (rules->ignore.count == 0 && !rules->keeps_only && !rules->sort))
        return query;
    struct parameters parameters = {.at = arena_alloc(arena, count_parameters(query) * sizeof *parameters.at)};
    select_wanted(query, rules, &parameters);
    if (rules->sort)
        sort(&parameters);
    if (!parameters.is_changed)
        return query;
    return parameters.count > 0 ? join(&parameters, query.len, arena) : BYTES_NONE;
}
