#!/usr/bin/python3
"""The cache against a slow and plain model of RFC 9111: random sequences of requests, answers, purges and time; both must say the same of every one.

    tests/model/model.py [--cases 100000] [--seed 1] [--only NUMBER] [--driver build/model/cache_driver]

A disagreement is made as small as it gets, and printed as the steps that show it. (seed, number) make a case again."""
import argparse
import copy
import itertools
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import cases  # noqa: E402
from cache import Cache  # noqa: E402

BATCH = 200
COMPARED = ("outcome", "fwd", "age", "ttl", "fetches", "if_none_match", "if_modified_since")


def drive(driver, batch):
    """The cache's replies to the steps of each case, every case in a cache of its own."""
    lines = [json.dumps(step) for steps in batch for step in [{"do": "reset"}, *steps]]
    done = subprocess.run([driver], input="".join(line + "\n" for line in lines), stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        assert len(batch) > 1, "the driver failed on\n" + "\n".join(lines)
        return [replies for steps in batch for replies in drive(driver, [steps])]
    replies = iter(done.stdout.splitlines())
    return [[json.loads(next(replies)) for _ in range(len(steps) + 1)][1:] for steps in batch]


def difference(said, meant, where=""):
    """In words; None when they agree."""
    for name in COMPARED:
        if said.get(name) != meant.get(name):
            return f"{where}{name}: {said.get(name)!r}, the model: {meant.get(name)!r}"
    said_got, meant_got = said.get("got"), meant.get("got")
    if isinstance(said_got, dict) and isinstance(meant_got, dict):
        for name in sorted({*said_got, *meant_got}):
            if said_got.get(name) != meant_got.get(name):
                return f"{where}got {name}: {said_got.get(name)!r}, the model: {meant_got.get(name)!r}"
    elif said_got != meant_got:
        return f"{where}got: {said_got!r}, the model: {meant_got!r}"
    if "again" in said or "again" in meant:
        return difference(said.get("again", {}), meant.get("again", {}), where + "again, ")
    return None


def judge(steps, replies):
    """The first disagreement of a case, or None."""
    cache = Cache(steps[0])
    for number, (step, reply) in enumerate(zip(steps, replies)):
        if step["do"] == "rules":
            continue
        meant = cache.step(step)
        if step["do"] != "requests":
            continue
        for i, (said, wanted) in enumerate(zip(reply or [{}] * len(meant), meant)):
            if found := difference(said, wanted):
                return f"step {number}, request {i}: {found}"
    return None


def smaller(steps):
    """Every case that is this one with something left out."""
    for s in range(len(steps) - 1, 0, -1):
        yield steps[:s] + steps[s + 1 :]
    for s, step in enumerate(steps):
        for r, request in enumerate(step.get("requests", [])):
            for part in (None, "answer", "validated"):
                if len((request[part] if part else request).get("fields", [])) > 1:
                    less = copy.deepcopy(steps)
                    (less[s]["requests"][r][part] if part else less[s]["requests"][r])["fields"] = []
                    yield less
    for s, step in enumerate(steps):
        for r in range(len(step.get("requests", [])) if len(step.get("requests", [])) > 1 else 0):
            less = copy.deepcopy(steps)
            del less[s]["requests"][r]
            yield less
        for r, request in enumerate(step.get("requests", [])):
            for part in (None, "answer", "validated"):
                for f in range(len((request[part] if part else request).get("fields", []))):
                    less = copy.deepcopy(steps)
                    del (less[s]["requests"][r][part] if part else less[s]["requests"][r])["fields"][f]
                    yield less
            for part, simple in (("answer", {"status": 200, "fields": [], "body": "x", "size": 2, "delay": 0}), ("validated", {"status": 304, "fields": [], "delay": 0})):
                for name in ("delay", "size", "until_close"):
                    if request[part].get(name):
                        less = copy.deepcopy(steps)
                        less[s]["requests"][r][part][name] = 0
                        yield less
                if len(json.dumps(request[part])) > len(json.dumps(simple)):
                    less = copy.deepcopy(steps)
                    less[s]["requests"][r][part] = simple
                    yield less
    for name, value in steps[0].items():
        if value and name != "do":
            yield [steps[0] | {name: type(value)()}, *steps[1:]]


def minimise(driver, steps):
    candidates = smaller(steps)
    while some := list(itertools.islice(candidates, 16)):
        for candidate, replies in zip(some, drive(driver, some)):
            if judge(candidate, replies):
                steps, candidates = candidate, smaller(candidate)
                break
    return steps


def show(steps, replies):
    lines = []
    for step, reply in zip(steps, replies):
        if step["do"] != "requests":
            lines.append(json.dumps({k: v for k, v in step.items() if v or k == "do"}))
            continue
        lines.append(f"at {step['now'] - cases.START}:")
        for request, said in zip(step["requests"], reply):
            lines.append(f"    {request['method']} {request['path']} {json.dumps(request['fields'])}")
            lines += [f"        {part}: {json.dumps(request[part])}" for part in ("answer", "validated")]
            lines.append(f"        said: {json.dumps(said)}")
    return "\n".join(lines)


def make(seed, number):
    return cases.Generator(f"{seed}/{number}").case()


def run(driver, seed, numbers, most=1):
    """Reports of up to `most` disagreements."""
    reports, numbers = [], list(numbers)
    for at in range(0, len(numbers), BATCH):
        batch = [make(seed, number) for number in numbers[at : at + BATCH]]
        for number, steps, replies in zip(numbers[at:], batch, drive(driver, batch)):
            if not judge(steps, replies):
                continue
            steps = minimise(driver, steps)
            (replies,) = drive(driver, [steps])
            reports.append(f"seed {seed}, case {number}: {judge(steps, replies)}\n{show(steps, replies)}\n")
            if len(reports) == most:
                return reports
    return reports


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=int(os.environ.get("CASES", 100000)))
    parser.add_argument("--seed", default="1")
    parser.add_argument("--only", type=int, help="this case alone")
    parser.add_argument("--most", type=int, default=3, help="disagreements to look for")
    parser.add_argument("--driver", default="build/model/cache_driver")
    options = parser.parse_args()
    numbers = range(options.cases) if options.only is None else [options.only]
    reports = run(options.driver, options.seed, numbers, options.most)
    for report in reports:
        print(report)
    print(f"model: seed {options.seed}, {len(numbers)} cases: {len(reports) or 'no'} disagreements")
    return 1 if reports else 0


if __name__ == "__main__":
    sys.exit(main())
