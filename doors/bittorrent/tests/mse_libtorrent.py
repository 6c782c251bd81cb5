"""A libtorrent session that speaks nothing but RC4, for mse_libtorrent.rs.

usage: mse_libtorrent.py FOLDER seed|fetch

Prints `<info hash> <port it listens on>`. Then each line on standard input is a port on 127.0.0.1 to dial; the end of
input ends the session.
"""

import os
import sys

import libtorrent as lt
from bell import Bell

folder, role = sys.argv[1:]
content = os.path.join(folder, "content")
os.mkdir(content)
with open(os.path.join(content, "small"), "wb") as file:
    file.write(bytes(range(256)) * 256)
files = lt.file_storage()
lt.add_files(files, os.path.join(content, "small"))
torrent = lt.create_torrent(files, 16384, lt.create_torrent.v1_only)
lt.set_piece_hashes(torrent, content)
info = lt.torrent_info(torrent.generate())

session = lt.session(
    {
        "listen_interfaces": "127.0.0.1:0",
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_incoming_utp": False,
        "enable_outgoing_utp": False,
        "in_enc_policy": 0,
        "out_enc_policy": 0,
        "allowed_enc_level": 2,
        "alert_mask": lt.alert.category_t.status_notification,
    }
)
bell = Bell(session)
save = content if role == "seed" else os.path.join(folder, "fetched")
handle = session.add_torrent({"ti": info, "save_path": save})
while role == "seed" and not handle.status().is_seeding:
    bell.wait(1)
    session.pop_alerts()
print(info.info_hash(), session.listen_port(), flush=True)
for line in sys.stdin:
    handle.connect_peer(("127.0.0.1", int(line)))
