"""Hears what a network tells about torrents, as JSON lines: one for each swarm in a datagram or request.

    ear.py lan0 6999 10.78.0.1 [fd78::1]

Stands at each of the addresses, all of that interface, and hears over its family:
- at the port, a DHT node of one's own (BEP 5) that knows nobody, and takes every announce;
- at the port after it, a tracker over HTTP and UDP (BEP 3, 15) that names nobody;
- in the group, local discovery (BEP 14).
A line says by which way (`heard`), about which `swarm`, which `port` the other claims to listen at, if any, and to which
address of ours (`at`) it spoke. Runs until it is killed.
"""

import json
import select
import socket
import struct
import sys
from urllib.parse import parse_qs, urlsplit

import libtorrent as lt

GROUPS = {socket.AF_INET: "239.192.152.143", socket.AF_INET6: "ff15::efc0:988f"}
LAN_PORT = 6771
NODE_ID = bytes(range(20))


def tell(**keys):
    print(json.dumps(keys), flush=True)


def family_of(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def opened(host, port, kind):
    opened = socket.socket(family_of(host), kind)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind((host, port))
    return opened


def node(host, port):
    """A DHT node."""
    udp = opened(host, port, socket.SOCK_DGRAM)

    def hear():
        data, sender = udp.recvfrom(4096)
        message = lt.bdecode(data) or {}
        if message.get(b"y") != b"q":
            return
        asked = message[b"a"]
        swarm = asked.get(b"info_hash")
        if swarm:
            tell(heard=message[b"q"].decode(), swarm=swarm.hex(), port=asked.get(b"port"), at=host)
        answer = {b"id": NODE_ID, b"token": b"token", b"nodes": b"", b"nodes6": b""}
        udp.sendto(lt.bencode({b"t": message[b"t"], b"y": b"r", b"r": answer}), sender)

    return udp, hear


def udp_tracker(host, port):
    udp = opened(host, port, socket.SOCK_DGRAM)

    def hear():
        data, sender = udp.recvfrom(4096)
        action, transaction = struct.unpack(">II", data[8:16])
        if action == 0:
            udp.sendto(struct.pack(">IIQ", 0, transaction, 7), sender)
        elif action == 1:
            (told,) = struct.unpack(">H", data[96:98])
            tell(heard="udp", swarm=data[16:36].hex(), port=told, at=host)
            udp.sendto(struct.pack(">IIIII", 1, transaction, 1800, 0, 0), sender)

    return udp, hear


def http_tracker(host, port):
    tcp = opened(host, port, socket.SOCK_STREAM)
    tcp.listen()

    def hear():
        peer, _ = tcp.accept()
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += peer.recv(4096)
        asked = parse_qs(urlsplit(request.split()[1].decode()).query, encoding="latin-1")
        swarm = asked["info_hash"][0].encode("latin-1").hex()
        tell(heard="http", swarm=swarm, port=int(asked["port"][0]) if "port" in asked else None, at=host)
        body = b"d8:intervali1800e5:peers0:e"
        head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        peer.sendall(head.encode() + body)
        peer.close()

    return tcp, hear


def neighbour(host, interface):
    """A member of the group of local discovery."""
    family = family_of(host)
    udp = opened(GROUPS[family], LAN_PORT, socket.SOCK_DGRAM)
    if family == socket.AF_INET:
        membership = socket.inet_aton(GROUPS[family]) + socket.inet_aton(host)
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
    else:
        index = struct.pack("@I", socket.if_nametoindex(interface))
        membership = socket.inet_pton(family, GROUPS[family]) + index
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)

    def hear():
        data, _ = udp.recvfrom(4096)
        lines = [line.partition(":") for line in data.decode(errors="replace").splitlines()]
        said = [(key.lower(), value.strip()) for key, _, value in lines]
        port = next((int(value) for key, value in said if key == "port"), None)
        for key, value in said:
            if key == "infohash":
                tell(heard="lan", swarm=value.lower(), port=port, at=host)

    return udp, hear


def main(interface, port, hosts):
    ears = {}
    for host in hosts:
        for ear, hear in [
            node(host, port),
            udp_tracker(host, port + 1),
            http_tracker(host, port + 1),
            neighbour(host, interface),
        ]:
            ears[ear] = hear
    tell(listening=True)
    while True:
        for ear in select.select(list(ears), [], [])[0]:
            ears[ear]()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
