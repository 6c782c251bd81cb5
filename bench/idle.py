#!/usr/bin/env python3
"""Many idle transfers in one daemon: anonymous memory, and the time from a start to the last of them being ready.

    bench/idle.py [--transfers 1000] [--program target/release/peerage] [--work /dev/shm/peerage-idle] [--json FILE]

Shares that many files of 64 KiB through the daemon's API, stops the daemon, starts it again and waits until every transfer
seeds. `read_mib` is what the daemon read since its start (rchar of /proc): a re-hash would read all of the content.
Loopback only, no DHT, no LAN. Python's standard library only.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request


class Daemon:
    """A `peerage up` and its API."""

    def __init__(self, program, home):
        env = {"HOME": home, "PATH": os.environ["PATH"]}
        self.home = home
        self.began = time.monotonic()
        flags = ["--listen", "127.0.0.1:0", "--no-dht", "--no-lan", "--data-dir", home + "/data"]
        self.process = subprocess.Popen(
            [program, "up", *flags], env=env, stdout=subprocess.DEVNULL, stderr=open(home + "/log", "ab")
        )
        self.endpoint = None
        while self.endpoint is None:
            if self.process.poll() is not None:
                sys.exit("the daemon ended: " + open(home + "/log").read()[-2000:])
            try:
                endpoint = json.load(open(home + "/data/daemon.json"))
                if endpoint.get("pid", endpoint.get("process")) == self.process.pid:
                    self.endpoint = endpoint
            except (OSError, ValueError):
                pass
            time.sleep(0.01)

    def ask(self, path, body=None):
        request = urllib.request.Request(
            f"http://{self.endpoint['address']}/api/v1{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": "Bearer " + self.endpoint["token"], "Content-Type": "application/json"},
        )
        return json.load(urllib.request.urlopen(request, timeout=60))

    def wait_seeding(self, count, limit):
        """Seconds from the start of the process until `count` transfers seed."""
        while time.monotonic() - self.began < limit:
            states = [transfer["state"] for transfer in self.ask("/transfers")]
            if states.count("seeding") == count:
                return time.monotonic() - self.began
            time.sleep(0.1)
        sys.exit(f"after {limit} s: " + str({state: states.count(state) for state in set(states)}))

    def anonymous_mib(self):
        status = open(f"/proc/{self.process.pid}/status").read()
        return int(status.split("RssAnon:")[1].split()[0]) / 1024

    def read_mib(self):
        return int(open(f"/proc/{self.process.pid}/io").read().split("rchar:")[1].split()[0]) / (1 << 20)

    def cpu(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        return time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--transfers", type=int, default=1000)
    parser.add_argument("--program", default="target/release/peerage")
    parser.add_argument("--work", default="/dev/shm/peerage-idle")
    parser.add_argument("--json")
    args = parser.parse_args()

    shutil.rmtree(args.work, ignore_errors=True)
    os.makedirs(args.work + "/files")
    paths = []
    for number in range(args.transfers):
        path = f"{args.work}/files/{number:05}.bin"
        with open(path, "wb") as file:
            file.write(os.urandom(64 << 10))
        paths.append(path)

    first = Daemon(args.program, args.work)
    for path in paths:
        first.ask("/transfers", {"kind": "share", "path": path})
    first.wait_seeding(args.transfers, 600)
    row = {"transfers": args.transfers, "stop_s": round(first.stop(), 2)}

    again = Daemon(args.program, args.work)
    row["ready_s"] = round(again.wait_seeding(args.transfers, 300), 2)
    row["ready_cpu_s"] = round(again.cpu(), 2)
    time.sleep(5)
    before = again.cpu()
    time.sleep(10)
    row["idle_cpu_percent"] = round((again.cpu() - before) * 10, 2)
    row["anon_mib"] = round(again.anonymous_mib(), 1)
    row["read_mib"] = round(again.read_mib(), 1)
    row["content_mib"] = round(args.transfers * 64 / 1024, 1)
    again.stop()
    shutil.rmtree(args.work)
    print(json.dumps(row))
    if args.json:
        json.dump(row, open(args.json, "w"))


if __name__ == "__main__":
    main()
