"""A world of resources that change, are validated and purged all the time, in front of which an accelerator is killed: and what may be seen of each of them.

A resource's *version* names its body; each answer of the origin has a *stamp* of its own, the version and the stamp grow. What a client gets names both, so
that it can be told from what it should be. No answer may be older than the resource's *floor*: its version when it was purged last, or what a
client saw last when nothing was under way."""
import collections
import functools
import random
import threading

from .http import Connection, Truncated
from .outrigger import SLOW
from .poll import until

FRESH = "max-age=36000"
LANGUAGES = ("de", "en", "fr")
TAGS = 12
SLICE = 128 << 10
SITE = {"cache": {"slice": f"{SLICE}B", "honour_request_directives": True}}


@functools.lru_cache(maxsize=1024)
def body_of(name, version, size):
    return f"{name} {version}\n".encode()[:size] + random.Random(f"{name} {version}").randbytes(max(0, size - len(f"{name} {version}\n")))


class Resource:
    """One variant of what a path names."""

    def __init__(self, path, sizes, language=None):
        self.path, self.sizes, self.language = path, sizes, language
        self.name = path + (f"-{language}" if language else "")
        self.tag = f"t{sum(path.encode()) % TAGS}"
        self.version, self.stamps = 1, 0
        self.floor = (0, 0)
        self.history = collections.deque(maxlen=12)
        self.is_sliced = max(sizes) > SLICE
        self.is_settled = False  # nothing happened to it since it was seen at rest

    def size(self, version):
        return random.Random(f"{self.path} {version}").choice(self.sizes)

    def body(self, version):
        return body_of(self.name, version, self.size(version))

    def answer(self, request):
        self.stamps += 1
        version = self.version
        fields = {"Cache-Control": FRESH, "ETag": f'"{self.name} {version}"', "X-Stamp": str(self.stamps), "X-Name": self.name, "Surrogate-Key": self.tag}
        if self.language:
            fields["Vary"] = "Accept-Language"
        if request.get("If-None-Match") == fields["ETag"]:
            request.answer(status="304 Not Modified", fields=fields, length=False)
            return
        body, asked = self.body(version), request.get("Range")
        if asked and request.get("If-Range", fields["ETag"]) == fields["ETag"]:
            first, last = asked.removeprefix("bytes=").split("-")
            first, end = int(first), min(int(last or len(body)) + 1, len(body))
            request.answer(body[first:end], "206 Partial Content", {**fields, "Content-Range": f"bytes {first}-{end - 1}/{len(body)}"})
            return
        request.answer(body, fields=fields)


def make_resources():
    made = [Resource(f"/small/{n}", (0, 1, 100, 2000, 9000, 17000)) for n in range(50)]
    made += [Resource(f"/medium/{n}", (20000, 66000, 150000)) for n in range(12)]
    made += [Resource(f"/large/{n}", (300000, 500000)) for n in range(3)]
    made += [Resource(f"/ranged/{n}", (400000, 600000)) for n in range(3)]
    return made + [Resource(f"/varied/{n}", (50, 5000, 30000), language) for n in range(8) for language in LANGUAGES]




def what_is(got, expected, resource):
    """Where an answer goes wrong, and which version that is of."""
    if len(got) != len(expected):
        return f"{len(got)} of {len(expected)}"
    at = next(i for i, (a, b) in enumerate(zip(got, expected)) if a != b)
    sample = got[at : at + 32]
    whose = [version for version in range(1, resource.version + 1) if sample in resource.body(version)]
    return f"from {at} to {max(i for i, (a, b) in enumerate(zip(got, expected)) if a != b)} of {len(got)}: {sample[:8]!r} of versions {whose}"


class World:
    def __init__(self, origin, seed):
        self.seed, self.chance = seed, random.Random(seed)
        self.resources = make_resources()
        self.by_name = {(r.path, r.language): r for r in self.resources}
        self.faults = []  # what must not be
        self.seen = 0  # answers that were right
        self.asked = 0  # of the origin
        origin.on("*", self.answer)

    def answer(self, request):
        if request.method == "POST":
            request.answer(b"", "204 No Content", length=False)
            return
        self.asked += 1
        resource = self.by_name.get((request.target, None)) or self.by_name[request.target, request.get("Accept-Language")]
        for other in self.variants_of(resource):  # which variants there are is another matter after this, too
            other.is_settled = False
        resource.answer(request)

    def variants_of(self, resource):
        return [other for other in self.resources if other.path == resource.path]

    # ---- what a client does; `connection` is one to the accelerator

    def get(self, connection, resource, **fields):
        """Returns (version, stamp)."""
        floor = resource.floor
        resource.history.append(f"asked for {fields or ''}")
        if resource.language:
            fields["Accept-Language"] = resource.language
        response = connection.request(resource.path, fields={name.replace("_", "-"): value for name, value in fields.items()})
        if response.status in (200, 206) and not response.complete:
            raise Truncated(resource)
        if response.status not in (200, 206):
            self.faults.append(f"{resource.name}: {response.status}, {response.fields}")
            return None
        resource.history.append(f"got {response.get('etag')} {response.get('x-stamp')} {response.get('cache-status')}")
        seen = int(response.get("etag").strip('"').split()[1]), int(response.get("x-stamp"))
        body = resource.body(seen[0])
        if response.status == 206:
            first, last = response.get("content-range").removeprefix("bytes ").split("/")[0].split("-")
            body = body[int(first) : int(last) + 1]
        if response.body != body or response.get("x-name") != resource.name:
            self.faults.append(f"{resource.name}: wrong bytes: {what_is(response.body, body, resource)}, {response.fields}")
        elif seen < floor or seen > (resource.version, resource.stamps):
            self.faults.append(f"{resource.name}: {seen} is not between {floor} and {(resource.version, resource.stamps)}; {response.fields} {list(resource.history)}")
        self.seen += 1
        return seen

    @staticmethod
    def change(resources):
        for resource in resources:
            resource.is_settled = False
            resource.version += 1
            resource.history.append(f"becomes {resource.version}")

    def purge(self, admin, query, resources, is_soft):
        """From the answer on, whatever happens, nothing that was stored before is seen again."""
        self.change(resources)
        floors = [(resource, (resource.version, 0)) for resource in resources]
        with Connection(admin) as connection:
            response = connection.request(f"/purge?{query}{'&soft=1' if is_soft else ''}", method="POST", host="localhost")
        assert response.status == 200, response
        for resource, floor in floors:
            resource.floor = max(resource.floor, floor)
            resource.history.append(f"purged {query} {is_soft}")

    def act(self, chance, connection, admin):
        """Something that happens to a resource."""
        resource = chance.choice(self.resources)
        everywhere = self.variants_of(resource)
        dice = chance.random()
        if dice < 0.45:
            if resource.path.startswith("/ranged"):
                first = chance.randrange(300000)
                self.get(connection, resource, Range=f"bytes={first}-{first + chance.randrange(200000)}")
            else:
                self.get(connection, resource)
        elif dice < 0.90:
            if dice < 0.75:
                self.change([resource])
            self.get(connection, resource, Cache_Control="no-cache")
        elif dice < 0.95:
            self.purge(admin, f"url=http://site.test{resource.path}", everywhere, chance.random() < 0.3)
        elif dice < 0.965:
            self.change(everywhere)
            connection.request(resource.path, method="POST", body=b"x")
        elif dice < 0.99:
            self.purge(admin, f"tag={resource.tag}", [other for other in self.resources if other.tag == resource.tag], chance.random() < 0.3)
        elif dice < 0.995:
            self.purge(admin, chance.choice(["all=1", "host=site.test"]), self.resources, chance.random() < 0.3)

    # ---- when nothing else is under way

    def settle(self, outrigger):
        """Sees every resource, and waits until all is written. From then on nothing of it may be lost, nor be older."""
        with Reader(self, outrigger) as reader:
            for resource in self.resources:
                resource.floor = max(resource.floor, reader.get(resource) or (0, 0))
        await_rest(outrigger)
        for resource in self.resources:
            resource.is_settled = True

    def read_back(self, outrigger):
        """Returns (how many of what was settled is there, which is not)."""
        kept, lost = 0, []
        with Reader(self, outrigger) as reader:
            for resource in self.chance.sample(self.resources, len(self.resources)):
                was_settled = resource.is_settled and not resource.path.startswith("/ranged")
                reader.get(resource)
                kept += was_settled and resource.is_settled
                lost += [f"{resource.name}: {list(resource.history)}"] if was_settled and not resource.is_settled else []
        for resource in self.resources:
            resource.is_settled = False
        return kept, lost

    def damaged(self):
        """What is left of purges and replacements nobody knows."""
        for resource in self.resources:
            resource.floor = (0, 0)
            resource.is_settled = False


def await_rest(outrigger):
    """Nothing is being fetched, and nothing waits to be written; also not what the last answer has brought, which may take a moment to be offered."""
    before = None

    def rests():
        nonlocal before
        metrics = outrigger.metrics()
        offered, last = metrics["outrigger_store_offered_total"], before
        before = offered
        return not metrics["outrigger_cache_fills"] and not metrics["outrigger_store_queue_bytes"] and last == offered

    until(rests, timeout=60 * SLOW, what="everything to be written")


class Reader:
    """One client, who asks again when an answer is cut off: once it may be, where some slices are there and the origin has others by now."""

    def __init__(self, world, outrigger):
        self.world, self.outrigger, self.connection = world, outrigger, None

    def __enter__(self):
        self.connection = Connection(self.outrigger.port, timeout=30 * SLOW)
        return self

    def __exit__(self, *_):
        self.connection.close()

    def get(self, resource):
        try:
            return self.world.get(self.connection, resource)
        except Truncated:
            if not resource.is_sliced or resource.is_settled:
                self.world.faults.append(f"{resource.name}: cut off")
            self.connection.close()
            self.connection = Connection(self.outrigger.port, timeout=30 * SLOW)
            return self.world.get(self.connection, resource)


class Actors:
    """Clients that act on a world side by side. Errors are faults until `expect_the_worst`; but what is in slices may change while it is sent."""

    def __init__(self, world, outrigger, count=3):
        self.world, self.outrigger, self.count, self.is_bad = world, outrigger, 0, False
        self.ending = threading.Event()
        seeds = [world.chance.random() for _ in range(count)]
        self.threads = [threading.Thread(target=self._run, args=(random.Random(seed),), daemon=True) for seed in seeds]
        for thread in self.threads:
            thread.start()

    def await_actions(self, more):
        goal = self.count + more
        until(lambda: self.count >= goal or self.world.faults, timeout=60 * SLOW, what="actions")

    def expect_the_worst(self, go_on):
        """`go_on`: they begin new actions after it, too."""
        self.is_bad = True
        if not go_on:
            self.ending.set()

    def end(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(60 * SLOW)
            assert not thread.is_alive(), "a client is still waiting"

    def _run(self, chance):
        connection = None
        while not self.ending.is_set():
            try:
                connection = connection or Connection(self.outrigger.port, timeout=30 * SLOW)
                self.world.act(chance, connection, self.outrigger.socket)
            except (OSError, Truncated) as failure:
                connection = None
                is_change = isinstance(failure, Truncated) and isinstance(failure.args[0], Resource) and failure.args[0].is_sliced
                if not self.is_bad and not is_change:
                    self.world.faults.append(repr(failure))
            self.count += 1
        if connection:
            connection.close()
