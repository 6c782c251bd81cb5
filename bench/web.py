#!/usr/bin/env python3
"""A web seed alone: nginx serves one file, `peerage get` fetches it (BEP 19); then curl fetches it, as the other program.

    bench/web.py [--size 2048] [--reps 3] [--program target/release/peerage] [--work /dev/shm/peerage-web]

Needs nginx and curl. Prints one JSON object a run: wall seconds, and the CPU seconds a GiB of the fetching side.
"""

import argparse
import filecmp
import json
import os
import resource
import shutil
import subprocess
import time

MIB = 1 << 20
PORT = 18080

NGINX = """daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/nginx.log;
events {{ worker_connections 256; }}
http {{ access_log off; sendfile on; server {{ listen 127.0.0.1:{port}; root {work}/there; }} }}
"""


def timed(command, env):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=2048, help="MiB")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--program", default="target/release/peerage")
    parser.add_argument("--work", default="/dev/shm/peerage-web")
    args = parser.parse_args()

    shutil.rmtree(args.work, ignore_errors=True)
    os.makedirs(args.work + "/there")
    env = {"HOME": args.work, "PATH": os.environ["PATH"]}
    source = args.work + "/there/film.bin"
    with open(source, "wb") as file:
        for _ in range(args.size // 16):
            file.write(os.urandom(16 * MIB))
    torrent, url = args.work + "/film.torrent", f"http://127.0.0.1:{PORT}/film.bin"
    make = ["hash", source, "--v1-only", "--piece-size", "1M", "--web-seed", url, "--torrent", torrent]
    subprocess.run([args.program, *make], env=env, check=True, stdout=subprocess.DEVNULL)
    with open(args.work + "/nginx.conf", "w") as file:
        file.write(NGINX.format(work=args.work, port=PORT))
    nginx = subprocess.Popen(["nginx", "-c", args.work + "/nginx.conf"])
    try:
        while subprocess.run(["curl", "-sI", url], stdout=subprocess.DEVNULL).returncode != 0:
            time.sleep(0.05)
        for rep in range(args.reps):
            out = args.work + "/here"
            node = ["--data-dir", args.work + "/data", "--listen", "127.0.0.1:0", "--no-dht", "--no-lan"]
            runs = {
                "peerage": [args.program, "get", torrent, "-o", out, *node],
                "curl": ["curl", "-s", "-o", out + "/film.bin", url],
            }
            for name, command in runs.items():
                for folder in (out, args.work + "/data"):
                    shutil.rmtree(folder, ignore_errors=True)
                os.makedirs(out)
                wall, cpu = timed(command, env)
                same = filecmp.cmp(source, out + "/film.bin", shallow=False)
                row = {"program": name, "rep": rep, "wall": round(wall, 2), "ok": same}
                print(json.dumps(row | {"cpu_s_per_gib": round(cpu * 1024 / args.size, 2)}), flush=True)
    finally:
        nginx.terminate()
        nginx.wait()
        shutil.rmtree(args.work, ignore_errors=True)


if __name__ == "__main__":
    main()
