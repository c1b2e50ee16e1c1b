"""The model's cache: what is stored, what a request gets, what becomes of the origin's answer. It answers the steps that cache_driver.c is given with
what that ought to say. One thing at a time, everything looked for by going through it all."""
import itertools
import re

import rfc
from rfc import first, values

HOP_BY_HOP = {"connection", "keep-alive", "proxy-authenticate", "proxy-authentication-info", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings"}  # fmt: skip
OUT_OF_REACH = {"cookie", "authorization", "host", "content-length", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}  # of Connection
SAFE = {"GET", "HEAD", "OPTIONS"}
TAGS = {"surrogate-key", "cache-tag", "xkey"}
SINGLE = {"user-agent", "referer", "origin", "authorization"}  # no lists: white space around a comma is part of them

# Vary (RFC 9111 §4.1): of these fields the generator uses only values that are listed here, and those of one row mean the same to an origin.
MEANINGS = {
    "accept-encoding": [
        ["gzip, br", "br,gzip", "GZIP ,br", "br;q=1.0, x-gzip", "gzip;q=0.5,br;q=0.5", "gzip, br, foo;q=0.3", "br, gzip, identity;q=0.5"],
        ["gzip", "gzip;q=1", "Gzip", "x-gzip;q=0.8", "gzip, br;q=0"],
        ["br", "br;q=0.3"],
        ["gzip;q=0.5, br", "br, gzip;q=0.1", "br;q=0.9,gzip;q=0.8"],
        ["*"],
        ["gzip, *;q=0", "*;q=0.0 , gzip"],
        ["", "identity", "foo", "gzip;q=0"],
    ],
    "accept-language": [
        ["en, de;q=0.5", "de;q=0.500,en", "EN,DE;q=0.5", "de ; q=0.5 , en;q=1.000"],
        ["en"],
        ["de"],
        ["en-GB, en", "en,en-gb"],
        [""],
    ],
}


def end_to_end(fields):
    """RFC 9111 §3.1. Content-Length and Age are written for each answer."""
    named = {m.lower() for m in rfc.all_members(fields, "Connection")} - OUT_OF_REACH
    return [(n, v) for n, v in fields if n.lower() not in HOP_BY_HOP | named | {"age"}]


def with_date(fields, received):
    return fields if values(fields, "Date") else [*fields, ("Date", rfc.print_date(received))]


def selecting(name, asked):
    if name.startswith("cookie:"):
        pairs = [p.strip(" \t").partition("=") for line in values(asked, "Cookie") for p in line.split(";") if p.strip(" \t")]
        found = [v.strip(" \t") for n, _, v in pairs if n.strip(" \t") == name[7:]]
        return ";".join(found) if found else None
    lines = values(asked, name)
    if not lines:
        return None
    text = ", ".join(lines)
    if name in MEANINGS:
        return next(i for i, row in enumerate(MEANINGS[name]) if text in row)
    return text if name in SINGLE | {"cookie"} else re.sub("[ \t]*,[ \t]*", ",", text)


class Stored:
    """One response. `fields` as they are kept; `judged` has besides them what counts and is not kept."""

    def __init__(self, status, fields, judged, body, size, rules, asked, received, of=None):
        self.status, self.fields, self.body, self.size = status, fields, body, size
        self.asked, self.received = asked, received
        self.sent = rfc.date(first(judged, "Date"), received)
        self.cc, _ = rfc.control(judged, rules, received if self.sent is None else self.sent)
        seconds, self.source = rfc.lifetime(judged, status, rules, received)
        self.known, self.lifetime = seconds is not None, seconds or 0
        self.initial_age = rfc.initial_age(judged, asked, received)
        alone = rfc.left_out(judged, rules, received)
        modified, tag = (first(fields, n) if n.lower() not in alone else None for n in ("Last-Modified", "ETag"))
        modified = rfc.date(modified, received)
        self.modified = modified if modified is not None and modified >= 0 else None  # before 1970: no validator here
        self.can_validate = self.modified is not None or rfc.tag(tag) is not None
        self.no_cache = self.cc.has("no-cache")
        self.must_revalidate = any(self.cc.has(n) for n in ("must-revalidate", "proxy-revalidate")) or self.cc.number("s-maxage") is not None
        self.revalidate_window = self.cc.number("stale-while-revalidate") or 0
        self.error_window = self.cc.number("stale-if-error")
        self.ended = None
        self.hidden = {"surrogate-control"} if rules["surrogate_control"] else set()
        self.hidden |= ({"x-accel-expires"} if rules["accel_expires"] else set()) | (TAGS if rules["strip_tags"] else set())

    def age(self, now):
        return min(self.initial_age + max(0, now - self.received), rfc.LIMIT)

    def ttl(self, now):
        return self.lifetime - self.age(now)

    def end_freshness(self, now):
        self.lifetime, self.ended = min(self.lifetime, self.age(now)), now if self.ended is None else self.ended

    def is_worth_it(self):
        """Whether it can ever spare a fetch (docs/CACHING.md, "What is kept")."""
        if not self.known and self.status not in rfc.HEURISTIC and not self.cc.has("public"):
            return False
        window = 0 if self.must_revalidate else max(self.revalidate_window, self.error_window or 0)
        return self.can_validate or (self.known and not self.no_cache and self.lifetime + window > self.initial_age)

    def shown(self):
        return [(n, v) for n, v in self.fields if n.lower() not in self.hidden]


def wants_new(request, rules):
    """RFC 9111 §5.2.1.4, §5.4"""
    cc = request["cc"]
    pragma = "no-cache" in [m.lower() for m in rfc.all_members(request["fields"], "Pragma")]
    return rules["honour_request_directives"] and (cc.has("no-cache") or "no-cache" in cc.names or (pragma and not cc.present))


def judge(stored, request, rules, now):
    """RFC 9111 §4: "fresh", "stale" (served, and revalidated in the background) or "validate", and RFC 9211's word."""
    cc, honours, ttl = request["cc"], rules["honour_request_directives"], stored.ttl(now)
    if stored.no_cache:
        return "validate", "stale"
    wish = wants_new(request, rules)
    if honours:
        # RFC 8246 §2: not while it is fresh and immutable
        wish |= cc.number("max-age") is not None and stored.age(now) > cc.number("max-age") and not (stored.cc.has("immutable") and ttl > 0)
        wish |= cc.number("min-fresh") is not None and ttl < cc.number("min-fresh")
    if ttl > 0:
        return ("validate", "request") if wish else ("fresh", None)
    if wish or stored.must_revalidate:  # §4.2.4
        return "validate", "stale"
    if honours:
        accepts = cc.number("max-stale")  # §5.2.1.2
        if accepts is not None and -ttl <= accepts or accepts is None and cc.has("max-stale"):
            return "stale", None
        if cc.number("max-age") is not None or accepts is not None:
            return "validate", "stale"
    return ("stale", None) if -ttl < stored.revalidate_window else ("validate", "stale")  # RFC 5861 §3


def serves_on_error(stored, request, rules, now):
    """RFC 5861 §4, RFC 9111 §4.2.4"""
    if stored.no_cache or wants_new(request, rules):
        return False
    if stored.ttl(now) > 0:
        return True
    asked = request["cc"].number("stale-if-error") if rules["honour_request_directives"] else None
    window = rules["grace"] if stored.error_window is None else stored.error_window
    return not stored.must_revalidate and -stored.ttl(now) < max(window, stored.revalidate_window, asked or 0)


def has_cookie(asked, patterns):
    names = [p.partition("=")[0].strip(" \t") for line in values(asked, "Cookie") for p in line.split(";") if p.strip(" \t")]
    return any(n == p or (p.endswith("*") and n.startswith(p[:-1])) for n in names for p in patterns)


def passes(request, rules):
    """RFC 9211's word when the request cannot be answered from the cache."""
    asked = request["fields"]
    if request["method"] not in ("GET", "HEAD"):
        return "method"
    if values(asked, "Content-Length") not in ([], ["0"]):
        return "bypass"
    if has_cookie(asked, rules["bypass_cookies"]):
        return "bypass"
    return "request" if rules["honour_request_directives"] and request["cc"].has("no-store") else None


def values_of(names, request):
    return tuple(selecting(name, request["fields"]) for name in names)


def resolve(path, reference):
    """RFC 3986 §5.2 for the forms that the generator uses; None: of another origin."""
    reference = reference.partition("#")[0]
    if m := re.fullmatch(r"(?:(?:(?i:http):)?//(?i:example\.com)(?::80)?)?(/.*)", reference):
        return m[1]
    return path.partition("?")[0].rpartition("/")[0] + "/" + reference if reference and ":" not in reference and "/" not in reference else None


class Variants:
    """The responses of one key: all vary on the same fields, those that the latest one names."""

    def __init__(self, names, number):
        self.names, self.number, self.by_values = names, number, {}


class Fill:
    def __init__(self, request, name, variants, stale, listable, memory=None):
        self.request, self.name, self.variants, self.stale, self.listable, self.memory = request, name, variants, stale, listable, memory
        self.state, self.stored, self.response, self.personal, self.source = None, False, None, [], "fetched"
        self.names, self.selects, self.is_trouble, self.is_purged, self.is_storable, self.other_variant = (), (), False, False, False, False


class Cache:
    def __init__(self, rules):
        self.rules, self.keys, self.fills, self.unstorable, self.numbers = rules, {}, {}, {}, itertools.count()

    # -- the lookup

    def find(self, request):
        """What answers the request, the name of its place, and the variants that it is one of."""
        variants = self.keys.get(request["path"])
        if variants is None or not variants.names:
            place = (request["path"], None)
            return (variants.by_values[()] if variants else None), place, None
        wanted = values_of(variants.names, request)
        return variants.by_values.get(wanted), (request["path"], variants.number, wanted), variants

    def look_up(self, request, now, is_private=False):
        out, rules = {"fetches": True}, self.rules
        if word := passes(request, rules):
            return self.go(out, "pass", word, Fill(request, None, None, None, False))
        if is_private:
            return self.go(out, "pass", "fwd=miss", Fill(request, None, None, None, False))
        stored, place, variants = self.find(request)
        if stored is None:
            return self.fetch(out, request, now, None, place, variants, "vary-miss" if variants else "uri-miss")
        verdict, word = judge(stored, request, rules, now)
        if verdict == "validate":
            return self.fetch(out, request, now, stored, place, variants, word)
        out |= {"age": stored.age(now), "ttl": stored.ttl(now), "fetches": False}
        out["serves"] = stored
        refused = rules["honour_request_directives"] and request["cc"].has("only-if-cached")
        if verdict == "stale" and request["method"] == "GET" and not refused and place not in self.fills:
            self.go(out, "stale", None, Fill(request, place, variants, stored, True, self.memory(place, request)))
            self.fills[place] = out["fill"]
            out["fetches"] = True
        return out | {"outcome": "hit" if verdict == "fresh" else "stale", "fwd": None}

    @staticmethod
    def memory(place, request):
        return (place, bool(values(request["fields"], "Authorization")))

    def fetch(self, out, request, now, stored, place, variants, word):
        memory = self.memory(place, request)
        if self.rules["honour_request_directives"] and request["cc"].has("only-if-cached"):
            return out | {"outcome": "error", "fwd": None, "fetches": False}
        if request["method"] == "HEAD":
            return self.go(out, "pass", word, Fill(request, None, variants, stored, False))
        if self.unstorable.get(memory, now) > now:
            return self.go(out, "pass", word, Fill(request, None, variants, stored, False, memory))
        if place in self.fills:
            out["joins"] = self.fills[place]
            return out | {"outcome": "join", "fwd": word, "fetches": False}
        self.fills[place] = Fill(request, place, variants, stored, True, memory)
        return self.go(out, "fill", word, self.fills[place])

    @staticmethod
    def go(out, outcome, word, fill):
        out |= {"outcome": outcome, "fwd": word.removeprefix("fwd=") if word else None, "fill": fill}
        if fill.listable and fill.stale and fill.stale.can_validate:
            out["if_none_match"], out["if_modified_since"] = first(fill.stale.fields, "ETag"), first(fill.stale.fields, "Last-Modified")
        return out

    # -- the origin's answer

    def answer(self, fill, script, now):
        self.fills = {name: f for name, f in self.fills.items() if f is not fill}
        if script.get("fails"):
            fill.state = "failed"
            return
        received = now + script["delay"]
        fields = [(n, v.strip(" \t")) for n, v in script["fields"]]
        if script["status"] == 304:
            self.confirm(fill, fields, now, received)
            return
        bodiless = fill.request["method"] == "HEAD" or script["status"] == 204
        tells_length = bodiless and script["status"] != 204  # RFC 9110 §8.6
        kept = [(n, v) for n, v in end_to_end(fields) if tells_length or n.lower() != "content-length"]
        body, size = ("", 0) if bodiless or not script["size"] else (script["body"], script["size"])
        response = Stored(script["status"], kept, fields, body, size, self.rules, now, received)
        request = fill.request
        answers_gets = request["method"] == "POST" and self.answers_gets(request, response, fields)
        reason = rfc.may_store(request | {"method": "GET"} if answers_gets else request, script["status"], fields, self.rules, received)
        storable = reason is None and response.is_worth_it()
        beaten = fill.stale is not None and not replaces(fill.stale, response)
        wanted = (fill.listable or answers_gets) and storable and not beaten
        fill.is_trouble = script["status"] in rfc.ORIGIN_TROUBLE and not wanted
        if wanted and answers_gets:
            self.forget(request["path"])
        self.settle(fill, response, fields, wanted, received)
        if not storable and fill.listable and not fill.is_trouble and not fill.is_purged:
            self.unstorable[fill.memory] = received + self.rules["hit_for_miss"]
        if fill.listable and fill.stale and not storable and ends(fill.stale, response, reason):
            self.drop(request["path"], fill.stale)
        if storable and fill.memory:
            self.unstorable.pop(fill.memory, None)
        if fill.request["method"] == "HEAD" and fill.stale:
            self.update_by_head(fill, script["status"], fields, now, received)

    def settle(self, fill, response, fields, wanted, received):
        """Where the response goes, and who is given which of its fields."""
        fill.state, fill.response, fill.is_storable = "complete", response, wanted
        if wanted:
            path, alone = fill.request["path"], rfc.left_out(fields, self.rules, received)
            fill.personal = [(n, v) for n, v in response.fields if n.lower() in alone]
            response.fields = [(n, v) for n, v in response.fields if n.lower() not in alone]
            fill.names = rfc.vary(fields, self.rules)
            fill.selects = values_of(fill.names, fill.request)
            current = self.keys.get(path)
            fill.other_variant = not fill.is_purged and fill.variants is not None and current is not fill.variants  # what it was fetched for is gone
            fill.stored = not fill.is_purged and not fill.other_variant
        if fill.stored:
            if current is None or current.names != fill.names:
                current = self.keys[path] = Variants(fill.names, next(self.numbers))
            current.by_values[fill.selects] = response
        response.fields = with_date(response.fields, received)

    def answers_gets(self, request, response, fields):
        """RFC 9110 §9.3.3: a POST's 200 with explicit freshness, whose Content-Location is its target."""
        named = values(fields, "Content-Location")
        if self.rules["honour_request_directives"] and request["cc"].has("no-store"):  # RFC 9111 §5.2.1.5
            return False
        is_target = len(named) == 1 and "#" not in named[0] and resolve(request["path"], named[0]) == request["path"]
        return response.status == 200 and is_target and response.source == "explicit" and not has_cookie(request["fields"], self.rules["bypass_cookies"])

    def merge(self, stored, fields, received):
        """RFC 9111 §3.2, §4.3.4: the fields with those of a 304 in their place. None: it is about another version."""
        newer, mine = rfc.tag(first(fields, "ETag")), rfc.tag(first(stored.fields, "ETag"))
        if newer and not newer[0] and (mine is None or mine[1] != newer[1]):
            return None
        of_the_body = ("content-length", "content-encoding", "content-range", "content-digest", "content-md5")
        new = [(n, v) for n, v in end_to_end(fields) if n.lower() not in of_the_body]
        replaced = {n.lower() for n, _ in new} | ({"date"} if not values(fields, "Date") else set())
        return with_date([(n, v) for n, v in stored.fields if n.lower() not in replaced] + new, received)

    def confirm(self, fill, fields, now, received):
        old = fill.stale
        merged = self.merge(old, fields, received)
        judged = (old.fields if merged is None else merged) + [(n, v) for n, v in fields if n.lower() == "age"]
        kept = old.fields if merged is None else merged
        response = Stored(old.status, list(kept), judged, old.body, old.size, self.rules, now, received)
        reason = rfc.may_store(fill.request, old.status, judged, self.rules, received)
        storable = reason is None and response.is_worth_it()
        self.settle(fill, response, judged, storable and merged is not None, received)
        fill.source = "revalidated"
        if not storable:
            self.unstorable[fill.memory] = received + self.rules["hit_for_miss"]
        if merged is not None and reason == "own":
            self.drop(fill.request["path"], old)  # §3.2: the stored one has these fields now, and may not be kept

    def drop(self, path, stored):
        variants = self.keys.get(path)
        if variants:
            variants.by_values = {v: r for v, r in variants.by_values.items() if r is not stored}
            if not variants.names and not variants.by_values:
                del self.keys[path]

    def update_by_head(self, fill, status, fields, now, received):
        """RFC 9111 §4.3.5"""
        old, path = fill.stale, fill.request["path"]
        variants = self.keys.get(path)
        if status != 200 or variants is None or old not in variants.by_values.values():
            return
        same = old.status == 200 and all(first(fields, n) in (None, first(old.fields, n) or "") for n in ("ETag", "Last-Modified"))
        length = first(fields, "Content-Length")
        merged = self.merge(old, fields, received) if same and length in (None, str(old.size)) else None
        if merged is not None:
            judged = merged + [(n, v) for n, v in fields if n.lower() == "age"]
            response = Stored(old.status, merged, judged, old.body, old.size, self.rules, now, received)
            reason = rfc.may_store(fill.request | {"method": "GET"}, old.status, judged, self.rules, received)
            if reason is None and response.is_worth_it() and rfc.vary(judged, self.rules) == variants.names:
                alone = rfc.left_out(judged, self.rules, received)
                response.fields = [(n, v) for n, v in response.fields if n.lower() not in alone]
                if variants.names and old.ended is not None:  # a HEAD does not end the soft purge of a URL with variants
                    response.end_freshness(old.ended)
                variants.by_values = {v: response if r is old else r for v, r in variants.by_values.items()}
                return
        self.drop(path, old)

    # -- what the client gets

    def deliver(self, request, out, now, fill, is_originator):
        """Adds "got" to `out`; "released" ones are to look up again."""
        if (fill.state == "failed" or fill.is_trouble) and fill.stale and serves_on_error(fill.stale, request, self.rules, now):
            return self.got(out, request, fill.stale, now, "stale-on-error", True)
        if fill.state == "failed":
            return out | {"got": "failed"}
        if not is_originator and not fill.stored and not (fill.is_purged and fill.is_storable):
            return out | {"got": "failed" if fill.is_trouble else "released", "private": not fill.other_variant}
        if not is_originator and fill.selects != values_of(fill.names, request):
            return out | {"got": "released", "private": False}
        return self.got(out, request, fill.response, now, fill.source, fill.stored, fill.personal if is_originator else [])

    @staticmethod
    def got(out, request, response, now, source, stored, personal=()):
        got = {
            "source": source,
            "stored": stored,
            "status": response.status,
            "age": response.age(now),
            "fields": "".join(f"{n}: {v}\r\n" for n, v in response.shown()),
            "personal": "".join(f"{n}: {v}\r\n" for n, v in personal),
            "body": response.body,
            "size": response.size,
        }
        if out["outcome"] != "pass":
            got["condition"] = rfc.condition(request["method"], request["fields"], response, now)
        return out | {"got": got}

    def forget(self, path):
        """A hard purge: of what is stored, of what is being fetched, and of what is known of the key."""
        self.keys.pop(path, None)
        self.forget_unstorable(path)
        for fill in self.fills.values():
            fill.is_purged |= fill.name[0] == path
        self.fills = {name: fill for name, fill in self.fills.items() if not fill.is_purged}

    def forget_unstorable(self, path):
        self.unstorable = {memory: until for memory, until in self.unstorable.items() if memory[0][0] != path}

    def invalidate(self, path, fields, is_stored):
        """RFC 9111 §4.4; all but what a POST has just brought itself."""
        references = [first(fields, name) for name in ("Location", "Content-Location")]
        for target in [path] + [resolve(path, r) for r in references if r]:
            if target and not (is_stored and target == path):
                self.forget(target)

    # -- the steps

    def step(self, step):
        if step["do"] == "purge":
            variants = self.keys.get(step["path"])
            if not step["soft"]:
                self.forget(step["path"])
            self.forget_unstorable(step["path"])
            for stored in variants.by_values.values() if variants and step["soft"] else ():
                stored.end_freshness(step["now"])
            return True
        now, requests, outs = step["now"], [], []
        for script in step["requests"]:
            fields = [(n, v.strip(" \t")) for n, v in script["fields"]]
            requests.append(script | {"fields": fields, "cc": rfc.directives(fields)})
            outs.append(self.look_up(requests[-1], now))
        for request, out in zip(requests, outs):
            if "fill" in out:
                self.play_origin(out["fill"], request, now)
        return [self.finish(request, out, now) for request, out in zip(requests, outs)]

    def play_origin(self, fill, request, now):
        is_conditional = fill.listable and fill.stale and fill.stale.can_validate
        self.answer(fill, request["validated" if is_conditional else "answer"], now)

    def finish(self, request, out, now):
        if out["outcome"] == "error":
            return out
        if "serves" in out:
            out = self.got(out, request, out["serves"], now, "stored", True)
        else:
            fill = out.get("fill") or out["joins"]
            out = self.deliver(request, out, now, fill, "fill" in out)
        if out["got"] == "released":
            out["again"] = self.look_up(request, now, out["private"])
            again = out["again"]
            if "fill" in again and "serves" not in again:
                self.play_origin(again["fill"], request, now)
            out["again"] = self.finish(request, again, now)
            if "fill" in again and "serves" in again:
                self.play_origin(again["fill"], request, now)
        elif out["got"] != "failed" and request["method"] not in SAFE and 200 <= out["got"]["status"] < 400:
            self.invalidate(request["path"], fill.response.fields + fill.personal, fill.stored)
        return out


def replaces(stored, newer):
    """docs/CACHING.md: an error never takes the place of a stored success, unless it is one such as 404 that says itself how long it is fresh."""
    if newer.status < 400 or stored.status >= 400:
        return True
    return newer.status not in rfc.ORIGIN_TROUBLE and newer.source == "explicit"


def ends(stored, newer, reason):
    """docs/CACHING.md: what is not to be stored ends what is, unless it is an error, or so because of the request."""
    if reason is None and not newer.known and newer.status not in rfc.HEURISTIC and not newer.cc.has("public"):
        return newer.status < 400
    return reason in (None, "own", "set-cookie", "vary-coding") and replaces(stored, newer)
