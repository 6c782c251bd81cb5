"""Hears what a network tells about torrents, as JSON lines: one for each swarm in a datagram.

    ear.py 10.78.0.1 6999

The address is that of the interface that is listened on for local discovery (BEP 14), and where a DHT node of one's own (BEP 5)
stands at the port: it knows nobody, and takes every announce. Runs until it is killed.
"""

import json
import select
import socket
import sys

import libtorrent as lt

GROUP = ("239.192.152.143", 6771)
NODE_ID = bytes(range(20))


def tell(**keys):
    print(json.dumps(keys), flush=True)


def node(address):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(address)
    return udp


def neighbour(interface):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    udp.bind(GROUP)
    membership = socket.inet_aton(GROUP[0]) + socket.inet_aton(interface)
    udp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    return udp


def hear_node(udp):
    data, sender = udp.recvfrom(4096)
    message = lt.bdecode(data) or {}
    if message.get(b"y") != b"q":
        return
    swarm = message[b"a"].get(b"info_hash")
    if swarm:
        tell(heard=message[b"q"].decode(), swarm=swarm.hex())
    answer = {b"id": NODE_ID, b"token": b"token", b"nodes": b""}
    udp.sendto(lt.bencode({b"t": message[b"t"], b"y": b"r", b"r": answer}), sender)


def hear_neighbour(udp):
    data, _ = udp.recvfrom(4096)
    for line in data.decode(errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.lower() == "infohash":
            tell(heard="lan", swarm=value.strip().lower())


def main(host, port):
    ears = {node((host, port)): hear_node, neighbour(host): hear_neighbour}
    tell(listening=True)
    while True:
        for udp in select.select(list(ears), [], [])[0]:
            ears[udp](udp)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
