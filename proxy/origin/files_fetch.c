/* A fetch from a files: origin: static files, read by the disk helpers straight into the fill.
 *
 * Phases: FILES_DELAY (an artificial one, for demonstrations) → FILES_LOOKUP (what is at that path) → FILES_READ, piece by piece → over. No
 *         content travels over the helpers' channel, so the lookup and the first piece are two messages: the fill has no room before it
 *         has a head.
 * Of a range (a slice that the cache asks for, or what a passed client asks for) only the pieces that it needs are read.
 * A piece is only accepted when the file is still the one that was looked up: inode, size and mtime, which its ETag is made of, too.
 */
#include "proxy/origin/files_fetch.h"

#include "base/http_date.h"
#include "base/log.h"
#include "cache/policy/range.h"
#include "cache/policy/validate.h"
#include "proxy/origin/file_path.h"
#include "proxy/origin/mime.h"

#include <stdlib.h>

enum { SETTLING_MS = 20 }; /* longer than the kernel's longest tick */

enum files_phase {
    FILES_DELAY,
    FILES_LOOKUP,       /* path, or path/index.html */
    FILES_LOOKUP_INDEX, /* index.html is not there: is the directory? */
    FILES_READ,
    FILES_SAY, /* a body of our own */
};

struct files_fetch {
    struct fetch *fetch;
    enum files_phase phase;
    struct file_path target;
    const char *path; /* of the file */
    struct file_request request;
    bool is_busy;    /* `request` is with the disk client */
    bool is_waiting; /* for room in the fill */
    bool has_awaited_settling;
    uint64_t position, end;          /* what is still to be read */
    struct message_file_answer file; /* as looked up */
    struct validators validators;    /* of it */
};

static void file_done(struct file_request *request);

static struct files_fetch *files_of(struct fetch *fetch)
{
    return fetch->state;
}

static void ask(struct files_fetch *files, uint64_t length, uint64_t slab_offset)
{
    struct fetch *fetch = files->fetch;
    bool is_piece = files->phase == FILES_READ;
    files->request = (struct file_request){
        .root = fetch->backend->config->root,
        .path = files->path,
        .offset = files->position,
        .length = length,
        .slab_offset = slab_offset,
        .inode = is_piece ? files->file.inode : 0,
        .size = is_piece ? files->file.size : 0,
        .mtime_ns = is_piece ? files->file.mtime_ns : 0,
        .ahead = is_piece ? files->end - files->position - length : 0,
        .done = file_done,
        .context = files,
    };
    files->is_busy = true;
    counter_add(fetch->origin->context.counters, COUNTER_FILE_READS, 1);
    disk_client_read(fetch->origin->context.disk, &files->request, loop_now(fetch_loop(fetch)));
}

static void look_up(struct files_fetch *files, enum files_phase phase, const char *path)
{
    files->phase = phase;
    files->path = path;
    ask(files, 0, 0);
}

/* A short answer of our own, for a human being. */
static void say(struct files_fetch *files, unsigned status, struct bytes reason, struct headers *fields)
{
    struct fetch *fetch = files->fetch;
    bool is_head = fetch->method == METHOD_HEAD;
    struct bytes body = arena_printf(&fetch->arena, "%u %.*s\n", status, BYTES_FMT(reason));
    headers_add_known(fields, HEADER_CONTENT_TYPE, BYTES("text/plain; charset=utf-8"));
    if (is_head)
        headers_add_known(fields, HEADER_CONTENT_LENGTH, arena_printf(&fetch->arena, "%zu", body.len));
    const struct fetch_response response = {
        .status = status,
        .reason = reason,
        .fields = fields,
        .length_known = true,
        .length = is_head ? 0 : body.len,
        .body_forbidden = is_head,
    };
    files->phase = FILES_SAY;
    if (!fetch_head(fetch, &response))
        return;
    if (is_head || fetch_put(fetch, body))
        fetch_done(fetch);
    else
        files->is_waiting = true;
}

static void say_plainly(struct files_fetch *files, unsigned status, struct bytes reason)
{
    struct headers fields;
    headers_init(&fields, &files->fetch->arena);
    say(files, status, reason, &fields);
}

static void redirect_to_directory(struct files_fetch *files)
{
    struct arena *arena = &files->fetch->arena;
    struct bytes location = file_path_location(&files->target, arena);
    struct headers fields;
    headers_init(&fields, arena);
    headers_add_known(&fields, HEADER_LOCATION, arena_printf(arena, "%.*s%.*s", BYTES_FMT(location), BYTES_FMT(files->target.query)));
    say(files, 301, BYTES("Moved Permanently"), &fields);
}

static struct bytes format_date(struct arena *arena, int64_t seconds)
{
    char text[HTTP_DATE_LEN];
    http_date_format((struct wall_seconds){seconds}, text);
    return arena_copy(arena, bytes_from(text, sizeof(text)));
}

static void read_piece(struct files_fetch *files)
{
    struct fetch *fetch = files->fetch;
    uint64_t left = files->end - files->position;
    if (left == 0) {
        fetch_done(fetch);
        return;
    }
    struct fill_space space;
    files->is_waiting = fill_reserve(fetch->fill, &space) == FILL_NO_ROOM;
    if (!files->is_waiting)
        ask(files, space.capacity < left ? space.capacity : left, space.slab_offset);
}

static void add_version(struct files_fetch *files, struct headers *fields, int64_t now_s)
{
    struct fetch *fetch = files->fetch;
    const struct message_file_answer *file = &files->file;
    int64_t modified_s = file->mtime_ns / 1000000000, max_age_s = fetch->origin->site->files_max_age_s;
    files->validators = (struct validators){
        .etag = arena_printf(&fetch->arena, "\"%llx-%llx-%llx\"", (unsigned long long)file->inode, (unsigned long long)file->size,
                             (unsigned long long)file->mtime_ns),
        .last_modified_s = modified_s < now_s ? modified_s : now_s, /* RFC 9110 §8.8.2.1: never later than the response itself. */
        .date_s = now_s,
    };
    headers_add_known(fields, HEADER_CONTENT_TYPE, mime_type(bytes_from_string(files->path)));
    headers_add_known(fields, HEADER_LAST_MODIFIED, format_date(&fetch->arena, files->validators.last_modified_s));
    headers_add_known(fields, HEADER_ETAG, files->validators.etag);
    headers_add_known(fields, HEADER_ACCEPT_RANGES, BYTES("bytes"));
    if (max_age_s >= 0)
        headers_add_known(fields, HEADER_CACHE_CONTROL, arena_printf(&fetch->arena, "max-age=%lld", (long long)max_age_s));
}

/* RFC 9110 §14.2. The cache asks for its slices in this way; a client whose request is passed gets the one range it may ask for. */
static struct range wanted_range(const struct files_fetch *files, struct wall_seconds now)
{
    const struct fetch *fetch = files->fetch;
    const struct headers *fields = &fetch->fields;
    struct range range = {.kind = RANGE_WHOLE};
    bool goes_with_others = fill_slice(fetch->fill).end > 0;
    if (fetch->method == METHOD_GET && headers_count(fields, HEADER_RANGE) == 1 && (files->file.is_settled || !goes_with_others) &&
        if_range_holds(fields, &files->validators, now))
        range = range_parse(headers_value(fields, HEADER_RANGE), files->file.size);
    if (range.count > 1)
        range.kind = RANGE_WHOLE;
    return range;
}

static void say_unsatisfiable(struct files_fetch *files)
{
    struct headers fields;
    headers_init(&fields, &files->fetch->arena);
    headers_add_known(&fields, HEADER_CONTENT_RANGE,
                      arena_printf(&files->fetch->arena, "bytes */%llu", (unsigned long long)files->file.size));
    say(files, 416, BYTES("Range Not Satisfiable"), &fields);
}

static void not_modified(struct files_fetch *files, const struct headers *fields)
{
    struct fetch *fetch = files->fetch;
    const struct fetch_response response = {
        .status = 304, .reason = BYTES("Not Modified"), .fields = fields, .length_known = true, .body_forbidden = true};
    if (fill_stale(fetch->fill))
        fetch_not_modified(fetch, &response);
    else if (fetch_head(fetch, &response))
        fetch_done(fetch);
}

static void send_file(struct files_fetch *files, struct headers *fields, const struct range *range)
{
    struct fetch *fetch = files->fetch;
    uint64_t size = files->file.size;
    bool is_head = fetch->method == METHOD_HEAD, is_part = range->kind == RANGE_PARTIAL;
    files->position = is_part ? range->parts[0].first : 0;
    files->end = is_part ? range->parts[0].end : size;
    if (is_head)
        headers_add_known(fields, HEADER_CONTENT_LENGTH, arena_printf(&fetch->arena, "%llu", (unsigned long long)size));
    if (is_part)
        headers_add_known(fields, HEADER_CONTENT_RANGE,
                          arena_printf(&fetch->arena, "bytes %llu-%llu/%llu", (unsigned long long)files->position,
                                       (unsigned long long)files->end - 1, (unsigned long long)size));
    const struct fetch_response response = {
        .status = is_part ? 206 : 200,
        .reason = is_part ? BYTES("Partial Content") : BYTES("OK"),
        .fields = fields,
        .length_known = true,
        .length = is_head ? 0 : files->end - files->position,
        .body_forbidden = is_head,
    };
    if (!fetch_head(fetch, &response))
        return;
    files->phase = FILES_READ;
    if (is_head)
        fetch_done(fetch);
    else
        read_piece(files);
}

static void serve(struct files_fetch *files)
{
    struct fetch *fetch = files->fetch;
    struct wall_seconds now = loop_wall(fetch_loop(fetch));
    struct headers fields;
    headers_init(&fields, &fetch->arena);
    add_version(files, &fields, now.s);
    enum condition condition = condition_evaluate(fetch->method, &fetch->fields, 200, &files->validators, now);
    if (condition == CONDITION_NOT_MODIFIED) {
        not_modified(files, &fields);
        return;
    }
    if (condition == CONDITION_FAILED) {
        say_plainly(files, 412, BYTES("Precondition Failed"));
        return;
    }
    struct range range = wanted_range(files, now);
    if (range.kind == RANGE_UNSATISFIABLE)
        say_unsatisfiable(files);
    else
        send_file(files, &fields, &range);
}

static void settled(struct deadline *deadline)
{
    struct fetch *fetch = LIST_OWNER(deadline, struct fetch, deadline);
    fetch_hold(fetch);
    look_up(files_of(fetch), FILES_LOOKUP, files_of(fetch)->path);
    fetch_unhold(fetch);
}

/* RFC 9110 §8.8.1: parts are put together by their entity tag, so it has to be strong. A file that changed just now is looked at again when its next
 * change will show; one that goes on changing is sent whole. */
static bool awaits_settling(struct files_fetch *files)
{
    struct fetch *fetch = files->fetch;
    if (fill_slice(fetch->fill).end == 0 || files->file.is_settled || files->has_awaited_settling)
        return false;
    files->has_awaited_settling = true;
    loop_set_deadline(fetch_loop(fetch), &fetch->deadline, SETTLING_MS, settled);
    return true;
}

static void looked_up(struct files_fetch *files)
{
    const struct message_file_answer *answer = &files->request.answer;
    bool asked_for_directory = files->target.is_directory;
    switch (answer->status) {
    case FILE_OK:
        if (files->phase == FILES_LOOKUP_INDEX) { /* "/file/": a file is no directory */
            say_plainly(files, 404, BYTES("Not Found"));
            break;
        }
        files->file = *answer;
        if (!awaits_settling(files))
            serve(files);
        break;
    case FILE_IS_DIRECTORY:
        if (asked_for_directory)
            say_plainly(files, 403, BYTES("Forbidden"));
        else
            redirect_to_directory(files);
        break;
    case FILE_FORBIDDEN: /* the owner's affair more than the client's */
        log_warn("origin", "%.*s: /%s is not served: it may not be read, leads out of the directory, or is no file",
                 BYTES_FMT(files->fetch->backend->config->url), files->path);
        say_plainly(files, 403, BYTES("Forbidden"));
        break;
    case FILE_MISSING:
        if (asked_for_directory && files->phase == FILES_LOOKUP)
            look_up(files, FILES_LOOKUP_INDEX, files->target.path);
        else
            say_plainly(files, 404, BYTES("Not Found"));
        break;
    default:
        fetch_fail(files->fetch, ERROR_DISK);
        break;
    }
}

static void piece_read(struct files_fetch *files)
{
    struct fetch *fetch = files->fetch;
    const struct message_file_answer *answer = &files->request.answer;
    if (answer->status == FILE_OK && answer->bytes_read > 0 && answer->bytes_read <= files->request.length) {
        fill_commit(fetch->fill, answer->bytes_read);
        files->position += answer->bytes_read;
        read_piece(files);
        return;
    }
    fill_commit(fetch->fill, 0);
    if (answer->status != FILE_IO_ERROR)
        fetch->fault = "the file changed while it was read";
    fetch_fail(fetch, answer->status == FILE_IO_ERROR ? ERROR_DISK : ERROR_ORIGIN_TRUNCATED);
}

static void file_done(struct file_request *request)
{
    struct files_fetch *files = request->context;
    struct fetch *fetch = files->fetch;
    bool is_piece = files->phase == FILES_READ;
    files->is_busy = false;
    fetch_hold(fetch);
    if (is_piece && request->destination_lost)
        fill_lose_space(fetch->fill);
    else if (is_piece && (fetch->stopping || request->error != ERROR_OK))
        fill_commit(fetch->fill, 0);
    if (fetch->stopping)
        fetch_stopped(fetch);
    else if (request->error != ERROR_OK)
        fetch_fail(fetch, request->error);
    else if (is_piece)
        piece_read(files);
    else
        looked_up(files);
    fetch_unhold(fetch);
}

static void files_resume(struct fetch *fetch)
{
    struct files_fetch *files = files_of(fetch);
    if (!files->is_waiting)
        return;
    files->is_waiting = false;
    if (files->phase == FILES_READ) {
        read_piece(files);
        return;
    }
    struct bytes body;
    char *owned = fetch_unstash(fetch, &body);
    if (fetch_put(fetch, body))
        fetch_done(fetch);
    else
        files->is_waiting = true;
    free(owned);
}

static bool files_stop(struct fetch *fetch)
{
    deadline_clear(&fetch->deadline);
    return !files_of(fetch)->is_busy;
}

static void begin(struct files_fetch *files)
{
    struct fetch *fetch = files->fetch;
    counter_add(fetch->origin->context.counters, COUNTER_ORIGIN_REQUESTS, 1);
    fetch->backend->figures[ORIGIN_REQUESTS]++;
    if (fetch->method != METHOD_GET && fetch->method != METHOD_HEAD) {
        struct headers fields;
        headers_init(&fields, &fetch->arena);
        headers_add_known(&fields, HEADER_ALLOW, BYTES("GET, HEAD"));
        say(files, 405, BYTES("Method Not Allowed"), &fields);
        return;
    }
    switch (file_path_parse(fetch->target, &fetch->arena, &files->target)) {
    case FILE_PATH_BAD:
        say_plainly(files, 400, BYTES("Bad Request"));
        return;
    case FILE_PATH_MISSING:
        say_plainly(files, 404, BYTES("Not Found"));
        return;
    case FILE_PATH_OK:
        break;
    }
    const char *path = files->target.path;
    if (files->target.is_directory)
        path = arena_printf(&fetch->arena, "%s%sindex.html", path, *path ? "/" : "").at;
    look_up(files, FILES_LOOKUP, path);
}

static void delay_over(struct deadline *deadline)
{
    struct fetch *fetch = LIST_OWNER(deadline, struct fetch, deadline);
    fetch_hold(fetch);
    begin(files_of(fetch));
    fetch_unhold(fetch);
}

static const struct fetch_kind files_kind = {.resume = files_resume, .stop = files_stop};

void files_start(struct fetch *fetch)
{
    struct files_fetch *files = arena_zalloc(&fetch->arena, sizeof(*files));
    files->fetch = fetch;
    fetch->kind = &files_kind;
    fetch->state = files;
    fetch->origin_text = fetch->backend->config->url;
    fetch->upload = NULL; /* not read: GET and HEAD have no use for a body, other methods are refused */
    if (fetch->origin->site->files_delay_ms > 0)
        loop_set_deadline(fetch_loop(fetch), &fetch->deadline, fetch->origin->site->files_delay_ms, delay_over);
    else
        begin(files);
}
