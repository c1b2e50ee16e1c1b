"use strict";
/* The dashboard: shows what /events tells each second. Texts are set as text, never as markup: URLs come from anybody. */

const POINTS_MAX = 120;
const element = id => document.getElementById(id);
const history = {rate: [], hit: []};
let reasons = {}, certificateDays = 0, before = null, mayControl = false, lists = null;

/* ---- for people ---- */

const number = value => value >= 1e6 ? (value / 1e6).toFixed(1) + " M" : value >= 1e4 ? (value / 1e3).toFixed(0) + " k" : value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1);
const percent = ratio => ratio == null || !isFinite(ratio) ? "–" : (100 * ratio).toFixed(1) + " %";

function bytes(value) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let unit = 0;
    for (; value >= 1024 && unit < units.length - 1; unit++)
        value /= 1024;
    return (unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(1)) + " " + units[unit];
}

const seconds = value => value == null ? "–" : value < 0.001 ? (value * 1e6).toFixed(0) + " µs" : value < 1 ? (value * 1e3).toFixed(1) + " ms" : value.toFixed(2) + " s";

/* ---- figures ---- */

const sum = object => Object.values(object).reduce((all, one) => all + one, 0);

/* {'a="b",c="d"': value} of all figures of that name. */
function family(figures, name) {
    const found = {};
    for (const [key, value] of Object.entries(figures))
        if (key === name || key.startsWith(name + "{"))
            found[key.slice(name.length + 1, -1)] = value;
    return found;
}

const labelOf = (labels, name) => (labels.match(new RegExp("(?:^|,)" + name + '="((?:[^"\\\\]|\\\\.)*)"')) || ["", ""])[1];

/* What grew since the event before this one, a second. */
function perSecond(now, pick) {
    if (before === null || now.time <= before.time)
        return 0;
    return Math.max(0, (pick(now) - pick(before)) / (now.time - before.time));
}

/* ---- the page ---- */

function cell(row, text, kind) {
    const td = row.insertCell();
    td.textContent = text;
    if (kind)
        td.className = kind;
}

function fill(id, rows) {
    const body = element(id).tBodies[0], fresh = document.createElement("tbody");
    for (const columns of rows) {
        const row = fresh.insertRow();
        columns.forEach(column => Array.isArray(column) ? cell(row, column[0], column[1]) : cell(row, column));
    }
    body.replaceWith(fresh);
}

const pairs = (id, rows) => fill(id, rows.map(([name, value]) => [name, [value, "number"]]));

function svg(parent, name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes))
        made.setAttribute(key, value);
    if (text !== undefined)
        made.textContent = text;
    parent.append(made);
}

function line(id, values, most) {
    const at = element(id), step = 120 / (POINTS_MAX - 1), top = most || Math.max(1, ...values);
    at.replaceChildren();
    svg(at, "polyline", {points: values.map((value, i) => `${(120 - (values.length - 1 - i) * step).toFixed(1)},${(29 - 28 * value / top).toFixed(1)}`).join(" ")});
}

function remember(values, value) {
    values.push(value);
    if (values.length > POINTS_MAX)
        values.shift();
}

const asked = stats => stats.requests.total - (stats.requests.by_result.NONE || 0);
const hits = stats => ["HIT", "STALE", "UPDATING", "REVALIDATED"].reduce((all, word) => all + (stats.requests.by_result[word] || 0), 0);

function showFigures(now) {
    const stats = now.stats, counters = stats.counters;
    const rate = perSecond(now, one => one.stats.requests.total), askedRate = perSecond(now, one => asked(one.stats));
    const hitRate = askedRate > 0 ? perSecond(now, one => hits(one.stats)) / askedRate : null;
    element("rate").textContent = number(rate);
    element("hit-ratio").textContent = percent(stats.hit_ratio);
    element("byte-hit-ratio").textContent = percent(stats.byte_hit_ratio);
    element("saved").textContent = bytes(perSecond(now, one => one.stats.counters.cache_sent_bytes_total)) + "/s";
    element("sent").textContent = bytes(perSecond(now, one => one.stats.counters.client_sent_bytes_total)) + "/s";
    element("connections").textContent = number(stats.gauges.client_connections);
    element("saved").title = bytes(counters.cache_sent_bytes_total) + " since the start";
    element("version").textContent = labelOf(Object.keys(family(stats.gauges, "build_info"))[0] || "", "version");
    remember(history.rate, rate);
    remember(history.hit, hitRate === null ? stats.hit_ratio || 0 : hitRate);
    line("rate-line", history.rate);
    line("hit-line", history.hit, 1);
}

function showLatency(latency) {
    const parts = ["hit", "miss"].map(kind => latency[kind]);
    ["hit", "miss"].forEach((kind, i) => element(kind + "-latency").textContent = `median ${seconds(parts[i].p50_seconds)}, p99 ${seconds(parts[i].p99_seconds)}`);
    const fresh = [];
    parts[0].buckets.forEach(([bound], i) => {
        const bucket = document.createElement("div"), label = document.createElement("span");
        bucket.className = "bucket";
        parts.forEach((part, which) => {
            const bar = document.createElement("div");
            bar.className = "bar " + (which ? "miss" : "hit");
            bar.style.height = (part.count > 0 ? 100 * part.buckets[i][1] / part.count : 0) + "%";
            bucket.append(bar);
        });
        label.textContent = bound === null ? "∞" : bound < 0.001 ? (bound * 1e6).toFixed(0) + "µ" : bound < 1 ? (bound * 1e3).toFixed(0) + "m" : bound.toFixed(0);
        bucket.title = bound === null ? "longer" : "up to " + seconds(bound);
        bucket.append(label);
        fresh.push(bucket);
    });
    element("latency").replaceChildren(...fresh);
}

function showResults(stats) {
    const total = Math.max(1, stats.requests.total), ranked = object => Object.entries(object).sort((a, b) => b[1] - a[1]);
    fill("results", ranked(stats.requests.by_result).map(([word, count]) => [word === "NONE" ? "without the cache" : word, [number(count), "number"], [percent(count / total), "number"]]));
    fill("reasons", ranked(stats.details).map(([word, count]) => [word, [number(count), "number"], [reasons[word] || "", "sentence"]]));
}

function showSizing(id, points) {
    const at = element(id), left = 30, width = 280, height = 120, x = i => left + width * i / (points.length - 1), y = ratio => 10 + height * (1 - ratio);
    at.replaceChildren();
    for (const ratio of [0, 0.5, 1]) {
        svg(at, "line", {class: "axis", x1: left, x2: left + width, y1: y(ratio), y2: y(ratio)});
        svg(at, "text", {x: 12, y: y(ratio) + 3}, (100 * ratio).toFixed(0) + " %");
    }
    svg(at, "polyline", {points: points.map((point, i) => `${x(i).toFixed(1)},${y(point.hit_ratio).toFixed(1)}`).join(" ")});
    points.forEach((point, i) => {
        svg(at, "circle", {class: point.times === 1 ? "built" : "", cx: x(i), cy: y(point.hit_ratio), r: 4});
        svg(at, "text", {x: x(i), y: y(point.hit_ratio) - 7}, (100 * point.hit_ratio).toFixed(1));
        svg(at, "text", {x: x(i), y: 148}, bytes(point.bytes));
    });
}

function showSizes(sizing) {
    element("sizing-note").textContent = sizing.requests > 0
        ? `Hit ratio of what can be stored with ½, 1, 2, 4 and 8 times the size, estimated from ${number(sizing.requests)} requests of the last one to two hours.`
        : "Nothing that can be stored was asked for in the last hour.";
    showSizing("sizing-memory", sizing.memory);
    element("sizing-disk-figure").hidden = sizing.disk === null;
    if (sizing.disk !== null)
        showSizing("sizing-disk", sizing.disk);
}

function showTiers(now) {
    const gauges = now.stats.gauges, memory = kind => gauges[`cache_memory_bytes{kind="${kind}"}`] || 0;
    const rate = name => perSecond(now, one => sum(family(one.stats.gauges, name)));
    pairs("memory", [
        ["used", `${bytes(memory("allocated"))} of ${bytes(memory("limit"))}, ${percent(memory("allocated") / memory("limit"))}`],
        ["stored responses", number(gauges.cache_objects)], ["on their way in", number(gauges.cache_fills)],
        ["evictions", `${number(rate("cache_evictions_total"))}/s, ${number(gauges.cache_evictions_total)} in all`],
        ["not stored for want of room", number(gauges.cache_admission_failures_total)], ["index, beside it", bytes(memory("index"))],
        ["purges", number(gauges.cache_purges_total)]]);
    if (gauges.store_records === undefined) {
        pairs("disk", [["there is none", ""]]);
        return;
    }
    const rows = [["records", number(gauges.store_records)], ["waiting to be written", bytes(gauges.store_queue_bytes)],
        ["written", bytes(rate("store_written_bytes_total")) + "/s"], ["read", bytes(rate("store_read_bytes_total")) + "/s"],
        ["read in, p99", seconds(now.stats.latency.store_read.p99_seconds)],
        ["segments emptied", number(gauges.store_reclaimed_segments_total)], ["written again", number(gauges.store_moved_records_total)], ["dropped", number(gauges.store_dropped_total)]];
    for (const [labels, size] of Object.entries(family(gauges, "store_bytes")))
        rows.push([labelOf(labels, "directory"), bytes(size)]);
    pairs("disk", rows);
}

function showOrigins(now) {
    const counters = now.stats.counters, gauges = now.stats.gauges, rate = name => number(perSecond(now, one => one.stats.counters[name])) + "/s";
    const first = now.stats.latency.origin_first_byte;
    pairs("origins", [
        ["addresses up", number(gauges['origin_addresses{state="up"}'])], ["addresses down", number(gauges['origin_addresses{state="down"}'])],
        ["requests", rate("origin_requests_total")], ["first byte, median", seconds(first.p50_seconds)], ["first byte, p99", seconds(first.p99_seconds)],
        ["connections", `${number(gauges.origin_connections)}, ${number(gauges.origin_connections_idle)} idle`],
        ["retries", number(counters.origin_retries_total)], ["failures", number(counters.origin_failures_total)], ["waited for another's fetch", number(counters.collapsed_requests_total)]]);
}

/* The mean of the last second; of all the time when nothing was answered in it. */
function firstByte(now, labels) {
    const spent = one => one.stats.gauges[`site_origin_first_byte_seconds_total{${labels}}`] || 0, answers = one => one.stats.gauges[`site_origin_answers_total{${labels}}`] || 0;
    const fresh = before === null ? 0 : answers(now) - answers(before);
    if (fresh > 0)
        return seconds((spent(now) - spent(before)) / fresh);
    return answers(now) > 0 ? seconds(spent(now) / answers(now)) : "–";
}

function showEachOrigin(now) {
    const gauges = now.stats.gauges, ups = Object.entries(family(gauges, "site_origin_up"));
    element("each-origin").hidden = ups.length === 0;
    fill("origin-list", ups.map(([labels, up]) => [
        labelOf(labels, "origin"), labelOf(labels, "site"), [up ? "up" : "down", up ? "" : "down"],
        [number(perSecond(now, one => one.stats.gauges[`site_origin_requests_total{${labels}}`] || 0)) + "/s", "number"], [firstByte(now, labels), "number"],
        [number(gauges[`site_origin_failures_total{${labels}}`]), "number"],
        [["active", "idle"].map(state => `${number(gauges[`site_origin_connections{${labels},state="${state}"}`])} ${state}`).join(", "), "number"]]));
}

function showHelpers(stats) {
    const of = (name, role) => stats.gauges[`${name}{role="${role}"}`], shown = value => [value === undefined ? "–" : number(value), "number"];
    const took = (role, part) => [stats.latency["helper_" + role] === undefined ? "–" : seconds(stats.latency["helper_" + role][part]), "number"];
    fill("helpers", ["disk", "store", "resolver", "log"].map(role => [role, shown(of("helpers", role)), shown(of("helper_queue_depth", role)), took(role, "p50_seconds"), took(role, "p99_seconds"),
        ...["helper_restarts_total", "helper_timeouts_total", "helper_failures_total"].map(name => shown(of(name, role)))]));
}

function showProtocols(now) {
    const rows = [];
    for (const figures of [now.stats.counters, now.stats.gauges])
        for (const [key, value] of Object.entries(figures))
            if (/^(tls|http2|client_tls|certificate)/.test(key) && value !== 0 && value !== null)
                rows.push([key.replace(/_total\b/, "").replace(/[_{}"]+/g, " "), key.includes("_seconds") && value > 1e9 ? new Date(1000 * value).toISOString().slice(0, 10) : number(value)]);
    pairs("protocols", rows.length > 0 ? rows : [["nothing yet", ""]]);
}

function showAlarms(now) {
    const gauges = now.stats.gauges, alarms = [];
    for (const [labels, value] of Object.entries(family(gauges, "store_bypassed")))
        if (value > 0)
            alarms.push(`cache directory ${labelOf(labels, "directory")} is in trouble; it is stepped around`);
    for (const [key, value] of Object.entries(gauges))
        if (/certificate.*(expir|not_after)/.test(key) && value !== null && value > 0 && value * 1000 - Date.now() < certificateDays * 86400000)
            alarms.push(`a certificate ${value * 1000 < Date.now() ? "has expired" : "expires"} on ${new Date(1000 * value).toISOString().slice(0, 10)}: ${key.replace(/^[^{]*/, "")}`);
    const down = Object.entries(family(gauges, "site_origin_up")).filter(([, up]) => up === 0).map(([labels]) => labels);
    for (const labels of down)
        alarms.push(`the origin ${labelOf(labels, "origin")} of ${labelOf(labels, "site")} is down`);
    if (down.length === 0 && gauges['origin_addresses{state="down"}'] > 0)
        alarms.push(`${gauges['origin_addresses{state="down"}']} origin address(es) down`);
    const given = ["", "connections are not kept alive", "stored responses are evicted", "what would have to be fetched is answered 503", "no new client is accepted"][gauges.memory_level];
    if (given)
        alarms.push(`memory is short, ${bytes(gauges.memory_used_bytes)} of ${bytes(gauges.memory_limit_bytes)}: ${given}`);
    if (gauges.draining === 1)
        alarms.push("the server is draining: it accepts no new connections");
    element("alarms").replaceChildren(...alarms.map(text => {
        const item = document.createElement("li");
        item.textContent = text;
        return item;
    }));
}

function showTop() {
    const kind = element("top-kind").value, measure = element("top-measure").value, rows = lists === null ? [] : lists[kind][measure];
    fill("top-list", rows.map(row => [row.name, [measure === "bytes" ? bytes(row.count) : number(row.count), "number"]]));
}

function show(now) {
    showFigures(now);
    showLatency(now.stats.latency);
    showResults(now.stats);
    showSizes(now.sizing);
    showTiers(now);
    showOrigins(now);
    showEachOrigin(now);
    showHelpers(now.stats);
    showProtocols(now);
    showAlarms(now);
    lists = now.top;
    element("top").hidden = lists === null;
    showTop();
    before = now;
}

/* ---- one URL ---- */

async function ask(target, method) {
    try {
        const response = await fetch(target, {method}), answer = await response.json();
        return response.ok ? answer : {error: answer.error || `status ${response.status}`};
    } catch (error) {
        return {error: String(error)};
    }
}

async function why(event) {
    event.preventDefault();
    const answer = await ask("why?url=" + encodeURIComponent(element("why-url").value), "GET");
    element("why-answer").textContent = answer.error || answer.text.join("\n");
}

function askToPurge() {
    if (!element("why").reportValidity())
        return;
    element("confirm-text").textContent = `Forget what is stored of ${element("why-url").value}, all variants?`;
    element("confirm").showModal();
}

async function purge() {
    const answer = await ask("purge?url=" + encodeURIComponent(element("why-url").value), "POST");
    element("why-answer").textContent = answer.error || (answer.purged ? "purged" : "nothing was stored of it");
}

/* ---- the stream ---- */

function say(text, kind) {
    element("state").textContent = text;
    element("state").className = kind;
}

function greet(hello) {
    reasons = hello.reasons;
    certificateDays = hello.certificate_days;
    mayControl = hello.control;
    before = null;
    for (const id of ["why-url", "purge"])
        element(id).disabled = !mayControl;
    element("why").querySelector("button").disabled = !mayControl;
    element("not-allowed").hidden = mayControl;
}

const events = new EventSource("events");
events.addEventListener("hello", event => greet(JSON.parse(event.data)));
events.addEventListener("figures", event => {
    say("live", "live");
    show({...JSON.parse(event.data), time: event.timeStamp / 1000});
});
events.addEventListener("error", () => say("connection lost, trying again", "lost"));
element("why").addEventListener("submit", why);
element("purge").addEventListener("click", askToPurge);
element("confirm-yes").addEventListener("click", purge);
element("top-kind").addEventListener("change", showTop);
element("top-measure").addEventListener("change", showTop);
