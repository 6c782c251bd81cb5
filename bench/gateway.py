#!/usr/bin/env python3
"""The gateway beside nginx: both serve the same files over plain HTTP with sendfile, to curl on one connection.

    bench/gateway.py [--size 1024] [--requests 40000] [--reps 3] [--program target/release/examples/folder]

Needs nginx and curl. Prints one JSON object a run: the CPU seconds of the server for each GiB of a large file, and how many requests
for a file of 4 KiB it answers in a CPU second.
"""

import argparse
import json
import os
import shutil
import subprocess
import time

MIB = 1 << 20
PORTS = {"nginx": 18080, "peerage": 18081}

NGINX = """daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/nginx.log;
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 10000000;
    server {{ listen 127.0.0.1:{port}; root {work}/there; }}
}}
"""


def cpu_of(pid):
    """CPU seconds of a process and its children."""
    total = 0
    for task in [pid, *map(int, open(f"/proc/{pid}/task/{pid}/children").read().split())]:
        # Nanoseconds on a CPU, of each thread.
        for thread in os.listdir(f"/proc/{task}/task"):
            total += int(open(f"/proc/{task}/task/{thread}/schedstat").read().split()[0])
    return total / 1e9


def spent(process, command):
    before, began = cpu_of(process.pid), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return cpu_of(process.pid) - before, time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    parser.add_argument("--requests", type=int, default=40000)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--program", default="target/release/examples/folder")
    parser.add_argument("--work", default="/dev/shm/peerage-gateway")
    args = parser.parse_args()

    shutil.rmtree(args.work, ignore_errors=True)
    os.makedirs(args.work + "/there")
    with open(args.work + "/there/large.bin", "wb") as file:
        for _ in range(args.size // 16):
            file.write(os.urandom(16 * MIB))
    with open(args.work + "/there/small.bin", "wb") as file:
        file.write(os.urandom(4096))
    with open(args.work + "/nginx.conf", "w") as file:
        file.write(NGINX.format(work=args.work, port=PORTS["nginx"]))

    gateway = [args.program, args.work + "/there", f"127.0.0.1:{PORTS['peerage']}"]
    servers = {
        "nginx": subprocess.Popen(["nginx", "-c", args.work + "/nginx.conf"]),
        "peerage": subprocess.Popen(gateway, stdout=subprocess.PIPE, text=True),
    }
    try:
        cids = {}
        for line in servers["peerage"].stdout:
            if line == "ready\n":
                break
            cid, name = line.split()
            cids[name] = f"ipfs/{cid}?filename={name}&n="
        paths = {"nginx": {name: name + "?n=" for name in cids}, "peerage": cids}
        for program, names in paths.items():
            while subprocess.run(["curl", "-sI", url(program, names["small.bin"])], stdout=subprocess.DEVNULL).returncode:
                time.sleep(0.05)
        for rep in range(args.reps):
            for program, names in paths.items():
                large, wall = spent(servers[program], ["curl", "-s", "-o", "/dev/null", url(program, names["large.bin"])])
                many = url(program, f"{names['small.bin']}[1-{args.requests}]")
                small, _ = spent(servers[program], ["curl", "-s", "-o", "/dev/null", many])
                row = {"program": program, "rep": rep, "cpu_s_per_gib": round(large * 1024 / args.size, 3)}
                row |= {"wall": round(wall, 2), "requests_per_cpu_s": round(args.requests / small)}
                print(json.dumps(row), flush=True)
    finally:
        for server in servers.values():
            server.terminate()
            server.wait()
        shutil.rmtree(args.work, ignore_errors=True)


def url(program, path):
    return f"http://127.0.0.1:{PORTS[program]}/{path}"


if __name__ == "__main__":
    main()
