/* Any order of events against a simple model: nothing that is out of date is ever found; after a crash nothing that was out of date when the log was last
 * on the disk; and everything that was there then, and was not touched since, is found again. */
#include "tests/unit/cache/disk/store_rig.h"

enum { MIB = 1 << 20, NAMES = 60, TAGS = 7 };

struct name {
    uint64_t latest; /* version that was offered last */
    bool is_valid;   /* and neither forgotten nor purged since */
    uint64_t floor;  /* what is older must not be found even after a crash */
    uint64_t must;   /* what must be found even after a crash; 0: nothing */
    bool is_exact;   /* `latest` and `is_valid` are of this run, not from before a crash */
};

struct model {
    struct disk_rig rig;
    struct name names[NAMES];
    uint64_t random;
    uint64_t reclaimed; /* when `must` was noted */
    bool has_faults, power;
    uint64_t found, crashes;
};

static uint64_t dice(struct model *model, uint64_t sides)
{
    return rig_random(&model->random) % sides;
}

static uint64_t tag_of(uint64_t number)
{
    return 1000 + number % TAGS;
}

static void offer(struct model *model, uint64_t number)
{
    static const size_t sizes[] = {10, 500, 4000, 15000, 40000, 70000, 140000};
    struct name *name = &model->names[number];
    uint64_t tag = tag_of(number);
    name->latest++;
    name->is_valid = name->is_exact = true;
    name->must = 0;
    struct object *object = disk_rig_object(&model->rig, number, name->latest, sizes[dice(model, 7)] + dice(model, 1000), &tag, RIG_HEAD);
    store_offer(model->rig.store, object, 0);
    object_unref(model->rig.cache, &object);
}

static void forget(struct model *model, uint64_t number)
{
    struct name *name = &model->names[number];
    disk_rig_forget(&model->rig, number);
    name->is_valid = false;
    name->is_exact = true;
    name->must = 0;
}

static void purge(struct model *model, uint64_t tag)
{
    struct store_purge purge = {.name = tag, .kind = PURGE_HARD, .at_s = model->rig.wall.s};
    purge.sequence = purge_add(&model->rig.cache->purges, tag, PURGE_HARD, model->rig.wall);
    store_log_purge(model->rig.store, &purge);
    for (uint64_t i = 0; i < NAMES; i++) {
        if (tag_of(i) != tag)
            continue;
        model->names[i].is_valid = false;
        model->names[i].is_exact = true;
        model->names[i].must = 0;
    }
}

static void check(struct model *model, uint64_t number)
{
    const struct name *name = &model->names[number];
    uint64_t version = disk_rig_version(&model->rig, number);
    model->found += version > 0;
    if (name->is_exact)
        cr_assert(version == 0 || (name->is_valid && version == name->latest), "%lu: version %lu is found, the last was %lu, %s",
                  (unsigned long)number, (unsigned long)version, (unsigned long)name->latest, name->is_valid ? "valid" : "out of date");
    else
        cr_assert(version == 0 || (version >= name->floor && version <= name->latest), "%lu: version %lu is found, of %lu to %lu",
                  (unsigned long)number, (unsigned long)version, (unsigned long)name->floor, (unsigned long)name->latest);
    if (version > 0)
        disk_index_touch(model->rig.store->index, disk_rig_hash(&model->rig, number));
}

static void clear_faults(struct model *model)
{
    for (unsigned i = 0; i < FAKE_KINDS; i++)
        model->rig.disk.fail[i] = DISK_OK;
    model->rig.disk.fail_in = -1;
    model->has_faults = false;
}

static void set_fault(struct model *model)
{
    static const enum disk_status statuses[] = {DISK_ERROR, DISK_FULL, DISK_UNAVAILABLE, DISK_OVERLOADED};
    unsigned kind = (unsigned)dice(model, FAKE_KINDS);
    model->rig.disk.fail[kind] = kind == FAKE_READ ? statuses[2 * dice(model, 2)] : statuses[dice(model, 4)];
    model->rig.disk.fail_in = dice(model, 2) ? (int64_t)dice(model, 10) : -1;
    model->rig.disk.fail_directory = (int)dice(model, 3) - 1;
    model->has_faults = true;
}

/* What is out of date now is so for ever, and what is there stays. */
static void drain(struct model *model)
{
    clear_faults(model);
    for (unsigned i = 0; i < 100; i++) /* and the directories come back */
        disk_rig_turn(&model->rig, 50, UINT32_MAX);
    cr_assert(disk_rig_drain(&model->rig));
    struct store_stats stats = disk_rig_stats(&model->rig);
    for (unsigned i = 0; i < stats.directory_count; i++) {
        if (stats.directories[i].state != DIRECTORY_WORKING || model->rig.store->dead != NULL)
            return;
    }
    model->reclaimed = stats.reclaimed_segments;
    for (uint64_t i = 0; i < NAMES; i++) {
        struct name *name = &model->names[i];
        uint64_t version = disk_rig_version(&model->rig, i);
        if (name->is_exact)
            name->floor = name->is_valid ? name->latest : name->latest + 1;
        name->must = version;
    }
    cr_assert(disk_rig_drain(&model->rig));
}

/* Since it was noted what must be found. */
static bool has_reclaimed(const struct model *model)
{
    const struct store *store = model->rig.store;
    return disk_rig_stats(&model->rig).reclaimed_segments != model->reclaimed || reclaim_is_active(&store->directories[0]) ||
           reclaim_is_active(&store->directories[1]);
}

static void crash(struct model *model)
{
    bool is_reclaimed = has_reclaimed(model);
    fake_crash(&model->rig.disk, model->power);
    disk_rig_restart(&model->rig);
    model->reclaimed = 0;
    for (uint64_t i = 0; i < NAMES; i++) {
        model->names[i].is_exact = false;
        if (is_reclaimed)
            model->names[i].must = 0;
    }
}

/* Recovery ends, without faults; what is found is what counts from now on. */
static void settle(struct model *model)
{
    clear_faults(model);
    disk_rig_recover(&model->rig);
    for (uint64_t i = 0; i < NAMES; i++) {
        struct name *name = &model->names[i];
        check(model, i);
        uint64_t version = disk_rig_version(&model->rig, i);
        if (!has_reclaimed(model) && name->must != 0)
            cr_assert_eq(version, name->must, "%lu: version %lu was on the disk", (unsigned long)i, (unsigned long)name->must);
        if (name->is_exact)
            continue;
        name->floor = version != 0 ? version : name->latest + 1;
        name->is_valid = version != 0;
        /* What is offered next is a version of its own. */
        if (version != 0 && version != name->latest)
            continue;
        name->is_exact = true;
    }
}

static void step(struct model *model)
{
    uint64_t number = dice(model, NAMES);
    switch (dice(model, 24)) {
    default:
        offer(model, number);
        break;
    case 0:
    case 1:
    case 2:
        forget(model, number);
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        disk_rig_turn(&model->rig, (int64_t)dice(model, 200), (unsigned)dice(model, 6));
        break;
    case 7:
    case 8:
    case 9:
        check(model, number);
        break;
    case 10:
        if (dice(model, 8) == 0)
            purge(model, 1000 + dice(model, TAGS));
        break;
    case 11:
        if (dice(model, 6) == 0)
            set_fault(model);
        break;
    case 12:
        if (dice(model, 2) == 0)
            clear_faults(model);
        break;
    case 13:
        if (dice(model, 6) == 0)
            drain(model);
        break;
    case 14:
        if (dice(model, 10) == 0) {
            crash(model);
            for (uint64_t i = dice(model, 30); i > 0; i--) /* it is not idle while it recovers */
                disk_rig_turn(&model->rig, 1, (unsigned)dice(model, 3)),
                    dice(model, 2) ? offer(model, dice(model, NAMES)) : forget(model, dice(model, NAMES));
            settle(model);
        }
        break;
    }
}

static void run(uint64_t seed, uint32_t segments, bool power, unsigned steps)
{
    struct model *model = calloc(1, sizeof *model);
    printf("seed %lu, %u segments%s\n", (unsigned long)seed, segments, power ? ", losses of power" : "");
    fflush(stdout);
    model->random = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
    model->power = power;
    disk_rig_init(&model->rig, 2, MIB, segments);
    model->rig.disk.random = seed | 1;
    disk_rig_recover(&model->rig);
    for (unsigned i = 0; i < steps; i++)
        step(model);
    drain(model);
    for (unsigned i = 0; i < 3; i++) {
        crash(model);
        settle(model);
    }
    cr_assert_gt(model->found, 20);
    disk_rig_free(&model->rig);
    free(model);
}

/* STORE_MODEL_SEEDS=from-to for more of them, or one that failed. */
static void run_seeds(uint32_t segments, bool power)
{
    unsigned from = 1, to = 10;
    const char *text = getenv("STORE_MODEL_SEEDS");
    cr_assert(text == NULL || sscanf(text, "%u-%u", &from, &to) == 2);
    for (unsigned seed = from; seed <= to; seed++)
        run(seed, segments, power, 1000);
}

Test(store_model, with_room_enough)
{
    run_seeds(64, false);
}

Test(store_model, with_segments_reclaimed_all_the_time)
{
    run_seeds(5, false);
}

Test(store_model, with_losses_of_power)
{
    run_seeds(64, true);
}
