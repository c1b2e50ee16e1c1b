/* A fetch from a files: origin: static files, read by the disk helpers straight into the fill.
 *
 * Phases: FILES_DELAY (an artificial one, for demonstrations) → FILES_LOOKUP (what is at that path) → FILES_READ, piece by piece → over. No
 *         content travels over the helpers' channel, so the lookup and the first piece are two messages: the fill has no room before it
 *         has a head.
 * A piece is only accepted when the file is still the one that was looked up: inode, size and mtime, which its ETag is made of, too.
 */
#include "proxy/origin/files_fetch.h"

#include "base/http_date.h"
#include "base/log.h"
#include "proxy/origin/file_path.h"
#include "proxy/origin/mime.h"

#include <stdlib.h>

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
    uint64_t position;
    struct message_file_answer file; /* as looked up */
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

/* RFC 9110 §8.8.1: weak comparison. */
static bool etag_matches(struct bytes list, struct bytes etag)
{
    struct bytes member;
    if (bytes_equal(bytes_trim(list), BYTES("*")))
        return true;
    while (bytes_next_list_member(&list, &member)) {
        if (bytes_starts_with(member, BYTES("W/")))
            member = bytes_from(member.at + 2, member.len - 2);
        if (bytes_equal(member, etag))
            return true;
    }
    return false;
}

/* RFC 9110 §13.2.2: If-None-Match, and If-Modified-Since only without it. */
static bool is_not_modified(const struct fetch *fetch, struct bytes etag, int64_t modified_s)
{
    const struct header *tags = headers_find(&fetch->fields, HEADER_IF_NONE_MATCH);
    if (tags) {
        bool matches = false;
        for (; tags; tags = headers_next(&fetch->fields, tags))
            matches |= etag_matches(tags->value, etag);
        return matches;
    }
    struct bytes since = headers_value(&fetch->fields, HEADER_IF_MODIFIED_SINCE);
    struct wall_seconds date;
    return since.at && http_date_parse(since, loop_wall(fetch_loop(fetch)), &date) && modified_s <= date.s;
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
    uint64_t left = files->file.size - files->position;
    if (left == 0) {
        fetch_done(fetch);
        return;
    }
    struct fill_space space;
    files->is_waiting = fill_reserve(fetch->fill, &space) == FILL_NO_ROOM;
    if (!files->is_waiting)
        ask(files, space.capacity < left ? space.capacity : left, space.slab_offset);
}

static void serve(struct files_fetch *files)
{
    struct fetch *fetch = files->fetch;
    struct arena *arena = &fetch->arena;
    const struct message_file_answer *file = &files->file;
    int64_t now_s = loop_wall(fetch_loop(fetch)).s, max_age_s = fetch->origin->site->files_max_age_s;
    /* RFC 9110 §8.8.2.1: never later than the response itself. */
    int64_t modified_s = file->mtime_ns / 1000000000 < now_s ? file->mtime_ns / 1000000000 : now_s;
    struct bytes etag = arena_printf(arena, "\"%llx-%llx-%llx\"", (unsigned long long)file->inode, (unsigned long long)file->size,
                                     (unsigned long long)file->mtime_ns);
    bool is_head = fetch->method == METHOD_HEAD, is_unchanged = is_not_modified(fetch, etag, modified_s);
    struct headers fields;
    headers_init(&fields, arena);
    headers_add_known(&fields, HEADER_CONTENT_TYPE, mime_type(bytes_from_string(files->path)));
    headers_add_known(&fields, HEADER_LAST_MODIFIED, format_date(arena, modified_s));
    headers_add_known(&fields, HEADER_ETAG, etag);
    headers_add_known(&fields, HEADER_ACCEPT_RANGES, BYTES("bytes"));
    if (max_age_s >= 0)
        headers_add_known(&fields, HEADER_CACHE_CONTROL, arena_printf(arena, "max-age=%lld", (long long)max_age_s));
    if (is_head && !is_unchanged)
        headers_add_known(&fields, HEADER_CONTENT_LENGTH, arena_printf(arena, "%llu", (unsigned long long)file->size));
    const struct fetch_response response = {
        .status = is_unchanged ? 304 : 200,
        .reason = is_unchanged ? BYTES("Not Modified") : BYTES("OK"),
        .fields = &fields,
        .length_known = true,
        .length = is_head || is_unchanged ? 0 : file->size,
        .body_forbidden = is_head || is_unchanged,
    };
    if (is_unchanged && fill_stale(fetch->fill)) {
        fetch_not_modified(fetch, &response);
        return;
    }
    if (!fetch_head(fetch, &response))
        return;
    files->phase = FILES_READ;
    files->position = 0;
    if (response.body_forbidden)
        fetch_done(fetch);
    else
        read_piece(files);
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
