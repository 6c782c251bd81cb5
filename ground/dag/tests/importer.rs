//! CIDs equal those of ipfs-unixfs-importer, the importer of helia and of browsers.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod node;

use std::sync::LazyLock;

use peerage_dag::unixfs::{Metadata, Mtime};
use peerage_dag::{Built, Profile, Tree, file};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A case: our profile, what the importer calls it, and its files.
struct Case {
    profile: &'static str,
    options: Value,
    files: Vec<File>,
}

/// A file by its path; `None` is a folder.
struct File {
    path: String,
    size: Option<u64>,
    metadata: Metadata,
}

fn at(path: impl Into<String>, size: u64) -> File {
    File { path: path.into(), size: Some(size), metadata: Metadata::NONE }
}

#[test]
fn files_around_every_boundary() {
    let mut cases = Vec::new();
    for (profile, options, sizes) in [
        ("unixfs-v1-2025", json!({"profile": "unixfs-v1-2025"}), full(1 << 20, 1024)),
        ("unixfs-v0-2015", json!({"profile": "unixfs-v0-2015"}), full(256 << 10, 174)),
        (
            "unixfs-v1-2025,chunk-size=256,width=7",
            json!({"profile": "unixfs-v1-2025", "chunkSize": 256, "width": 7}),
            around(256, 7, 4),
        ),
        (
            "unixfs-v0-2015,chunk-size=100,width=2",
            json!({"profile": "unixfs-v0-2015", "chunkSize": 100, "width": 2}),
            around(100, 2, 7),
        ),
        (
            "unixfs-v1-2025,chunk-size=1000,width=3,leaves=dag-pb",
            json!({"profile": "unixfs-v1-2025", "chunkSize": 1000, "width": 3, "rawLeaves": false}),
            around(1000, 3, 3),
        ),
        (
            "unixfs-v0-2015,chunk-size=1000,width=3,leaves=raw",
            json!({"profile": "unixfs-v0-2015", "chunkSize": 1000, "width": 3, "rawLeaves": true}),
            around(1000, 3, 3),
        ),
    ] {
        let of_size = |size| Case { profile, options: options.clone(), files: vec![at("file", size)] };
        cases.extend(sizes.into_iter().map(of_size));
    }
    check(&cases);
}

/// Sizes around those at which trees get another leaf, node or level.
fn around(chunk: u64, width: u64, levels: u32) -> Vec<u64> {
    let mut sizes = vec![0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk];
    for level in 1..=levels {
        let full = chunk * width.pow(level);
        sizes.extend([full - chunk, full - 1, full, full + 1, full + chunk + 1]);
    }
    sizes
}

/// The same for the profiles that are in use, whose files get another level at a gibibyte: only what is needed.
fn full(chunk: u64, width: u64) -> Vec<u64> {
    vec![0, 1, chunk - 1, chunk, chunk + 1, chunk * width, chunk * width + 1]
}

#[test]
fn directories_of_all_kinds() {
    let mut cases = Vec::new();
    for (profile, options) in [
        ("unixfs-v1-2025", json!({"profile": "unixfs-v1-2025"})),
        ("unixfs-v0-2015", json!({"profile": "unixfs-v0-2015"})),
        ("threshold-bytes=0", json!({"profile": "unixfs-v1-2025", "shardSplitThresholdBytes": 0})),
        ("threshold=links-bytes", json!({"profile": "unixfs-v1-2025", "shardSplitStrategy": "links-bytes"})),
    ] {
        let flat = |count| (0..count).map(|n| at(format!("root/{n}"), n)).collect();
        for count in [1, 2, 20, 300] {
            cases.push(Case { profile, options: options.clone(), files: flat(count) });
        }
        cases.push(Case { profile, options: options.clone(), files: unicode() });
        cases.push(Case { profile, options: options.clone(), files: nested() });
    }
    check(&cases);
}

fn unicode() -> Vec<File> {
    [
        "ą/ę/file-źł.txt",
        "日本語",
        "🦀",
        "z",
        "Z",
        "é",
        "e\u{301}",
        "a b",
        "-",
        "~",
        "\u{ffff}",
        "\u{10000}",
        ".hidden",
    ]
    .into_iter()
    .map(|name| at(format!("root/{name}"), 3))
    .collect()
}

fn nested() -> Vec<File> {
    let mut files: Vec<_> = (0..200).map(|n| at(format!("root/{}/{}/{n}", n % 7, n % 3), n * 10)).collect();
    files.push(File { path: "root/empty".to_owned(), size: None, metadata: Metadata::NONE });
    files
}

#[test]
fn a_directory_of_ten_thousand() {
    let case = |profile| Case {
        profile,
        options: json!({"profile": profile, "sharded": true}),
        files: (0..10_000).map(|n| at(format!("root/a file with the number {n}"), 4096)).collect(),
    };
    check(&[case("unixfs-v1-2025"), case("unixfs-v0-2015")]);
}

/// The importer repeats mode and time in every inner node of a file; kubo and we say them in the root alone. So only files of two levels
/// can be compared.
#[test]
fn modes_and_times() {
    let mut cases = Vec::new();
    for size in [0, 5, 256, 257, 256 * 4] {
        for metadata in [
            Metadata { mode: Some(0o600), mtime: None },
            Metadata { mode: None, mtime: Some(Mtime { seconds: 1_700_000_000, nanos: 0 }) },
            Metadata { mode: Some(0o7711), mtime: Some(Mtime { seconds: -5, nanos: 999_999_999 }) },
        ] {
            cases.push(Case {
                profile: "chunk-size=256",
                options: json!({"profile": "unixfs-v1-2025", "chunkSize": 256}),
                files: vec![File { path: "file".to_owned(), size: Some(size), metadata }],
            });
        }
    }
    check(&cases);
}

fn check(cases: &[Case]) {
    let theirs = import(cases);
    assert_eq!(theirs.len(), cases.len());
    for (case, theirs) in cases.iter().zip(theirs) {
        let built = ours(case);
        let described = || format!("{} {} {:?}", case.profile, case.files[0].path, case.files[0].size);
        assert_eq!(built.cid.to_string(), theirs["cid"].as_str().unwrap(), "{}", described());
        assert_eq!(built.tsize, theirs["size"].as_u64().unwrap(), "{}", described());
    }
}

fn ours(case: &Case) -> Built {
    let profile: Profile = case.profile.parse().unwrap();
    if let [file] = &case.files[..]
        && !file.path.contains('/')
    {
        return hash_file(&profile, file.size.unwrap(), &file.metadata);
    }
    let mut tree = Tree::new();
    for file in &case.files {
        let path = file.path.strip_prefix("root/").unwrap().split('/');
        match file.size {
            Some(size) => tree.add(path, &hash_file(&profile, size, &file.metadata)).unwrap(),
            None => tree.add_folder(path, file.metadata).unwrap(),
        }
    }
    tree.build(&profile, &mut |_, _| {}).unwrap()
}

/// Bytes of a chunk of any size here, from any of the bytes 0 to 250 on.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| (0..=250).cycle().take(251 + (1 << 20)).collect());

/// A file of the bytes 0 to 250 over and over, as import.mjs makes it.
fn hash_file(profile: &Profile, size: u64, metadata: &Metadata) -> Built {
    let chunk_size = u64::from(profile.chunk_size());
    let leaves: Vec<[u8; 32]> = (0..profile.leaf_count(size))
        .map(|leaf| {
            let length = (size - leaf * chunk_size).min(chunk_size) as usize;
            let first = (leaf * chunk_size % 251) as usize;
            let frame = if size <= chunk_size {
                profile.only_leaf_frame(length as u32, metadata)
            } else {
                profile.leaf_frame(length as u32)
            };
            let hash = Sha256::new().chain_update(frame.prefix).chain_update(&PATTERN[first..first + length]);
            hash.chain_update(frame.suffix).finalize().into()
        })
        .collect();
    file::build_with(profile, size, &leaves, metadata, &mut |_, _| {})
}

/// Asks the importer, one line a case.
fn import(cases: &[Case]) -> Vec<Value> {
    let input: String = cases.iter().map(|case| format!("{}\n", in_json(case))).collect();
    node::lines(&node::run("import.mjs", &[], input.into_bytes()))
}

fn in_json(case: &Case) -> Value {
    let files: Vec<_> = case
        .files
        .iter()
        .map(|file| {
            let mut described = json!({"path": file.path});
            match file.size {
                Some(size) => described["size"] = json!(size),
                None => described["directory"] = json!(true),
            }
            if let Some(mode) = file.metadata.mode {
                described["mode"] = json!(mode);
            }
            if let Some(mtime) = file.metadata.mtime {
                let nanos = (mtime.nanos != 0).then_some(mtime.nanos);
                described["mtime"] = json!({"secs": mtime.seconds, "nsecs": nanos});
            }
            described
        })
        .collect();
    json!({"options": case.options, "files": files})
}
