"""A slow and lossy wire: hands packets between two TUN devices, with a delay and a loss rate.

Kernels without the netem queueing discipline cannot do this themselves. Arguments: names of the devices, delay of one
direction in seconds, loss from 0 to 1. Prints "ready" once the devices exist. The losses are the same in every run.
"""
import collections, fcntl, os, random, select, struct, sys, time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def open_tun(name):
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return tun


left, right, delay, loss = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])
chance = random.Random(1)
tuns = [open_tun(left), open_tun(right)]
print("ready", flush=True)
flying = collections.deque()
while True:
    wait = max(0, flying[0][0] - time.monotonic()) if flying else None
    for tun in select.select(tuns, [], [], wait)[0]:
        try:
            while True:
                packet = os.read(tun, 65536)
                if chance.random() >= loss:
                    flying.append((time.monotonic() + delay, tuns[1] if tun == tuns[0] else tuns[0], packet))
        except OSError:
            pass
    while flying and flying[0][0] <= time.monotonic():
        _, to, packet = flying.popleft()
        try:
            os.write(to, packet)
        except OSError:
            pass
