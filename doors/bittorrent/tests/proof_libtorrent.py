"""A libtorrent session for proof_libtorrent.rs.

usage: proof_libtorrent.py FOLDER seed|fetch

FOLDER/content/file is shared as a v2-only torrent, FOLDER/file.torrent, with pieces of 32 KiB. Prints the port it
listens on. `fetch` starts from a magnet link, without metadata, and saves to FOLDER/fetched. Then each line on standard
input is a port on 127.0.0.1 to dial. Prints `complete` when everything is fetched, or `gave up` after two minutes; the end of input ends the session.
"""

import os
import sys
import time

import libtorrent as lt
from bell import Bell

folder, role = sys.argv[1:]
content = os.path.join(folder, "content")
files = lt.file_storage()
lt.add_files(files, os.path.join(content, "file"))
torrent = lt.create_torrent(files, 32768, lt.create_torrent.v2_only)
lt.set_piece_hashes(torrent, content)
encoded = lt.bencode(torrent.generate())
with open(os.path.join(folder, "file.torrent"), "wb") as file:
    file.write(encoded)
info = lt.torrent_info(lt.bdecode(encoded))

session = lt.session(
    {
        "listen_interfaces": "127.0.0.1:0",
        "enable_dht": False,
        "enable_lsd": False,
        "enable_upnp": False,
        "enable_natpmp": False,
        "enable_incoming_utp": False,
        "enable_outgoing_utp": False,
        "in_enc_policy": 2,
        "out_enc_policy": 2,
        "alert_mask": lt.alert.category_t.status_notification,
    }
)
bell = Bell(session)
if role == "seed":
    handle = session.add_torrent({"ti": info, "save_path": content})
    while not handle.status().is_seeding:
        bell.wait(1)
        session.pop_alerts()
else:
    parameters = lt.parse_magnet_uri("magnet:?xt=urn:btmh:1220" + str(info.info_hashes().v2))
    parameters.save_path = os.path.join(folder, "fetched")
    handle = session.add_torrent(parameters)
print(session.listen_port(), flush=True)
for line in sys.stdin:
    handle.connect_peer(("127.0.0.1", int(line)))
    patience = time.monotonic() + 120
    while role == "fetch" and not handle.status().is_seeding and time.monotonic() < patience:
        bell.wait(1)
        session.pop_alerts()
    print("complete" if handle.status().is_seeding else "gave up", flush=True)
