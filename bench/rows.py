#!/usr/bin/env python3
"""Measures every row of the table in bench/README.md and prints it anew, each figure beside its bound.

    ./dev bench [--reps 3] [--only pair,swarm,many,share,imported,idle,modes,web,gateway,crowd]

Other programs run in the same rounds, one after the other, so that a ratio compares what the machine was at the same
time. Memory is touched once before each round: the first use of a page that the host has to find costs several times
the second. Ends with exit status 1 when a figure is past its bound. Needs root (addresses on `lo`), about 12 GiB of
/dev/shm, the packages of `./dev test`, nginx, curl, and `cargo install rqbit`.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
PROGRAM = os.path.join(TARGET, "release", "peerage")
BENCH = os.path.join(HERE, "bittorrent", "bench.py")


class Table:
    """Rows as they come, and whether one is past its bound."""

    def __init__(self):
        self.rows = []
        self.missed = False
        self.part = ""

    def add(self, work, figure, bound=None, holds=True):
        self.missed |= not holds
        verdict = "" if bound is None else ("holds" if holds else "**missed**")
        self.rows.append((work, figure, bound or "reported", verdict, f"`{self.part}`"))
        print(" | ".join(("", *self.rows[-1], "")).strip(), flush=True)

    def at_most(self, work, figure, bound, said):
        self.add(work, f"{figure:.2f} {said}", f"<= {bound:g}", figure <= bound)

    def at_least(self, work, figure, bound, said):
        self.add(work, f"{figure:,.0f} {said}", f">= {bound:,}", figure >= bound)

    def print(self):
        print("\n| work | measured | bound | | `--only` |\n| --- | --- | --- | --- | --- |")
        for row in self.rows:
            print("| " + " | ".join(row) + " |")


def run(command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, **more).stdout


def warm():
    with open("/dev/shm/peerage-warm", "wb") as file:
        for _ in range(7 * 64):
            file.write(bytes(16 << 20))
    os.remove("/dev/shm/peerage-warm")


def harness(reps, clients, tests, *more):
    """Medians of the harness's figures by (test, leecher)."""
    runs = []
    env = dict(os.environ, PATH=os.path.dirname(PROGRAM) + ":" + os.environ["PATH"])
    for _ in range(reps):
        warm()
        out = "/tmp/bittorrent-bench-round.json"
        command = [sys.executable, BENCH, "--reps", "1", "--clients", clients, "--tests", tests, "--json", out]
        run([*command, *more], env=env)
        runs += json.load(open(out))
    bad = [row for row in runs if row.get("error") or not row.get("ok", True)]
    if bad:
        sys.exit(f"a run failed: {bad[0]}")
    grouped = {}
    for row in runs:
        grouped.setdefault((row["test"], row.get("leecher")), []).append(row)
    return {
        key: {
            name: statistics.median(row[name] for row in rows)
            for name, value in rows[0].items()
            if isinstance(value, (int, float))
        }
        for key, rows in grouped.items()
    }


def floors(got):
    """SHA-1 plus a `sendfile` copy: with the system's congestion control, and with one that does not pace."""
    sha1 = got["phys-sha1", None]["cpu_s_per_gib"]
    return [sha1 + got[f"phys-tcp-{name}", None]["cpu_s_per_gib"] for name in ("sendfile", "sendfile-unpaced")]


def pair(table, reps):
    got = harness(reps, "peerage,rqbit,libtorrent,aria2", "phys,pair")
    cpu = lambda name: got["pair", name]["cpu_total_s_per_gib"]
    floor, unpaced = floors(got)
    ours = got["pair", "peerage"]
    said = f"({cpu('peerage'):.2f} CPU s/GiB; floor {floor:.2f})"
    table.at_most("2 GiB, one to one: CPU, x floor", cpu("peerage") / floor, 1.3, said)
    table.at_most("2 GiB, one to one: CPU, x floor without pacing", cpu("peerage") / unpaced, 1.3, f"(floor {unpaced:.2f})")
    for name, bound in (("aria2", 0.85), ("rqbit", 0.6), ("libtorrent", None)):
        ratio = cpu("peerage") / cpu(name)
        if bound is None:
            table.add(f"2 GiB, one to one: CPU, x {name}", f"{ratio:.2f} ({cpu(name):.2f} CPU s/GiB)")
        else:
            table.at_most(f"2 GiB, one to one: CPU, x {name}", ratio, bound, f"({cpu(name):.2f} CPU s/GiB)")
    for name, bound in (("rqbit", 0.6), ("aria2", None), ("libtorrent", None)):
        theirs = got["pair", name]["wall"]
        said = f"({ours['wall']:.2f} s, {theirs:.2f} s)"
        if bound is None:
            table.add(f"2 GiB, one to one: wall, x {name}", f"{ours['wall'] / theirs:.2f} {said}")
        else:
            table.at_most(f"2 GiB, one to one: wall, x {name}", ours["wall"] / theirs, bound, said)
    memory = max(ours["anon_seed"], ours["anon_leech"])
    table.at_most("anonymous memory in it, MiB a side", memory, 16, f"(seeder {ours['anon_seed']:.0f}, leecher {ours['anon_leech']:.0f})")


def swarm(table, reps):
    got = harness(reps, "peerage,rqbit,libtorrent,aria2", "phys,swarm", "--size", "1024")
    floor, unpaced = floors(got)
    ours, rqbit = got["swarm", "peerage"], got["swarm", "rqbit"]
    table.at_most("1 GiB, one to four: wall, x rqbit", ours["wall"] / rqbit["wall"], 0.7, f"({ours['wall']:.2f} s, {rqbit['wall']:.2f} s)")
    ratio = ours["cpu_total_s_per_gib"] / rqbit["cpu_total_s_per_gib"]
    said = f"({ours['cpu_total_s_per_gib']:.2f}, {rqbit['cpu_total_s_per_gib']:.2f} CPU s/GiB; the floor is {floor / rqbit['cpu_total_s_per_gib']:.2f}, without pacing {unpaced / rqbit['cpu_total_s_per_gib']:.2f})"
    table.at_most("1 GiB, one to four: CPU, x rqbit", ratio, 0.7, said)
    for name in ("libtorrent", "aria2"):
        theirs = got["swarm", name]
        said = f"wall {ours['wall'] / theirs['wall']:.2f}, CPU {ours['cpu_total_s_per_gib'] / theirs['cpu_total_s_per_gib']:.2f}"
        table.add(f"1 GiB, one to four: x {name}", said)


def many(table, reps):
    got = harness(reps, "peerage,rqbit,libtorrent,aria2", "many")
    ours = got["many", "peerage"]
    theirs = got["many", "libtorrent"]["wall"]
    table.at_most("10,000 x 4 KiB: wall, x libtorrent", ours["wall"] / theirs, 1, f"({ours['wall']:.2f} s, {theirs:.2f} s)")
    theirs = got["many", "aria2"]["cpu_total_s_per_gib"]
    cpu = ours["cpu_total_s_per_gib"]
    table.at_most("10,000 x 4 KiB: CPU, x aria2", cpu / theirs, 1, f"({cpu:.2f}, {theirs:.2f} CPU s/GiB)")


def share(table, reps):
    two, three = [], []
    for _ in range(reps):
        warm()
        out = run(["cargo", "run", "--quiet", "--release", "-p", "peerage-content", "--example", "measure", "--", "hash"])
        ratios = re.search(r"pieces of 1024 KiB.*?([\d.]+) x bare.*?leaves.*?([\d.]+) x bare", out, re.S)
        two.append(float(ratios[1]))
        three.append(float(ratios[2]))
    table.at_most("share of 2 GiB, v1 + v2: CPU, x the bare hashes", statistics.median(two), 1.15, "")
    table.at_most("share of 2 GiB, v1 + v2 + CID: CPU, x the bare hashes", statistics.median(three), 1.15, "(one read of the disk)")


def idle(table, reps):
    for count, memory, seconds in ((1_000, 100, 2), (10_000, 400, 20)):
        rows = [json.loads(run([sys.executable, HERE + "/idle.py", "--program", PROGRAM, "--transfers", str(count)])) for _ in range(reps if count == 1_000 else 1)]
        median = lambda name: statistics.median(row[name] for row in rows)
        table.at_most(f"{count:,} idle transfers: anonymous memory, MiB", median("anon_mib"), memory, "")
        table.at_most(f"{count:,} idle transfers: ready after a restart, s", median("ready_s"), seconds, f"(idle CPU {median('idle_cpu_percent'):.1f} %)")
        table.at_most(f"{count:,} idle transfers: read since the restart, x content", median("read_mib") / median("content_mib"), 0.1, "(nothing is hashed again)")


def modes(table, reps):
    got = harness(reps, "peerage,peerage-hybrid,peerage-mse,libtorrent-mse,peerage-limit-down,peerage-limit-up", "pair")
    plain = got["pair", "peerage"]
    for name, said in (("peerage-hybrid", "hybrid (v1 + v2 verified)"), ("peerage-mse", "encrypted (MSE, RC4)")):
        row = got["pair", name]
        table.add(f"2 GiB, {said}", f"{row['wall']:.2f} s, {row['cpu_total_s_per_gib']:.2f} CPU s/GiB (plain v1: {plain['wall']:.2f} s, {plain['cpu_total_s_per_gib']:.2f})")
    theirs = got["pair", "libtorrent-mse"]["cpu_total_s_per_gib"]
    table.add("2 GiB, encrypted: CPU, x libtorrent", f"{got['pair', 'peerage-mse']['cpu_total_s_per_gib'] / theirs:.2f} ({theirs:.2f} CPU s/GiB)")
    for name, side in (("peerage-limit-down", "getter"), ("peerage-limit-up", "sharer")):
        rate = got["pair", name]["mib_s"]
        table.at_most(f"limit of 100 MiB/s kept by the {side}: off by, share", abs(rate / 100 - 1), 0.05, f"({rate:.1f} MiB/s, start included)")


def web(table, reps):
    warm()
    lines = run([sys.executable, HERE + "/web.py", "--program", PROGRAM, "--reps", str(reps)]).splitlines()
    rows = [json.loads(line) for line in lines]
    median = lambda program, name: statistics.median(row[name] for row in rows if row["program"] == program)
    if not all(row["ok"] for row in rows):
        sys.exit("the web seed's file differs")
    said = f"{median('peerage', 'wall'):.2f} s, {median('peerage', 'cpu_s_per_gib'):.2f} CPU s/GiB"
    table.add("2 GiB from a web seed (nginx) alone", f"{said}; curl, which verifies nothing: {median('curl', 'wall'):.2f} s, {median('curl', 'cpu_s_per_gib'):.2f}")


def crowd(table, _reps):
    example = ["cargo", "run", "--quiet", "--release", "-p", "peerage-sim", "--example", "flash_crowd", "--"]
    out = run([*example, "--leechers", "1000", "--seeds", "1"])
    ratio = float(re.search(r"bound [\d.]+ s = ([\d.]+)", out)[1])
    table.at_most("simulated flash crowd, 1 seed, 1,000 leechers: last, x fluid bound", ratio, 1.25, "")
    out = run([*example, "--leechers", "1000", "--free-riders", "0.1", "--seed-up", "4"])
    last, first = (float(x) for x in re.search(r"last contributor ([\d.]+) s, first free rider ([\d.]+) s", out).groups())
    table.add("the same with 10 % free riders: first of them / last contributor", f"{first / last:.2f} ({first:.0f} s, {last:.0f} s)", "> 1", first > last)


def imported(table, reps):
    rows = [json.loads(run([sys.executable, HERE + "/imported.py", "--program", PROGRAM])) for _ in range(reps)]
    median = lambda name: statistics.median(row[name] for row in rows)
    said = f"({median('seconds'):.1f} s, {median('cpu_s'):.1f} CPU s; walked, hashed three ways, taken up)"
    table.at_least("import of 100,000 x 4 KiB: files a second", median("files_s"), 5_000, said)
    table.at_most("the same: metadata of IPFS on disk, B a file", median("bytes_a_file"), 300, f"(the torrent: {median('torrent_bytes_a_file'):.0f})")


def gateway(table, reps):
    run(["cargo", "build", "--release", "-p", "peerage-http", "--example", "folder"])
    warm()
    program = os.path.join(TARGET, "release", "examples", "folder")
    out = run([sys.executable, HERE + "/gateway.py", "--program", program, "--reps", str(reps)])
    rows = [json.loads(line) for line in out.splitlines()]
    median = lambda program, name: statistics.median(row[name] for row in rows if row["program"] == program)
    ours, theirs = (median(program, "cpu_s_per_gib") for program in ("peerage", "nginx"))
    said = f"({ours:.3f} and {theirs:.3f} CPU s/GiB)"
    table.at_most("gateway, a file of 1 GiB: CPU of the server, x nginx", ours / theirs, 1.5, said)
    ours, theirs = (median(program, "requests_per_cpu_s") for program in ("peerage", "nginx"))
    said = f"{ours / theirs:.2f} ({ours:.0f} and {theirs:.0f} requests per CPU second)"
    table.add("gateway, a file of 4 KiB: requests per CPU second, x nginx", said, ">= 0.5", ours / theirs >= 0.5)


PARTS = {part.__name__: part for part in (pair, swarm, many, share, imported, idle, modes, web, gateway, crowd)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--only", default=",".join(PARTS))
    args = parser.parse_args()
    run(["cargo", "build", "--release", "-p", "peerage"])
    table = Table()
    for name in args.only.split(","):
        table.part = name
        PARTS[name](table, args.reps)
    table.print()
    sys.exit(1 if table.missed else 0)


if __name__ == "__main__":
    main()
