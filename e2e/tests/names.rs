//! One name for the same bytes: the CIDs of `peerage hash` are those of other importers.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use peerage_e2e::peerage::objects;
use peerage_e2e::{js, sample};

/// The CID that `peerage hash` prints.
fn ours(home: &Path, path: &Path, more: &[&str]) -> String {
    let args = [&["hash", path.to_str().unwrap()], more].concat();
    objects(home, &args)[0]["cid"].as_str().unwrap().to_owned()
}

/// The CID that ipfs-unixfs-importer gives.
fn theirs(profile: &str, path: &Path) -> String {
    js::output("folder.mjs", &[profile, path.to_str().unwrap()]).trim().to_owned()
}

#[test]
fn cids_are_those_of_the_importer() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("odd");
    sample::odd_folder(&folder);
    let file = home.path().join("film.mkv");
    sample::file(&file, 5, 3_500_000);
    for profile in ["unixfs-v1-2025", "unixfs-v0-2015"] {
        for path in [&folder, &file] {
            let expected = theirs(profile, path);
            for versions in ["--hybrid", "--v1-only", "--v2-only"] {
                let cid = ours(home.path(), path, &["--cid-profile", profile, versions]);
                assert_eq!(cid, expected, "{profile} {versions} {}", path.display());
            }
        }
    }
    assert_eq!(ours(home.path(), &folder, &[]), theirs("unixfs-v1-2025", &folder));
}
