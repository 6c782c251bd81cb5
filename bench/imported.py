#!/usr/bin/env python3
"""A folder of many small files, shared by a daemon: files a second, and what is kept of each.

    bench/imported.py [--files 100000] [--program target/release/peerage] [--work /dev/shm/peerage-imported]

Makes files of 4 KiB that all differ, a thousand in a folder, starts a daemon, shares the folder, and waits until it is served: by
then it was walked, hashed (v1, v2 and CIDs), and its blocks are on disk. Prints one JSON object. Python's standard library only.
"""

import argparse
import json
import os
import shutil
import time

from idle import Daemon


def make(folder, count):
    for number in range(count):
        if number % 1_000 == 0:
            os.makedirs(f"{folder}/{number // 1_000:03}")
        with open(f"{folder}/{number // 1_000:03}/{number:06}.bin", "wb") as file:
            file.write(number.to_bytes(8, "little") * 512)


def kept(data, suffix):
    return sum(os.path.getsize(f"{data}/transfers/{name}") for name in os.listdir(f"{data}/transfers") if name.endswith(suffix))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--program", default="target/release/peerage")
    parser.add_argument("--work", default="/dev/shm/peerage-imported")
    args = parser.parse_args()
    shutil.rmtree(args.work, ignore_errors=True)
    os.makedirs(args.work)
    try:
        make(args.work + "/folder", args.files)
        daemon = Daemon(os.path.abspath(args.program), args.work)
        began, cpu = time.monotonic(), daemon.cpu()
        daemon.ask("/transfers", {"kind": "share", "path": args.work + "/folder"})
        daemon.began = began
        seconds = daemon.wait_seeding(1, 300)
        cpu = daemon.cpu() - cpu
        cid = daemon.ask("/transfers")[0]["cid"]
        anonymous = daemon.anonymous_mib()
        daemon.stop()
        data = args.work + "/data"
        of_ipfs = os.path.getsize(data + "/blocks") + kept(data, ".leaves")
        print(json.dumps({
            "files": args.files,
            "cid": cid,
            "seconds": seconds,
            "cpu_s": cpu,
            "files_s": args.files / seconds,
            "bytes_a_file": of_ipfs / args.files,
            "torrent_bytes_a_file": kept(data, ".torrent") / args.files,
            "anon_mib": anonymous,
        }))
    finally:
        shutil.rmtree(args.work, ignore_errors=True)


if __name__ == "__main__":
    main()
