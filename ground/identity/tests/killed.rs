//! A process that is killed while it makes a key leaves a whole key or none.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use peerage_identity::NodeKey;

/// Tells a process of this very test to make keys below this folder until it is killed.
const MAKE: &str = "PEERAGE_TEST_MAKE_KEYS";
const KILLS: usize = 20;

#[test]
fn a_kill_leaves_a_whole_key_or_none() {
    if let Some(folder) = std::env::var_os(MAKE) {
        make_keys(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    for kill in 0..KILLS {
        let below = folder.path().join(kill.to_string());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_kill_leaves_a_whole_key_or_none", "--nocapture"])
            .env(MAKE, &below)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The kill strikes somewhere in what comes after so many keys.
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(
            lines.filter(|line| line.as_ref().unwrap().ends_with("made")).take(kill + 1).count(),
            kill + 1
        );
        child.kill().unwrap();
        child.wait().unwrap();
        for entry in fs::read_dir(&below).unwrap() {
            let path = entry.unwrap().path().join("key");
            // Whole or not there; and whatever lies beside it keeps nobody from making one.
            NodeKey::load(&path).unwrap();
            NodeKey::load_or_create(&path).unwrap();
            assert!(!path.with_extension("new").exists());
        }
    }
}

fn make_keys(folder: &Path) -> ! {
    for number in 0_u64.. {
        NodeKey::load_or_create(&folder.join(number.to_string()).join("key")).unwrap();
        // Written at once, unlike what `println!` gathers for the harness.
        std::io::stdout().write_all(b"\nmade\n").unwrap();
    }
    unreachable!("it was to be killed")
}
