"""A libtorrent peer, told what to do by one JSON object, telling what happens as JSON lines.

    lt_node.py make '{"path": "holiday", "out": "holiday.torrent", "kind": "hybrid"}'
    lt_node.py run  '{"listen": "10.77.0.3:6900", "torrent": "holiday.torrent", "save": "there", "peers": ["10.77.0.1:6881"]}'
    lt_node.py net  '{"router": "10.79.0.3:25401", "nodes": 12, "watch": "0123456789abcdef0123456789abcdef01234567"}'

`make` keys: path, out, kind (v1, v2, hybrid), trackers, private, web_seeds, piece_size.
`run` keys: listen, torrent or magnet (neither: only a DHT node), save, peers, dht, dht_nodes, lsd, encryption (forced,
disabled), up and down (limits, bytes a second), seed_mode (trust the files), log (every step, on stderr). `net` is a DHT
of its own, on the ports from that of its router; it tells when somebody announces the swarm that it watches. Both run
until they are killed.
"""

import faulthandler
import json
import os
import sys
import time

import libtorrent as lt

# Nothing is left beside the sources.
sys.dont_write_bytecode = True
sys.path.append(os.path.join(os.path.dirname(__file__), "../../doors/bittorrent/tests/fixtures"))
from bell import Bell  # noqa: E402

# A turn of the loop takes a fifth of a second. One that takes this long has hung inside libtorrent: where is written to
# stderr, and the end of the process fails the test at once.
HUNG_SECONDS = 30

# "v1 and v2 hashes do not describe the same data": libtorrent 2.0 says so of hybrids started from a link when hashes arrive
# while a piece is being hashed, and stops (arvidn/libtorrent#6394). Started again, as its users do, it finds that they do.
INCONSISTENT_HASHES = 217

# Objects that live as long as the process.
KEPT = []


def tell(event, **keys):
    print(json.dumps({"event": event, **keys}), flush=True)


def make(config):
    path = os.path.abspath(config["path"])
    files = lt.file_storage()
    lt.add_files(files, path)
    flags = {
        "v1": lt.create_torrent.v1_only,
        "v2": lt.create_torrent.v2_only,
        "hybrid": 0,
    }[config["kind"]]
    torrent = lt.create_torrent(files, config.get("piece_size", 0), flags)
    for tier, url in enumerate(config.get("trackers", [])):
        torrent.add_tracker(url, tier)
    for url in config.get("web_seeds", []):
        torrent.add_url_seed(url)
    torrent.set_priv(config.get("private", False))
    lt.set_piece_hashes(torrent, os.path.dirname(path))
    with open(config["out"], "wb") as out:
        out.write(lt.bencode(torrent.generate()))
    info = lt.torrent_info(config["out"])
    hashes = info.info_hashes()
    tell(
        "made",
        v1=str(hashes.v1) if hashes.has_v1() else None,
        v2=str(hashes.v2) if hashes.has_v2() else None,
        magnet=lt.make_magnet_uri(info),
    )


def alert_mask(config):
    """Only what is told: every alert more is memory that libtorrent takes back at the next pop_alerts."""
    category = lt.alert.category_t
    mask = (
        category.error_notification
        | category.status_notification
        | category.storage_notification
        | category.connect_notification
        | category.peer_notification
        | category.tracker_notification
    )
    if config.get("log"):
        mask |= category.peer_log_notification | category.torrent_log_notification
    return mask


def session(config):
    encryption = config.get("encryption")
    settings = {
        "listen_interfaces": config["listen"],
        "alert_mask": alert_mask(config),
        "enable_upnp": False,
        "enable_natpmp": False,
        # Nobody here speaks uTP, and libtorrent that tries it on itself has died of it.
        "enable_outgoing_utp": False,
        "enable_incoming_utp": False,
        "enable_lsd": config.get("lsd", False),
        "enable_dht": config.get("dht", False),
        "dht_bootstrap_nodes": ",".join(config.get("dht_nodes", [])),
        # Nodes of one test share a machine, and peers an address.
        "dht_restrict_routing_ips": False,
        "dht_restrict_search_ips": False,
        "dht_block_ratelimit": 100000,
        "allow_multiple_connections_per_ip": True,
        "upload_rate_limit": config.get("up", 0),
        "download_rate_limit": config.get("down", 0),
        "local_service_announce_interval": 5,
    }
    if encryption == "forced":
        settings |= {"out_enc_policy": 0, "in_enc_policy": 0, "allowed_enc_level": 2, "prefer_rc4": True}
    elif encryption == "disabled":
        settings |= {"out_enc_policy": 2, "in_enc_policy": 2}
    return lt.session(settings)


def add(ses, config):
    if "magnet" in config:
        params = lt.parse_magnet_uri(config["magnet"])
    elif "torrent" in config:
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(config["torrent"])
    else:
        return None
    # The session shares this object with its own threads, which must not be the last to let it go: they do not hold Python's lock.
    KEPT.append(params.ti)
    params.save_path = config["save"]
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if config.get("seed_mode"):
        params.flags |= lt.torrent_flags.seed_mode
    handle = ses.add_torrent(params)
    for peer in config.get("peers", []):
        host, port = peer.rsplit(":", 1)
        handle.connect_peer((host.strip("[]"), int(port)))
    return handle


def run(config):
    faulthandler.enable()
    ses = session(config)
    bell = Bell(ses)
    handle = add(ses, config)
    flushes = False
    told_at = 0.0
    while True:
        faulthandler.dump_traceback_later(HUNG_SECONDS, exit=True)
        bell.wait(0.2)
        for alert in ses.pop_alerts():
            name = type(alert).__name__
            if name == "listen_succeeded_alert":
                tell("listening", address=alert.address, port=alert.port, socket=str(alert.socket_type))
            elif name in ("peer_log_alert", "torrent_log_alert"):
                if config.get("log"):
                    print(alert.message(), file=sys.stderr, flush=True)
            elif name == "cache_flushed_alert":
                tell("complete", downloaded=handle.status().total_payload_download)
            elif name == "torrent_error_alert" and alert.error.value() == INCONSISTENT_HASHES:
                tell("problem", what=name, message=alert.message())
                handle.clear_error()
            elif name == "torrent_error_alert":
                sys.exit(alert.message())
            elif "error" in name or "failed" in name or "disconnected" in name:
                tell("problem", what=name, message=alert.message())
        if handle is None:
            continue
        status = handle.status()
        if status.is_seeding and not flushes:
            # A piece is verified before it is written.
            flushes = True
            handle.flush_cache()
        now = time.monotonic()
        if now - told_at >= 1:
            told_at = now
            tell(
                "progress",
                state=str(status.state),
                done=status.total_wanted_done,
                uploaded=status.total_payload_upload,
                peers=[
                    {
                        "address": f"{peer.ip[0]}:{peer.ip[1]}",
                        "client": peer.client.decode(errors="replace"),
                        "encrypted": bool(peer.flags & lt.peer_info.rc4_encrypted),
                        "downloaded": peer.total_download,
                        "uploaded": peer.total_upload,
                    }
                    for peer in handle.get_peer_info()
                ],
            )


def net(config):
    host, first = config["router"].rsplit(":", 1)
    sessions = [
        session({"listen": f"{host}:{int(first) + index}", "dht": True, "dht_nodes": [config["router"]]})
        for index in range(config["nodes"])
    ]
    for ses in sessions:
        ses.apply_settings({"alert_mask": lt.alert.category_t.dht_operation_notification})
    for ses in sessions:
        for index in range(config["nodes"]):
            ses.add_dht_node((host, int(first) + index))
    watched = lt.sha1_hash(bytes.fromhex(config["watch"]))
    known = [0] * len(sessions)
    ready = announced = False
    while True:
        time.sleep(0.3)
        for index, ses in enumerate(sessions):
            ses.post_session_stats()
            if ready and not announced:
                ses.dht_get_peers(watched)
            for alert in ses.pop_alerts():
                if isinstance(alert, lt.session_stats_alert):
                    known[index] = alert.values["dht.dht_nodes"]
                elif isinstance(alert, lt.dht_get_peers_reply_alert) and alert.num_peers() > 0 and not announced:
                    announced = True
                    tell("announced")
        if min(known) > len(sessions) // 2 and not ready:
            ready = True
            tell("ready", known=known)


if __name__ == "__main__":
    {"make": make, "run": run, "net": net}[sys.argv[1]](json.loads(sys.argv[2]))
