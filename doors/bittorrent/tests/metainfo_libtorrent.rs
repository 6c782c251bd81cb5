//! Torrents and links that we make, as libtorrent sees them. Needs `python3-libtorrent` (apt).

#![allow(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod metainfo_view;

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use metainfo_view::view;
use peerage_bittorrent::magnet::Magnet;
use peerage_bittorrent::metainfo::author::{Format, Options, create, layout};
use peerage_bittorrent::metainfo::{Metainfo, Node};
use peerage_content::{
    BLOCK_LENGTH, Entry, EntryKind, Hash32, HashPlan, Hashed, HashedFile, Layout, RelPath, V2File,
    merkle_root,
};
use sha1::Sha1;
use sha2::{Digest, Sha256};

const PIECE_LENGTH: u32 = 32 << 10;
const FORMATS: [Format; 3] = [Format::V1, Format::V2, Format::Hybrid];

/// The files of a test: content by path below the top folder.
type Files = BTreeMap<&'static str, Vec<u8>>;

/// Runs a script with `view.py` and `bell.py` at hand; gives what it prints.
fn python(script: &str, arguments: &[&str]) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let output = Command::new("/usr/bin/python3")
        .args(["-B", "-W", "ignore", "-c", script])
        .args(arguments)
        .env("PYTHONPATH", fixtures)
        .output()
        .expect("python3 with libtorrent");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from((index * 7 + length) % 251).unwrap()).collect()
}

fn files() -> Files {
    let lengths = [
        ("a-b", 16_384),
        ("a/x", 5),
        ("a/y", 0),
        ("b", 100_000),
        ("b 2", 100_000),
        ("grüße 世界/ünï\u{301}.txt", 40_000),
        ("run.sh", 32_768),
        ("z", 0),
    ];
    lengths.into_iter().map(|(path, length)| (path, content(length))).collect()
}

fn entry(path: &str, length: usize, kind: EntryKind) -> Entry {
    let path = RelPath::from_components(path.split('/')).unwrap();
    Entry { path, length: length as u64, kind, offset: 0 }
}

/// Hashes files in memory, the long way.
fn hash(layout: &Layout, files: &Files) -> Hashed {
    let bytes_of = |entry: &Entry| match entry.kind {
        EntryKind::Pad => vec![0; usize::try_from(entry.length).unwrap()],
        _ => files.get(entry.path.as_path().to_str().unwrap()).cloned().unwrap_or_default(),
    };
    let line: Vec<u8> = layout.entries().iter().flat_map(bytes_of).collect();
    let tree = |entry: &Entry| {
        let bytes = bytes_of(entry);
        if bytes.is_empty() || entry.kind == EntryKind::Pad {
            return None;
        }
        let leaf = |block: &[u8]| Hash32::from(Sha256::digest(block));
        let leaves: Vec<Hash32> = bytes.chunks(BLOCK_LENGTH as usize).map(leaf).collect();
        let per_piece = (layout.piece_length() / BLOCK_LENGTH) as usize;
        let layer = leaves.chunks(per_piece).map(|piece| merkle_root(piece, per_piece, [0; 32]));
        let layer = (entry.length > layout.piece_length().into()).then(|| layer.collect());
        Some(V2File { root: merkle_root(&leaves, 0, [0; 32]), layer })
    };
    let pieces = line.chunks(layout.piece_length() as usize).map(|piece| Sha1::digest(piece).into());
    Hashed {
        v1: Some(pieces.collect()),
        v2: Some(layout.entries().iter().map(tree).collect()),
        leaves: None,
        stamps: Vec::new(),
    }
}

fn make(entries: Vec<Entry>, files: &Files, name: &str, single: bool, options: &Options) -> Metainfo {
    let layout = layout(entries, single, options.format, PIECE_LENGTH).unwrap();
    let name = RelPath::from_components([name]).unwrap();
    create(&layout, &hash(&layout, files), &name, single, options).unwrap()
}

/// A torrent of [`files`], and a link among them if asked for.
fn folder(options: &Options, link: bool) -> Metainfo {
    let files = files();
    let kind = |path: &str| EntryKind::File { executable: path == "run.sh" };
    let mut entries: Vec<Entry> =
        files.iter().map(|(path, bytes)| entry(path, bytes.len(), kind(path))).collect();
    if link {
        let target = RelPath::from_components(["a", "x"]).unwrap();
        entries.push(entry("link", 0, EntryKind::Symlink { target }));
    }
    make(entries, &files, "folder", false, options)
}

fn single(options: &Options, length: usize) -> Metainfo {
    let files = Files::from([("single.bin", content(length))]);
    let entries = vec![entry("single.bin", length, EntryKind::File { executable: false })];
    make(entries, &files, "single.bin", true, options)
}

/// Writes the files that [`folder`] and [`single`] are made of.
fn write_files(base: &Path) {
    for (path, bytes) in files() {
        let path = base.join("folder").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(base.join("folder/run.sh"), executable).unwrap();
    std::fs::write(base.join("single.bin"), content(100_000)).unwrap();
}

#[test]
fn libtorrent_sees_what_we_wrote() {
    let base = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let options = Options {
            format,
            private: true,
            source: Some("site".into()),
            trackers: vec![
                vec!["http://a.example/".into(), "udp://b.example:1".into()],
                vec!["http://c.example/".into()],
            ],
            web_seeds: vec!["http://seed.example/files/".into()],
            nodes: vec![Node { host: "192.0.2.7".into(), port: 6881 }],
            comment: Some("a comment".into()),
            created_by: Some("us".into()),
            ..Options::default()
        };
        for torrent in [folder(&options, true), single(&options, 100_000), single(&options, 5)] {
            let path = base.path().join("made.torrent");
            std::fs::write(&path, torrent.to_bytes()).unwrap();
            let script = "import sys, view; print('\\n'.join(view.view(sys.argv[1])))";
            // Trackers of one tier are shuffled there (BEP 12).
            let sorted = |lines: &str| {
                let mut lines: Vec<String> = lines.lines().map(str::to_owned).collect();
                lines.sort_by_cached_key(|line| line.starts_with("tracker").then(|| line.clone()));
                lines
            };
            assert_eq!(sorted(&python(script, &[path.to_str().unwrap()])), sorted(&view(&torrent)));
        }
    }
}

/// Checks the files of a torrent and waits until libtorrent is a seed, which it is when every hash of both kinds is right.
const CHECK: &str = "
import sys, libtorrent as lt
from bell import Bell
session = lt.session({'listen_interfaces': '', 'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False,
                      'enable_natpmp': False, 'alert_mask': lt.alert.category_t.all_categories})
torrent = session.add_torrent({'ti': lt.torrent_info(sys.argv[1]), 'save_path': sys.argv[2]})
bell = Bell(session)
checked = False
while not checked:
    if not bell.wait(30):
        sys.exit('libtorrent does not check')
    for alert in session.pop_alerts():
        checked = checked or isinstance(alert, lt.torrent_checked_alert)
print(torrent.status().is_seeding)
";

#[test]
fn libtorrent_verifies_the_files_by_our_hashes() {
    let base = tempfile::tempdir().unwrap();
    write_files(base.path());
    for format in FORMATS {
        let options = Options { format, ..Options::default() };
        for torrent in [folder(&options, false), single(&options, 100_000)] {
            let path = base.path().join("made.torrent");
            std::fs::write(&path, torrent.to_bytes()).unwrap();
            let arguments = [path.to_str().unwrap(), base.path().to_str().unwrap()];
            assert_eq!(python(CHECK, &arguments), "True\n", "{format:?} {}", torrent.info.display_name());
        }
    }
}

#[test]
fn hashing_the_files_gives_the_same_torrents() {
    let base = tempfile::tempdir().unwrap();
    write_files(base.path());
    for format in FORMATS {
        let options = Options { format, ..Options::default() };
        for torrent in [folder(&options, false), single(&options, 100_000)] {
            let info = &torrent.info;
            let folder = info.root().map_or(base.path().to_owned(), |root| base.path().join(root.as_path()));
            let on_disk = |entry: &Entry| {
                let path = folder.join(entry.path.as_path());
                (entry.kind != EntryKind::Pad).then_some(HashedFile { path, length: entry.length })
            };
            let files = info.layout.entries().iter().map(on_disk).collect();
            let (v1, v2) = (format.has_v1(), format.has_v2());
            let plan = HashPlan { layout: &info.layout, files, v1, v2, leaves: None, threads: 2 };
            let hashed = peerage_content::hash(&plan, &|_| true).unwrap();
            let again = create(&info.layout, &hashed, &info.name, info.single, &options).unwrap();
            assert_eq!(again.to_bytes(), torrent.to_bytes(), "{format:?} {}", info.display_name());
        }
    }
}

/// Makes a torrent of the files in a folder, padded as we pad; prints its hashes.
const CREATE: &str = "
import sys, os, libtorrent as lt
path, flags = sys.argv[1], lt.create_torrent.canonical_files_no_tail_padding
flags = {'V1': lt.create_torrent.v1_only, 'V2': lt.create_torrent.v2_only, 'Hybrid': flags}[sys.argv[2]]
storage = lt.file_storage()
lt.add_files(storage, path, lambda path: True, flags)
torrent = lt.create_torrent(storage, 32 << 10, flags)
lt.set_piece_hashes(torrent, os.path.dirname(path))
hashes = lt.torrent_info(lt.bencode(torrent.generate())).info_hashes()
print(hashes.v1, hashes.v2)
";

#[test]
fn libtorrent_makes_the_same_info_hashes() {
    let base = tempfile::tempdir().unwrap();
    write_files(base.path());
    for format in FORMATS {
        let options = Options { format, ..Options::default() };
        let mut torrents = vec![single(&options, 100_000)];
        // A v1-only list has the order of the directory there, so it is another torrent.
        if format != Format::V1 {
            torrents.push(folder(&options, false));
        }
        for torrent in torrents {
            let path = base.path().join(torrent.info.name.as_path());
            let printed = python(CREATE, &[path.to_str().unwrap(), &format!("{format:?}")]);
            let line = view(&torrent);
            let ours: Vec<&str> = line.split('\t').skip(1).take(2).collect();
            let zero = |hash: &str| hash.chars().all(|digit| digit == '0');
            let theirs: Vec<&str> =
                printed.split_whitespace().map(|hash| if zero(hash) { "-" } else { hash }).collect();
            assert_eq!(ours, theirs, "{format:?} {}", torrent.info.display_name());
        }
    }
}

#[test]
fn libtorrent_saves_links_as_we_do() {
    let base = tempfile::tempdir().unwrap();
    write_files(base.path());
    symlink("a/x", base.path().join("folder/link")).unwrap();
    let script = "
import sys, os, libtorrent as lt
path, flags = sys.argv[1], lt.create_torrent.canonical_files_no_tail_padding | lt.create_torrent.symlinks
storage = lt.file_storage()
lt.add_files(storage, path, lambda path: True, flags)
torrent = lt.create_torrent(storage, 32 << 10, flags)
lt.set_piece_hashes(torrent, os.path.dirname(path))
open(sys.argv[2], 'wb').write(lt.bencode(torrent.generate()))
";
    let torrent = base.path().join("theirs.torrent");
    python(script, &[base.path().join("folder").to_str().unwrap(), torrent.to_str().unwrap()]);
    let theirs = Metainfo::parse(&std::fs::read(torrent).unwrap()).unwrap();
    let ours = folder(&Options::default(), true);
    assert_eq!(theirs.info.layout.entries(), ours.info.layout.entries());
    assert_eq!(theirs.piece_layers, ours.piece_layers);
}

#[test]
fn libtorrent_reads_our_links() {
    let mut torrent = single(&Options::default(), 100_000);
    torrent.trackers = vec![vec!["http://a.example/x?y=1&z=%20".into()], vec!["udp://b.example:1".into()]];
    torrent.web_seeds = vec!["http://seed.example/a b+c".into()];
    let mut magnet = Magnet::from(&torrent);
    magnet.name = Some("grüße & 世界 #+=?".into());
    for peer in ["192.0.2.7:6881", "[2001:db8::7]:6882"] {
        magnet.peers.push(peer.parse().unwrap());
    }
    magnet.select_only = vec![0..=0, 2..=3];
    let script = "
import sys, libtorrent as lt
link = lt.parse_magnet_uri(sys.argv[1])
print(link.info_hashes.v1, link.info_hashes.v2, link.name, link.trackers, link.url_seeds, link.peers,
      link.file_priorities, sep='\\n')
";
    let printed = python(script, &[&magnet.to_string()]);
    let line = view(&torrent);
    let mut hashes = line.split('\t').skip(1);
    let expected = [
        hashes.next().unwrap(),
        hashes.next().unwrap(),
        "grüße & 世界 #+=?",
        "['http://a.example/x?y=1&z=%20', 'udp://b.example:1']",
        "['http://seed.example/a b+c']",
        "[('192.0.2.7', 6881), ('2001:db8::7', 6882)]",
        "[4, 0, 4, 4]",
    ];
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
}

/// Prints the number of every file and link, and its path.
const NUMBERS: &str = r#"
import libtorrent, sys
files = libtorrent.torrent_info(sys.argv[1]).files()
for index in range(files.num_files()):
    if not files.file_flags(index) & libtorrent.file_flags_t.flag_pad_file:
        print(index, files.file_path(index))
"#;

/// BEP 53: `so=` in a link means the same files to both.
#[test]
fn files_have_the_same_numbers_in_a_link() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for name in ["v1-folder", "v2-folder", "hybrid-folder", "hybrid-folder-no-tail", "v2-single"] {
        let path = fixtures.join(format!("{name}.torrent"));
        let info = Metainfo::parse(&std::fs::read(&path).unwrap()).unwrap().info;
        let numbered = info.selection_numbers().filter_map(|(entry, number)| {
            let entry = info.layout.entries().get(entry)?;
            let path = info.root().map(|root| root.as_path().join(entry.path.as_path()));
            let path = path.unwrap_or_else(|| entry.path.as_path().to_owned());
            Some(format!("{number} {}\n", path.display()))
        });
        let theirs = python(NUMBERS, &[path.to_str().unwrap()]);
        assert_eq!(numbered.collect::<String>(), theirs, "{name}");
    }
}
