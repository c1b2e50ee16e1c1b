"""Random cases: rules of a site, and steps of what comes from clients and from the origin. Small numbers throughout, so that what happens at a boundary, a
second before it and a second after it, happens often."""
import random

from cache import MEANINGS
from rfc import print_date

START = 1700000000
SHORT = [0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 9, 10, 11, 60]
NUMBERS = ["0", "1", "2", "3", "5", "5", "10", "10", "10", "60", "60"]
ODD_NUMBERS = ["-1", "1.5", "", "abc", '"5"', '"x"', "05", "4294967296", "2147483648", "99999999999999999999999", "1 0", "+5", "5s", '"5', "0x10"]
STATUSES = [200] * 30 + [203, 204, 206, 299, 301, 302, 308, 404, 404, 410, 412, 416, 418, 499, 500, 501, 503, 503, 504, 599, 999]
NAMES = ["X-A", "Set-Cookie", "X-A, X-B", "x-a", "Content-Type", "ETag", "", "a b", "Last-Modified"]
COOKIES = ["sid=1", "lang=en", "lang=de", "lang=en; sid=2", "other=1; lang=en", "wp_x=1", "lang", "lang=en; lang=de"]
ETAGS = ['"1"', '"2"', 'W/"1"', 'W/"2"', "1", '"a b"', '"x,y"', '"']
CONDITIONS = ['"1"', '"2"', 'W/"1"', '"0", "1"', '"0","x,y"', "*", '"0" , W/"2"', "1", '"1"x, "2"', ""]


class Generator(random.Random):
    def chance(self, percent):
        return self.random() * 100 < percent

    def shout(self, name):
        return self.choice([name.upper(), name.title(), name.lower(), name]) if self.chance(20) else name

    def seconds(self):
        return self.choice(ODD_NUMBERS) if self.chance(8) else self.choice(NUMBERS)

    def date(self, seconds):
        """In one of the ways in which a date can be spelled, right or wrong."""
        text = print_date(seconds)
        day, number, month, year, clock, _ = text.replace(",", "").split(" ")
        if self.chance(85):
            return text
        long_day = {"Mon": "Monday", "Tue": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday"}[day]
        spellings = [
            f"{long_day}, {number}-{month}-{year[2:]} {clock} GMT",
            f"{day} {month} {int(number):2} {clock} {year}",
            text.lower(),
            text.upper(),
            f"{clock}",
            text.replace("GMT", "UTC"),
            text.replace("GMT", "+0000"),
            text[5:],
            "0",
            "-1",
            "",
            text.replace(":", "."),
            text + " ",
            text + ", " + text,
            text.replace(month, "Foo"),
            f"{day}, 30 Feb {year} {clock} GMT",
            f"{day}, {number} {month} {year} 25:00:00 GMT",
            f"{day}, {number} {month} {year} 23:59:60 GMT",
            f"{day}, {number} {month} 9999 {clock} GMT",
            f"{day}, {number} {month} 1960 {clock} GMT",
            f"{long_day}, {number}-{month}-{int(year[2:]) + self.choice([-30, 30, 45, 60, -20]) % 100:02} {clock} GMT",
        ]
        return self.choice(spellings)

    def cache_control(self, of_request=False):
        """One line."""
        if of_request:
            numbered, flags = ["max-age", "min-fresh", "max-stale", "stale-if-error"], ["no-cache", "no-cache", "max-stale", "max-stale", "only-if-cached", "no-store"]
        else:
            numbered = ["max-age"] * 5 + ["s-maxage", "stale-while-revalidate", "stale-while-revalidate", "stale-if-error", "stale-if-error"]
            flags = ["no-cache", "no-store", "private", "public", "public", "public", "must-revalidate", "proxy-revalidate", "no-transform", "must-understand", "immutable"]
        found = []
        for _ in range(self.choice([1, 1, 2, 2, 3])):
            kind = self.random()
            if kind < 0.7:
                found.append(f"{self.shout(self.choice(numbered))}={self.seconds()}")
            elif kind < 0.94 or of_request:
                found.append(self.shout(self.choice(flags)))
            else:
                found.append(self.choice([f'private="{self.choice(NAMES)}"', f'no-cache="{self.choice(NAMES)}"', "no-cache=X-A", "private=set-cookie"]))
        if self.chance(10):
            odd = ["foo", "foo=bar", 'foo="max-age=60, no-store"', "", "public=1", 'public=""', "immutable=x", "no-store=0", "no-cache=", "=5", "; private"]
            odd += ["max-age = 5", "max-age=5 private", 'foo="private', "max-age=5;no-store", "\tpublic", "@, no-store", 'x"y, private"', "private=1", "max-age"]
            found.insert(self.randrange(len(found) + 1), self.choice(odd))
        return self.choice([", ", ", ", ",", " ,\t", ",,"]).join(found)

    def targeted(self):
        odd = ["max-age = 5", "max-age=5,", "", "max-age=5;x;y=1", "Max-Age=5", "max-age=5.5", 'max-age="5"', "max-age=?1", "no-store=?0", "no-store=1"]
        odd += ["private=?0, max-age=5", "max-age=-5", "max-age=5, max-age=10", 'no-cache="X-A", max-age=5', "no-cache=x", "(a b), max-age=5"]
        odd += ["a=(1 2);q=1, max-age=5", "max-age=1234567890123456", "max-age=(5)", "public=?0", "max-age=a", "foo", "max-age=5\t,  \tpublic", "max-age=5 ;a"]
        usual = [f"max-age={self.choice(NUMBERS)}", "no-store", "private", "public", "must-revalidate", f"stale-while-revalidate={self.choice(NUMBERS)}", "no-cache"]
        return self.choice(odd) if self.chance(30) else ", ".join(self.sample(usual, self.choice([1, 1, 2, 3])))

    # -- what the origin says

    def response_fields(self, now, rules):
        out = []
        if self.chance(75):
            out += [("Cache-Control", self.cache_control()) for _ in range(1 if self.chance(85) else 2)]
        sent = now + (0 if self.chance(75) else self.choice([-1, -2, -5, -10, -60, 1, 5, 100]))
        if self.chance(75):
            out.append(("Date", self.date(sent)))
        if self.chance(25):
            out += [("Expires", self.date(sent + self.choice([-1, 0, 1, 2, 5, 10, 60]))) for _ in range(1 if self.chance(85) else 2)]
        if self.chance(12):
            ages = ["0", "1", "5", "10", "2147483647", "2147483648", "9" * 25, "-1", "1.5", "abc", "", '"5"', "3, 5", "x, 5", ", 5", "5, x"]
            out += [("Age", self.choice(ages)) for _ in range(1 if self.chance(85) else 2)]
        if self.chance(40):
            out.append(("Last-Modified", self.date(sent - self.choice([-10, 0, 9, 10, 20, 50, 100, 600, 10000000]))))
        if self.chance(45):
            out.append(("ETag", self.choice(ETAGS[:2]) if self.chance(75) else self.choice(ETAGS)))
        if self.chance(25):
            names = ["Accept-Encoding", "accept-encoding", "X-Foo", "Accept-Language", "User-Agent", "Cookie", "X-Foo, Accept-Encoding", "accept-encoding,X-FOO"]
            odd = ["*", "", "X-Foo, *", ",", ", X-Foo", "a b", "X-Foo,X-Foo", '"X-Foo"']
            out += [("Vary", self.choice(odd) if self.chance(15) else self.choice(names)) for _ in range(1 if self.chance(85) else 2)]
        rare = [
            (5, "Set-Cookie", ["sid=1", "lang=en; Path=/"]),
            (8, "Content-Encoding", ["gzip", "br", "foo", "GZIP", "gzip, foo"]),
            (6, "CDN-Cache-Control", None),
            (5, "Outrigger-Cache-Control", None),
            (5, "Surrogate-Control", ["max-age=5", "no-store", 'content="ESI/1.0"', "max-age=x", "max-age=10, stale-if-error=5"]),
            (5, "X-Accel-Expires", ["0", "5", "10", "off", "-1", f"@{now + 5}", f"@{now - 5}", "@", "", "99999999999999"]),
            (6, "Connection", ["X-A", "close", "x-a, Keep-Alive", "ETag", "Cookie", "Cache-Control"]),
            (4, "Keep-Alive", ["timeout=5"]),
            (4, "Cache-Tag", ["a, b"]),
            (4, "Content-Length", ["10", "4"]),
            (10, "X-A", ["1", "two", ""]),
            (4, "X-A", ["3"]),
            (3, "Content-Type", ["text/html"]),
        ]
        for percent, name, choices in rare:
            if self.chance(percent):
                out.append((name, self.choice(choices) if choices else self.targeted()))
        if self.chance(20):
            self.shuffle(out)
        return out

    def answer(self, now, rules, number):
        if self.chance(7):
            return {"fails": True}
        status = self.choice(STATUSES)
        delay = 0 if self.chance(80) else self.choice([1, 2, 5])
        size = self.choice([0, 4, 40, 40, 400]) if self.chance(96) else self.choice([15000, 17000, 70000])
        out = {"status": status, "fields": self.response_fields(now + delay, rules), "body": f"b{number}", "size": size, "delay": delay}
        return out | {"until_close": True} if self.chance(15) else out

    def validated(self, now, rules, number):
        if self.chance(40):
            return self.answer(now, rules, number)
        delay = 0 if self.chance(80) else self.choice([1, 2, 5])
        fields = self.response_fields(now + delay, rules)
        if self.chance(50):
            fields = [f for f in fields if self.chance(40)]
        return {"status": 304, "fields": fields, "delay": delay}

    # -- what clients ask

    def request_fields(self, now, rules):
        out = []
        for name in ("Accept-Encoding", "Accept-Language"):
            if self.chance(30):
                row = MEANINGS[name.lower()][0] if self.chance(50) else self.choice(MEANINGS[name.lower()])
                out.append((name, self.choice(row)))
        if self.chance(25):
            out += [("X-Foo", self.choice(["1", "2", "1, 2", "1,2", "1 ,\t2", "a b", "A", "a", ""])) for _ in range(1 if self.chance(80) else 2)]
        if self.chance(15):
            out.append(("User-Agent", self.choice(["x", "x (a, b)", "x (a,b)"])))
        if self.chance(15):
            out.append(("Cookie", self.choice(COOKIES)))
        if self.chance(8):
            out.append(("Authorization", "Basic eDp5"))
        if self.chance(30 if rules["honour_request_directives"] else 5):
            out.append(("Cache-Control", self.cache_control(of_request=True)))
        if self.chance(8):
            out.append(("Pragma", self.choice(["no-cache", "No-Cache", "x", "x, no-cache"])))
        if self.chance(12):
            out.append((self.choice(["If-None-Match", "If-None-Match", "If-Match"]), self.choice(CONDITIONS)))
        if self.chance(8):
            out.append((self.choice(["If-Modified-Since", "If-Modified-Since", "If-Unmodified-Since"]), self.date(now - self.choice([-5, 0, 1, 5, 10, 20, 100]))))
        if self.chance(2):
            out.append(self.choice([("Content-Length", "0"), ("Content-Length", "5"), ("Expect", "x"), ("Range", "bytes=0-1")]))
        return out

    def request(self, now, rules, number):
        method = "GET" if self.chance(88) else self.choice(["HEAD", "HEAD", "HEAD", "POST", "PUT", "DELETE", "M-SEARCH", "OPTIONS"])
        out = {"method": method, "path": "/d/a" if self.chance(85) else self.choice(["/d/b", "/d/a?x", "/a"]), "fields": self.request_fields(now, rules)}
        out["answer"] = self.answer(now, rules, f"{number}n")
        out["validated"] = self.validated(now, rules, f"{number}v")
        if method not in ("GET", "HEAD") and "fields" in out["answer"] and self.chance(50):
            targets = ["/d/b", "b", "http://example.com/d/b", "HTTP://EXAMPLE.com:80/d/a", "http://other.com/d/a", "//example.com/d/a?x", "/d/a#x", "https://example.com/a"]
            out["answer"]["fields"].append((self.choice(["Location", "Content-Location"]), self.choice(targets)))
        return out

    def rules(self):
        out = {"do": "rules", "honour_request_directives": self.chance(45), "store_set_cookie": self.chance(20), "strip_tags": self.chance(30)}
        out |= {"heuristic_max": self.choice([0, 10, 86400, 86400]), "hit_for_miss": -60 if self.chance(65) else self.choice([2, 10])}
        out |= {"grace": 0 if self.chance(50) else self.choice([1, 5, 60]), "surrogate_control": self.chance(20), "accel_expires": self.chance(20)}
        out["targeted"] = self.choice([[], ["CDN-Cache-Control"], ["Outrigger-Cache-Control", "CDN-Cache-Control"]])
        out["bypass_cookies"] = ["sid", "wp_*"] if self.chance(10) else []
        out["key_cookies"] = ["lang"] if self.chance(10) else []
        out["errors"] = self.choice([[], [], [[404, 404, 5]], [[500, 599, 2], [404, 404, 3]], [[400, 499, 10]]])
        return out

    def case(self):
        now, rules = START, self.rules()
        steps = [rules]
        for number in range(self.choice([3, 4, 5, 6, 8, 10])):
            now += self.choice(SHORT)
            if self.chance(4):  # whether a soft purge ends hit-for-miss for variants too is not laid down
                steps.append({"do": "purge", "now": now, "path": self.choice(["/d/a", "/d/a", "/d/b"]), "soft": rules["hit_for_miss"] < 0 and self.chance(70)})
                continue
            count = 1 if self.chance(80) else self.choice([2, 2, 3, 4])
            steps.append({"do": "requests", "now": now, "requests": [self.request(now, rules, f"{number}{chr(97 + i)}") for i in range(count)]})
        return steps
