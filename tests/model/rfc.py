"""What a stored response may be used for, by RFC 9111, written from the text of the RFCs and docs/CACHING.md: slow and plain, and knowing nothing of the C.

Fields are lists of (name, value). Times are seconds. Where an RFC leaves a choice, the comment says which one this cache makes."""
import calendar
import datetime
import re

LIMIT = 2**31  # RFC 9111 §1.2.2: larger numbers of seconds count as this
TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
QUOTED = r'"(?:[^"\\]|\\.)*"'
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
DAY = "(?:mon|tue|wed|thu|fri|sat|sun)"
LONG_DAY = "(?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)"
TIME = "([0-9]{2}):([0-9]{2}):([0-9]{2})"
IMF = re.compile(rf"{DAY}, ([0-9]{{2}}) ([a-z]{{3}}) ([0-9]{{4}}) {TIME} gmt", re.I)
RFC850 = re.compile(rf"{LONG_DAY}, ([0-9]{{2}})-([a-z]{{3}})-([0-9]{{2}}) {TIME} gmt", re.I)
ASCTIME = re.compile(rf"{DAY} ([a-z]{{3}}) ([0-9]{{2}}| [0-9]) {TIME} ([0-9]{{4}})", re.I)


def values(fields, name):
    return [v for n, v in fields if n.lower() == name.lower()]


def first(fields, name):
    return next(iter(values(fields, name)), None)


def members(text):
    """RFC 9110 §5.6.1: what commas separate, those in quoted strings not counting, without empty ones."""
    found, member, quoted, escaped = [], "", False, False
    for c in text:
        if c == "," and not quoted:
            found.append(member)
            member = ""
            continue
        member += c
        if escaped:
            escaped = False
        elif quoted and c == "\\":
            escaped = True
        elif c == '"':
            quoted = not quoted
    return [m.strip(" \t") for m in found + [member] if m.strip(" \t")]


def all_members(fields, name):
    return [m for line in values(fields, name) for m in members(line)]


# ---- dates ---------------------------------------------------------------------------------------------------------------------------------


def date(text, now):
    """RFC 9110 §5.6.7, without case (RFC 9111 §4.2). None: it is no date."""
    if text is None:
        return None
    if m := IMF.fullmatch(text):
        day, month, year, *clock = m.groups()
        year = int(year)
    elif m := RFC850.fullmatch(text):
        day, month, year, *clock = m.groups()
        this_year = datetime.datetime.utcfromtimestamp(now).year
        year = max(y for y in range(this_year - 150, this_year + 51) if y % 100 == int(year))
    elif m := ASCTIME.fullmatch(text):
        month, day, *clock, year = m.groups()
        year = int(year)
    else:
        return None
    hour, minute, second = map(int, clock)
    try:
        datetime.date(year, MONTHS.index(month.lower()) + 1, int(day))
    except ValueError:
        return None
    if hour > 23 or minute > 59 or second > 60:
        return None
    return calendar.timegm((year, MONTHS.index(month.lower()) + 1, int(day), hour, minute, 0)) + second


def print_date(seconds):
    return datetime.datetime.utcfromtimestamp(seconds).strftime("%a, %d %b %Y %H:%M:%S GMT")


# ---- Cache-Control and what stands in its place ----------------------------------------------------------------------------------------------

SECONDS = {"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error", "min-fresh", "max-stale"}
RESTRICTIONS = {"no-store", "must-revalidate", "proxy-revalidate", "no-transform", "only-if-cached"}
PERMISSIONS = {"public", "must-understand"}
NAMING = {"no-cache", "private"}
KNOWN = SECONDS | RESTRICTIONS | PERMISSIONS | NAMING | {"immutable"}
ESSENTIAL = {"cache-control", "content-encoding", "content-length", "content-range", "content-type", "vary"}  # a response means nothing without these


class Directives:
    def __init__(self):
        self.flags, self.seconds, self.names, self.invalid = set(), {}, {}, set()
        self.present = self.known = False

    def has(self, name):
        return name in self.flags

    def number(self, name):
        return 0 if name in self.invalid else self.seconds.get(name)


def honourable(names):
    listed = members(names)
    return listed and all(re.fullmatch(TOKEN, n) and n.lower() not in ESSENTIAL for n in listed)


def directives(fields, name="Cache-Control"):
    """RFC 9111 §5.2. Of a member that does not fit the grammar only restrictions count, and a lifetime in it is none (§4.2.1: stale)."""
    out = Directives()
    out.present = bool(values(fields, name))
    for member in all_members(fields, name):
        if m := re.fullmatch(f"({TOKEN})(?:=({TOKEN}|{QUOTED}|))?", member):
            found, clean = [m.groups()], True
        else:
            found, clean = re.findall(f"({TOKEN})(?:=({QUOTED}|(?:{TOKEN})?))?", member), False
        for word, argument in found:
            quoted = argument is not None and len(argument) > 1 and argument[0] == '"'
            state_directive(out, word.lower(), argument[1:-1] if quoted else argument, clean)
    return out


def state_directive(out, name, argument, clean):
    if name not in KNOWN:
        return
    out.known = True
    if name in RESTRICTIONS or (name in PERMISSIONS and clean and argument is None) or (name == "immutable" and clean):
        out.flags.add(name)
    elif name in NAMING and clean and argument and honourable(argument) and name not in out.names:
        out.names[name] = [n.lower() for n in members(argument)]
    elif name in NAMING:
        out.flags.add(name)
    elif name == "max-stale" and clean and argument is None:
        out.flags.add(name)
    elif name in SECONDS and clean and argument and re.fullmatch("[0-9]+", argument):
        out.seconds.setdefault(name, min(int(argument), LIMIT))  # §4.2.1: of several the first…
    elif name in SECONDS:
        out.invalid.add(name)  # …or none, when one is invalid


SF_KEY = r"[a-z*][a-z0-9_.*-]*"
SF_BARE = r'(?:-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}(?![0-9.])|"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|[A-Za-z*][!#$%&\'*+.^_`|~0-9A-Za-z:/-]*|\?[01]|@-?[0-9]{1,15}(?![0-9.]))'
SF_PARAMETERS = rf"(?:; *{SF_KEY}(?:={SF_BARE})?)*"
SF_ITEM = SF_BARE + SF_PARAMETERS
SF_INNER = rf"\( *(?:{SF_ITEM}(?: +{SF_ITEM})*)? *\){SF_PARAMETERS}"
SF_MEMBER = re.compile(rf"({SF_KEY})(?:=({SF_INNER}|{SF_ITEM})|{SF_PARAMETERS})")


def dictionary(text):
    """RFC 9651 §4.2.2, for the types that a directive may have. None: it is invalid."""
    found, rest = {}, text.strip(" ")
    while rest:
        m = SF_MEMBER.match(rest)
        if not m:
            return None
        found[m[1]] = re.sub(f"{SF_PARAMETERS}$", "", m[2]) if m[2] and m[2][0] not in '"(' else m[2] or "?1"
        rest = rest[m.end() :].lstrip(" \t")
        if rest and not rest.startswith(","):
            return None
        if rest and not rest[1:].lstrip(" \t"):
            return None
        rest = rest[1:].lstrip(" \t")
    return found


def typed_directives(found):
    """RFC 9213 §2.1. A restriction counts with whatever value but false; a lifetime that is no integer is 0."""
    out = Directives()
    out.present = True
    for name, value in found.items():
        if name in SECONDS:
            number = re.fullmatch("-?[0-9]+", value)
            out.seconds[name] = max(0, min(int(value), LIMIT)) if number else 0
        elif name in RESTRICTIONS:
            out.flags |= {name} if value != "?0" else set()
        elif name in NAMING:
            text = re.match(r'"((?:[^"\\]|\\.)*)"', value)
            if text and honourable(text[1]):
                out.names[name] = [n.lower() for n in members(text[1])]
            elif value != "?0":
                out.flags.add(name)
        elif name in KNOWN and value == "?1":
            out.flags.add(name)
    return out


def control(fields, rules, date_s):
    """docs/CACHING.md, "Fields addressed to this cache": the directives that govern, and whether it is Cache-Control (with Expires) that has them."""
    for name in rules["targeted"]:
        if values(fields, name):
            found = dictionary(", ".join(values(fields, name)))
            if found:  # RFC 9213 §2.1: an empty one counts as absent, too
                return typed_directives(found), False
    if rules["surrogate_control"]:
        out = directives(fields, "Surrogate-Control")
        if out.known:
            return out, False
    if rules["accel_expires"] and (m := re.fullmatch("(@?)([0-9]+)", first(fields, "X-Accel-Expires") or "")):
        out = Directives()
        if int(m[2]) == 0:
            out.flags.add("no-store")
        else:
            out.seconds["max-age"] = max(0, min(int(m[2]) - (date_s if m[1] else 0), LIMIT))
        return out, False
    return directives(fields), True


# ---- freshness (RFC 9111 §4.2) -----------------------------------------------------------------------------------------------------------------

HEURISTIC = {200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501}  # RFC 9110 §15.1
OF_CLIENT = {401, 407, 408, 412, 413, 416, 417, 421, 425, 426, 428, 429, 431}  # who asked, or how: no rule for a class of errors means these
ORIGIN_TROUBLE = {500, 502, 503, 504}  # RFC 5861 §4


def age_value(fields):
    """§5.1: the first that is a number; what is none is ignored."""
    return next((min(int(m), LIMIT) for m in all_members(fields, "Age") if re.fullmatch("[0-9]+", m)), 0)


def initial_age(fields, asked, received):
    """§4.2.3"""
    sent = date(first(fields, "Date"), received)
    apparent = max(0, received - sent) if sent is not None else 0
    return min(max(apparent, age_value(fields) + max(0, received - asked)), LIMIT)


def lifetime(fields, status, rules, received):
    """§4.2.1, §4.2.2. (seconds or None, where it came from)"""
    sent = date(first(fields, "Date"), received)
    sent = received if sent is None else sent
    cc, is_plain = control(fields, rules, sent)
    if cc.number("s-maxage") is not None:
        return cc.number("s-maxage"), "explicit"
    if cc.number("max-age") is not None:
        return cc.number("max-age"), "explicit"
    if is_plain and values(fields, "Expires"):
        lines = values(fields, "Expires")
        expires = date(lines[0], received) if len(lines) == 1 else None
        return (min(max(0, expires - sent), LIMIT) if expires is not None else 0), "explicit"
    exact = [ttl for low, high, ttl in rules["errors"] if low == high == status]
    ranged = [ttl for low, high, ttl in rules["errors"] if low <= status <= high and low != high and status not in OF_CLIENT]
    if exact or ranged:
        return (exact or ranged[-1:])[0], "rule"
    modified = date(first(fields, "Last-Modified"), received)
    if (status in HEURISTIC or cc.has("public")) and rules["heuristic_max"] and modified is not None and modified <= sent:
        return min((sent - modified) // 10, rules["heuristic_max"]), "heuristic"
    return None, None


# ---- storing (RFC 9111 §3) ---------------------------------------------------------------------------------------------------------------------

UNDERSTOOD = {*range(200, 206), *range(300, 304), 305, 307, 308, *range(400, 418), 421, 422, 426, *range(500, 506)}
CODINGS = {"gzip", "br", "zstd", "deflate", "identity", "compress", "dcb", "dcz", "x-gzip", "x-compress", "*"}
ETAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


def vary(fields, rules):
    """The names that select, sorted; None: nothing ever matches (§4.1)."""
    names = all_members(fields, "Vary")
    if any(n == "*" or not re.fullmatch(TOKEN, n) for n in names):
        return None
    return tuple(sorted({n.lower() for n in names} | {"cookie:" + n for n in rules["key_cookies"]}))


def may_store(request, status, fields, rules, received):
    """§3, but for what it is worth: the reason against it, or None."""
    sent = date(first(fields, "Date"), received)
    cc, _ = control(fields, rules, received if sent is None else sent)
    asked = request["fields"]
    shared = cc.has("public") or cc.number("s-maxage") is not None
    if request["method"] != "GET":
        return "method"
    if status == 206 or status == 304:
        return "partial"
    if (status == 412 and any(values(asked, n) for n in ("If-Match", "If-None-Match", "If-Unmodified-Since"))) or (
        (status == 416 and values(asked, "Range")) or (status == 417 and values(asked, "Expect"))
    ):
        return "about this request"
    if cc.has("must-understand") and status not in UNDERSTOOD:
        return "own"
    if (cc.has("no-store") and not cc.has("must-understand")) or cc.has("private"):
        return "own"
    if values(asked, "Authorization") and not shared and not cc.has("must-revalidate"):  # §3.5
        return "authorization"
    sets_cookie = values(fields, "Set-Cookie") and "set-cookie" not in cc.names.get("no-cache", []) + cc.names.get("private", [])
    if sets_cookie and not (rules["store_set_cookie"] and shared):
        return "set-cookie"
    if vary(fields, rules) is None:
        return "own"
    codings = all_members(fields, "Content-Encoding")
    if "accept-encoding" in vary(fields, rules) and any(c.lower() not in CODINGS for c in codings):
        return "vary-coding"
    return None


def left_out(fields, rules, received):
    """§5.2.2.4, §5.2.2.7: fields that only the one who asked first is given."""
    sent = date(first(fields, "Date"), received)
    cc, _ = control(fields, rules, received if sent is None else sent)
    return set(cc.names.get("no-cache", []) + cc.names.get("private", []))


# ---- conditions of clients (RFC 9110 §13.2.2) --------------------------------------------------------------------------------------------------


def tags(lines):
    """The entity tags of a list; what is none matches nothing, up to its comma."""
    found = []
    for line in lines:
        at = 0
        while at < len(line):
            while at < len(line) and line[at] in " \t":
                at += 1
            m = ETAG.match(line, at)
            at = m.end() if m else at
            comma = line.find(",", at)
            comma = len(line) if comma < 0 else comma
            if m and not line[at:comma].strip(" \t"):
                found.append(m.groups())
            at = comma + 1
    return found


def tag(text):
    m = ETAG.fullmatch(text or "")
    return m.groups() if m else None


def single_date(fields, name, now):
    return date(values(fields, name)[0], now) if len(values(fields, name)) == 1 else None


def condition(method, asked, stored, now):
    """"full", "not-modified" or "failed"."""
    if not 200 <= stored.status <= 299:
        return "full"
    mine, safe = tag(first(stored.fields, "ETag")), method in ("GET", "HEAD")
    if lines := values(asked, "If-Match"):
        if lines != ["*"] and not (mine and not mine[0] and (None, mine[1]) in tags(lines)):
            return "failed"
    elif (since := single_date(asked, "If-Unmodified-Since", now)) is not None and stored.modified is not None:
        if stored.modified > since:
            return "failed"
    if lines := values(asked, "If-None-Match"):
        current = lines == ["*"] or (mine is not None and mine[1] in [t[1] for t in tags(lines)])
    else:
        since = single_date(asked, "If-Modified-Since", now)
        changed = stored.modified if stored.modified is not None else stored.sent
        current = safe and since is not None and changed is not None and changed <= since
    return ("not-modified" if safe else "failed") if current else "full"
