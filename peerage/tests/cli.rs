//! The program as its users meet it: the real binary, its output, its exit status.
//!
//! Help texts are compared with files in `tests/golden`; `UPDATE_GOLDEN=1 cargo test` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use peerage::api::DaemonLock;
use peerage::model::*;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{FakeDaemon, FakeNode, a_transfer, content};
use tempfile::TempDir;

/// A home of its own for each test.
struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peerage"));
        command.args(args).env_clear().env("HOME", self.path()).current_dir(self.path());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        tokio::task::block_in_place(|| self.command(args).output().unwrap())
    }

    /// With a daemon that only pretends.
    async fn daemon(node: FakeNode) -> (Self, FakeDaemon) {
        let home = Self::new();
        let daemon = FakeDaemon::start(&home.path().join(".local/share/peerage"), node).await;
        (home, daemon)
    }
}

fn run(args: &[&str]) -> Output {
    Home::new().command(args).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn objects(output: &Output) -> Vec<Value> {
    out(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn assert_status(output: &Output, status: i32) {
    assert_eq!(output.status.code(), Some(status), "out: {}\nerr: {}", out(output), err(output));
}

const COMMANDS: [&str; 19] = [
    "share",
    "get",
    "up",
    "down",
    "ls",
    "show",
    "peers",
    "pause",
    "resume",
    "remove",
    "verify",
    "limit",
    "hash",
    "inspect",
    "id",
    "contact",
    "config",
    "completions",
    "man",
];

#[test]
fn help_texts_are_as_written_down() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases = vec![("peerage".to_owned(), vec!["--help"])];
    cases.extend(COMMANDS.map(|name| (name.to_owned(), vec![name, "--help"])));
    for (name, args) in cases {
        let output = run(&args);
        assert_status(&output, 0);
        let file = golden.join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, out(&output)).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(out(&output), expected, "help of {name}; UPDATE_GOLDEN=1 writes it anew");
    }
}

#[test]
fn a_typo_is_answered_with_a_suggestion() {
    for (args, suggestion) in
        [(&["shar", "x"][..], "share"), (&["get", "x", "--sed"], "--seed"), (&["ls", "--jsn"], "--json")]
    {
        let output = run(args);
        assert_status(&output, 2);
        assert!(err(&output).contains(suggestion), "{}", err(&output));
        assert_eq!(out(&output), "");
    }
}

#[test]
fn bad_values_are_bad_usage() {
    for (args, part) in [
        (&["get", "x", "--limit-up", "5X"][..], "not an amount of bytes"),
        (&["get", "x", "--only", "[a"], "character class"),
        (&["get", "x", "--priority", "*.mkv=urgent"], "not high, normal, low or skip"),
        (&["get", "x", "--priority", "*.mkv"], "not GLOB=PRIORITY"),
        (&["get", "x", "--time", "soon"], "not a span of time"),
        (&["get", "x", "--ratio=-1"], "not a ratio"),
        (&["get", "x", "--peer", "nowhere"], "--peer"),
        (&["get", "x", "--encryption", "maybe"], "prefer, require, off"),
        (&["share", "x", "--piece-size", "100k"], "not a power of two"),
        (&["share", "x", "--v1-only", "--v2-only"], "cannot be used with"),
        (&["share", "x", "--as", "y.torrent", "--name", "z"], "cannot be used with"),
        (&["show", "holiday"], "neither a transfer's number"),
        (&["pause"], "TRANSFER"),
        (&["get", "x", "-o", "-", "--stream"], "stdout takes the file alone"),
        (&["share", "x", "--tracker", "not a url"], "not a url"),
        (&["share", "x", "--web-seed", "http://"], "web seed URL names no host"),
        (&["share", "x", "--web-seed", "example.com/x"], "web seed URL names no protocol"),
        (&["share", "x", "--web-seed", "file:///etc/passwd"], "web seed protocol \"file\" is not supported"),
        (&["config", "set", "lissten", "x"], "there is no key"),
        (&["contact", "add", "a/b", PEER], "cannot stand in a name"),
        (&["contact", "add", "laptop", "12D3KooW"], "<PEERID>"),
        (&["contact", "add", "laptop", MISTYPED], "no node has the peer id"),
    ] {
        let output = run(args);
        assert_status(&output, 2);
        assert!(err(&output).contains(part), "{args:?}: {}", err(&output));
    }
}

#[test]
fn a_mistake_is_an_object_for_a_program() {
    let output = run(&["get", "--json", "--nonsense"]);
    assert_status(&output, 2);
    assert_eq!(objects(&output)[0]["event"], "error");
    assert_eq!(objects(&output)[0]["code"], "usage");
    assert_eq!(err(&output), "");
}

#[test]
fn without_a_daemon_it_says_how_to_start_one() {
    for command in ["ls", "down"] {
        let output = run(&[command]);
        assert_status(&output, 1);
        let text = err(&output);
        assert!(text.starts_with("error: no daemon runs on "), "{text}");
        assert!(text.contains("\n\nhint: `peerage up` starts it"), "{text}");
    }
    let output = run(&["show", "1", "--json"]);
    assert_status(&output, 1);
    let error = &objects(&output)[0];
    assert_eq!((&error["event"], &error["code"]), (&json!("error"), &json!("failed")));
    assert!(error["hint"].as_str().unwrap().contains("peerage up"));
    assert_eq!(err(&output), "");
}

#[test]
fn an_error_is_a_line_its_causes_and_a_hint() {
    let output = run(&["share", "nowhere"]);
    assert_status(&output, 1);
    assert_eq!(
        err(&output),
        "error: share nowhere\n  caused by: No such file or directory (os error 2)\n\nhint: name a file or a folder that exists, or - for stdin\n"
    );
    let output = run(&["get", "nowhere.torrent"]);
    assert_status(&output, 1);
    assert_eq!(
        err(&output),
        "error: nowhere.torrent is no file, and no link\n  caused by: neither a magnet link nor an info hash\n\nhint: name a .torrent file, a URL of one, a magnet link or an info hash\n"
    );
}

#[test]
fn names_in_errors_are_harmless() {
    let output = run(&["share", "a\x1b[31mb"]);
    assert!(err(&output).contains("share a\\u{1b}[31mb"), "{}", err(&output));
    assert!(!err(&output).contains('\x1b'));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_shown_changed_and_checked() {
    let home = Home::new();
    let output = home.run(&["config"]);
    assert_status(&output, 0);
    assert!(out(&output).contains("# find peers through the Mainline DHT (default)\ndht = true\n"));
    out(&output).parse::<toml::Table>().unwrap();
    assert_eq!(
        out(&home.run(&["config", "path"])),
        format!("{}/.config/peerage/config.toml\n", home.path().display())
    );
    assert_status(&home.run(&["config", "set", "limit_up", "5M"]), 0);
    assert_eq!(out(&home.run(&["config", "get", "limit_up"])), "5M\n");
    let entry = objects(&home.run(&["config", "--json"]))
        .into_iter()
        .find(|entry| entry["key"] == "limit_up")
        .unwrap();
    assert_eq!((&entry["value"], &entry["origin"]), (&json!("5M"), &json!("file")));
    let output = home.run(&["config", "get", "limit-up"]);
    assert_status(&output, 2);
    assert!(err(&output).contains("did you mean `limit_up`?"), "{}", err(&output));
    let data_dir = home.run(&["config", "get", "data_dir", "--data-dir", "/x/y"]);
    assert_eq!(out(&data_dir), "/x/y\n");
    // Flags for every command stand anywhere.
    for args in [
        ["config", "--data-dir", "/x/y", "get", "data_dir"],
        ["config", "get", "--data-dir", "/x/y", "data_dir"],
    ] {
        assert_eq!(out(&home.run(&args)), "/x/y\n");
    }

    fs::write(home.path().join(".config/peerage/config.toml"), "dht = perhaps").unwrap();
    let output = home.run(&["ls"]);
    assert_status(&output, 1);
    assert!(err(&output).contains("config.toml is not valid\n  caused by: line 1: "), "{}", err(&output));
    assert_status(&home.run(&["config", "path"]), 0);
    assert_status(&home.run(&["ls", "--config", "/nowhere.toml"]), 1);
}

/// A peer id, and what becomes of it by a slip of the pen.
const PEER: &str = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq";
const MISTYPED: &str = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pr";
const OTHER: &str = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";

#[test]
fn a_node_has_one_peer_id() {
    let home = Home::new();
    let run = |args: &[&str]| home.command(args).output().unwrap();
    let first = run(&["id"]);
    assert_status(&first, 0);
    assert!(out(&first).starts_with("12D3KooW"), "{}", out(&first));
    assert!(err(&first).contains("Its key is new, in "), "{}", err(&first));
    let second = run(&["id"]);
    assert_eq!((out(&second), err(&second)), (out(&first), String::new()));
    let view = &objects(&run(&["id", "--json"]))[0];
    assert_eq!(view["peer_id"], out(&first).trim_end());
    assert_eq!(view["public_key"].as_str().unwrap().len(), 48);
    let key = view["key_file"].as_str().unwrap();
    assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_ne!(out(&Home::new().command(&["id"]).output().unwrap()), out(&first));

    fs::set_permissions(key, fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = run(&["id"]);
    assert_status(&exposed, 1);
    assert_eq!(out(&exposed), "");
    assert!(err(&exposed).contains("is open to other users (its mode is 644)"), "{}", err(&exposed));
    assert!(err(&exposed).contains("chmod 600"), "{}", err(&exposed));
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(key, "nonsense").unwrap();
    let broken = run(&["id"]);
    assert_status(&broken, 1);
    assert!(err(&broken).contains("holds no key of a node"), "{}", err(&broken));
    assert!(err(&broken).contains("hint: move "), "{}", err(&broken));
    assert_eq!(fs::read(key).unwrap(), b"nonsense");
}

#[test]
fn contacts_are_named_let_in_and_kept_out() {
    let home = Home::new();
    let run = |args: &[&str]| home.command(args).output().unwrap();
    let list = || out(&run(&["contact", "ls"]));
    let empty = run(&["contact", "ls"]);
    assert_status(&empty, 0);
    assert_eq!(out(&empty), "");
    assert!(err(&empty).contains("peerage contact add NAME PEERID"), "{}", err(&empty));

    assert_status(&run(&["contact", "add", "Zoë's phone", PEER]), 0);
    assert_status(&run(&["contact", "allow", OTHER]), 0);
    assert_eq!(
        list(),
        format!(
            "name         state    peer id\nZoë's phone  contact  {PEER}\n-            allowed  {OTHER}\n"
        )
    );
    let denied = run(&["contact", "deny", "ZOË'S PHONE", "--json"]);
    assert_eq!(
        objects(&denied),
        [json!({ "event": "contact_denied", "name": "Zoë's phone", "peer_id": PEER })]
    );
    let listed = objects(&run(&["contact", "ls", "--json"]));
    assert_eq!((&listed[0]["state"], &listed[0]["addresses"]), (&json!("denied"), &json!([])));
    assert!(listed[0]["added"].as_u64().unwrap() > 0);
    assert_eq!(
        listed[1],
        json!({ "name": null, "peer_id": OTHER, "state": "allowed", "added": null, "addresses": [] })
    );
    assert_status(&run(&["contact", "allow", "Zoë's phone"]), 0);
    assert_status(&run(&["contact", "remove", OTHER]), 0);
    assert_eq!(list().lines().skip(1).collect::<Vec<_>>(), [format!("Zoë's phone  contact  {PEER}")]);
    assert_status(&run(&["contact", "rm", "Zoë's phone"]), 0);
    assert_eq!(list(), "");
}

#[test]
fn a_contact_that_cannot_be_is_refused_with_what_helps() {
    let home = Home::new();
    let run = |args: &[&str]| home.command(args).output().unwrap();
    assert_status(&run(&["contact", "add", "laptop", PEER]), 0);
    let own = out(&run(&["id"]));
    for (args, status, error, hint) in [
        (["add", "laptop", OTHER], 1, "is already the name of", "peerage contact remove 'laptop'"),
        (["add", "phone", PEER], 1, "is known already, as laptop", "peerage contact remove 'laptop'"),
        (["add", "me", own.trim_end()], 2, "is this node itself", "peerage id"),
    ] {
        let output = run(&[&["contact"], &args[..]].concat());
        assert_status(&output, status);
        assert!(err(&output).contains(error) && err(&output).contains(hint), "{}", err(&output));
    }
    for verb in ["remove", "allow", "deny"] {
        let output = run(&["contact", verb, "nobody"]);
        assert_status(&output, 1);
        assert!(err(&output).starts_with("error: nobody is no contact\n"), "{}", err(&output));
        // Base58 of a peer id, as it were, but of no key.
        assert_status(&run(&["contact", verb, "11"]), 1);
    }
    assert_eq!(out(&run(&["contact", "ls"])).lines().count(), 2);
    let book = home.path().join(".local/share/peerage/identity/contacts.json");
    fs::write(&book, "{").unwrap();
    let output = run(&["contact", "ls"]);
    assert_status(&output, 1);
    assert!(err(&output).contains("contacts.json\" holds no contacts"), "{}", err(&output));
    assert!(err(&output).contains("hint: mend "), "{}", err(&output));
    fs::write(&book, "{\"version\":9}").unwrap();
    let output = run(&["contact", "allow", PEER]);
    assert!(err(&output).contains("is of a later version"), "{}", err(&output));
    assert!(err(&output).contains("hint: use the program that wrote it"), "{}", err(&output));
    fs::set_permissions(&book, fs::Permissions::from_mode(0o666)).unwrap();
    let output = run(&["contact", "deny", PEER]);
    assert!(err(&output).contains("(its mode is 666)"), "{}", err(&output));
    assert!(err(&output).contains("chmod go-w "), "{}", err(&output));
    assert_eq!(fs::read_to_string(&book).unwrap(), "{\"version\":9}");
}

#[test]
fn completions_and_man_pages_are_generated() {
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert_status(&output, 0);
        assert!(out(&output).contains("sequential"));
    }
    assert!(out(&run(&["man"])).contains(".TH peerage 1"));
    let home = Home::new();
    assert_status(&home.command(&["man", "--out", "pages"]).output().unwrap(), 0);
    assert!(home.path().join("pages/peerage-share.1").exists());
}

fn torrent(name: &str) -> Vec<u8> {
    let mut bytes =
        format!("d8:announce22:http://tracker.example4:infod6:lengthi5e4:name{}:{name}12:piece lengthi16384e6:pieces20:", name.len())
            .into_bytes();
    bytes.extend([7; 20]);
    bytes.extend(b"ee");
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn inspect_shows_a_torrent() {
    let home = Home::new();
    fs::write(home.path().join("x.torrent"), torrent("a\x1b[2Jb")).unwrap();
    let output = home.run(&["inspect", "x.torrent"]);
    assert_status(&output, 0);
    let text = out(&output);
    assert!(text.contains("name         a\\u{1b}[2Jb\n"), "{text}");
    assert!(text.contains("tracker      http://tracker.example  (tier 1)\n"), "{text}");
    assert!(!text.contains('\x1b'));
    let view = &objects(&home.run(&["inspect", "x.torrent", "--json"]))[0];
    assert_eq!((&view["kind"], &view["size"], &view["pieces"]), (&json!("torrent"), &json!(5), &json!(1)));
    assert_eq!(view["files"], json!([{ "path": "a\u{1b}[2Jb", "size": 5 }]));
    assert_eq!(view["info_hash_v1"].as_str().unwrap().len(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn inspect_says_why_a_torrent_is_refused() {
    let home = Home::new();
    fs::write(home.path().join("x.torrent"), torrent("..")).unwrap();
    let output = home.run(&["inspect", "x.torrent"]);
    assert_status(&output, 1);
    let text = err(&output);
    assert!(text.starts_with("error: x.torrent is refused\n  caused by: info.name: "), "{text}");
    let output = home.run(&["inspect", "x.torrent", "--json"]);
    assert_status(&output, 1);
    assert_eq!(
        (&objects(&output)[0]["event"], &objects(&output)[0]["code"]),
        (&json!("error"), &json!("refused"))
    );
    fs::write(home.path().join("y.torrent"), "nonsense").unwrap();
    assert_status(&home.run(&["inspect", "y.torrent"]), 1);
}

#[test]
fn inspect_shows_a_link() {
    let hash = "ab".repeat(20);
    let link = format!("magnet:?xt=urn:btih:{hash}&dn=holi%1bday&x.pe=192.0.2.7:6881&so=0,3-5");
    let output = run(&["inspect", &link]);
    assert_status(&output, 0);
    assert!(out(&output).contains("name         holi\\u{1b}day\n"), "{}", out(&output));
    assert!(out(&output).contains("files        number 0, 3-5 alone\n"), "{}", out(&output));
    let view = &objects(&run(&["inspect", &link, "--json"]))[0];
    assert_eq!((&view["info_hash_v1"], &view["peers"]), (&json!(hash), &json!(["192.0.2.7:6881"])));
    let output = run(&["inspect", "magnet:?xt=urn:btih:xyz"]);
    assert_status(&output, 1);
    assert!(err(&output).starts_with("error: the magnet link is refused\n"), "{}", err(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemons_transfers_are_listed() {
    let mut second = a_transfer(2);
    second.state = State::Seeding;
    second.verified = 1000;
    second.upload_rate = 2 << 20;
    let (home, _daemon) = Home::daemon(FakeNode::default().with(a_transfer(1)).with(second)).await;
    let output = home.run(&["ls"]);
    assert_status(&output, 0);
    assert_eq!(
        out(&output),
        "#  state         done    size  down          up  peers  ratio  name\n\
         1  downloading    0 %  1000 B     -           -    0/0   0.25  holi\\u{1b}[2Jday\n\
         2  seeding      100 %  1000 B     -  2.00 MiB/s    0/0   0.25  holi\\u{1b}[2Jday\n"
    );
    let listed = objects(&home.run(&["ls", "--json"]));
    assert_eq!(serde_json::from_value::<TransferView>(listed[0].clone()).unwrap(), a_transfer(1));
    let shown = home.run(&["show", "0202", "--files", "--trackers"]);
    assert_status(&shown, 0);
    assert!(out(&shown).contains("transfer     2\n"), "{}", out(&shown));
    assert!(out(&shown).contains("0 %  600 B  normal  video.mkv"), "{}", out(&shown));
    assert!(out(&shown).contains("go\\u{a}away"), "{}", out(&shown));
    let shown = objects(&home.run(&["show", "1", "--files", "--json"]));
    assert_eq!(shown[0]["file_list"][1]["path"], "notes.txt");
    let output = home.run(&["show", "7"]);
    assert_status(&output, 1);
    assert!(err(&output).starts_with("error: no transfer 7\n\nhint: `peerage ls`"), "{}", err(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_are_listed_and_their_absence_is_explained() {
    let (home, _daemon) = Home::daemon(FakeNode::default().with(a_transfer(1)).with(a_transfer(2))).await;
    let output = home.run(&["peers", "1"]);
    assert!(out(&output).contains("192.0.2.1:6881  evil \\u{1b}]0;title\\u{7} client"), "{}", out(&output));
    assert!(out(&output).contains("DuEI"), "{}", out(&output));
    let output = home.run(&["peers", "2"]);
    assert_status(&output, 0);
    assert_eq!(out(&output), "");
    assert_eq!(
        err(&output),
        "No peer is connected: no peers yet: asked 2 trackers, the DHT (42 nodes) and the LAN.\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_does_what_it_is_told() {
    let node = FakeNode::default().with(a_transfer(1)).with(a_transfer(2));
    let (home, _daemon) = Home::daemon(node.clone()).await;
    let output = home.run(&["pause", "1", "0202"]);
    assert_status(&output, 0);
    assert_eq!(err(&output), "paused 1  holi\\u{1b}[2Jday\npaused 2  holi\\u{1b}[2Jday\n");
    assert_eq!(objects(&home.run(&["resume", "--all", "--json"]))[1]["event"], "resumed");
    let output = home.run(&["verify", "1"]);
    assert_eq!(out(&output), "1  holi\\u{1b}[2Jday: 100 % is there and true\n");
    assert_eq!(
        err(&home.run(&["limit", "--up", "5M", "--down", "0"])),
        "the daemon: up 5M/s, down no limit\n"
    );
    assert_status(&home.run(&["limit", "1", "--down", "1k"]), 0);
    assert_eq!(out(&home.run(&["limit"])), "the daemon: up no limit, down no limit\n");
    // Named twice, done once.
    assert_status(&home.run(&["remove", "2", "0202", "--files"]), 0);
    assert_status(&home.run(&["remove", "2"]), 1);
    assert_eq!(
        node.asked(),
        [
            "limit None Some(5242880) Some(0)",
            "limit Some(TransferId(1)) None Some(1024)",
            "remove 2 files=true"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn get_hands_over_to_the_daemon_and_ends_when_all_is_there() {
    let node = FakeNode::default();
    let (home, _daemon) = Home::daemon(node.clone()).await;
    let hash = "ab".repeat(20);
    let peer = ["--peer", "192.0.2.1:6881", "--only", "*.mkv", "--priority", "a=b=low", "--limit-up", "1k"];
    let output = home.run(&[&["get", &*hash, "-o", "down", "--json"], &peer[..]].concat());
    assert_status(&output, 0);
    let events = objects(&output);
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names[..2], ["added", "metadata"], "{names:?}");
    assert_eq!(*names.last().unwrap(), "complete", "{names:?}");
    assert_eq!(names.iter().filter(|name| **name == "metadata").count(), 1);
    // Harnesses wait for the word alone.
    assert_eq!(out(&output).matches("\"complete\"").count(), 1);
    let asked: Value = serde_json::from_str(node.asked()[0].strip_prefix("add ").unwrap()).unwrap();
    assert_eq!(asked["folder"], json!(home.path().join("down")));
    assert_eq!(asked["priorities"], json!([{ "glob": "a=b", "priority": "low" }]));
    assert_eq!(asked["options"]["goal"], Value::Null);
    assert_eq!(asked["options"]["limits"]["up"], 1024);

    let output = home.run(&["get", &"cd".repeat(20), "-o", "down"]);
    assert_status(&output, 0);
    assert_eq!(out(&output), format!("{}/down\n", home.path().display()));
    assert!(err(&output).contains("Got holi\\u{1b}[2Jday: 1000 B in "), "{}", err(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_the_daemon_is_told_whole() {
    let (home, _daemon) = Home::daemon(FakeNode::default()).await;
    let output = home.run(&["get", &"0".repeat(40)]);
    assert_status(&output, 1);
    assert_eq!(
        err(&output),
        "error: the magnet link is refused\n  caused by: nobody is called zero\n\nhint: name another\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn get_to_stdout_writes_the_file_and_nothing_else() {
    let node = FakeNode::default();
    let (home, _daemon) = Home::daemon(node.clone()).await;
    for form in [&["-o", "-"][..], &["-"]] {
        let output = home.run(&[&["get", &*"ab".repeat(20), "--only", "*.mkv"], form].concat());
        assert_status(&output, 0);
        assert_eq!(output.stdout, content(0));
    }
    assert!(node.asked().iter().any(|asked| asked.starts_with("remove") && asked.ends_with("files=true")));
    let spools = home.path().join(".local/share/peerage/stdout");
    assert_eq!(fs::read_dir(spools).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stdout_takes_one_file() {
    let (home, _daemon) = Home::daemon(FakeNode::default()).await;
    let output = home.run(&["get", &"ab".repeat(20), "-"]);
    assert_status(&output, 1);
    assert!(err(&output).contains("it has 2 files, stdout takes one"), "{}", err(&output));
    assert!(out(&output).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_is_not_changed_by_flags_of_a_node() {
    let (home, _daemon) = Home::daemon(FakeNode::default()).await;
    for flag in [&["--no-dht"][..], &["--listen", "127.0.0.1:0"], &["--encryption", "require"]] {
        let output = home.run(&[&["get", &*"ab".repeat(20)], flag].concat());
        assert_status(&output, 2);
        assert!(err(&output).contains(&format!("{} cannot change the daemon", flag[0])), "{}", err(&output));
    }
}

/// A child that is not left behind.
struct Running(Child, String);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(), String::new())
    }

    /// Waits until it says so on stderr.
    fn told(&mut self, text: &str) {
        tokio::task::block_in_place(|| {
            let mut byte = [0];
            let stderr = self.0.stderr.as_mut().unwrap();
            while !self.1.contains(text) {
                assert_eq!(
                    std::io::Read::read(stderr, &mut byte).unwrap(),
                    1,
                    "it did not say {text}: {}",
                    self.1
                );
                self.1.push(byte[0].into());
            }
        });
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        tokio::task::block_in_place(|| {
            let mut byte = [0];
            let stdout = self.0.stdout.as_mut().unwrap();
            while std::io::Read::read(stdout, &mut byte).unwrap() == 1 && byte != *b"\n" {
                line.push(byte[0].into());
            }
        });
        line
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    fn end(mut self) -> (Option<i32>, String) {
        tokio::task::block_in_place(|| {
            let mut text = std::mem::take(&mut self.1);
            for line in BufReader::new(self.0.stderr.take().unwrap()).lines() {
                text += &(line.unwrap() + "\n");
            }
            let status = self.0.wait().unwrap();
            assert_eq!(status.signal(), None);
            (status.code(), text)
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already, if all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signal_ends_a_command_whose_daemon_is_stuck() {
    let home = Home::new();
    let lock = DaemonLock::take(&home.path().join(".local/share/peerage")).unwrap();
    // It listens and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    lock.publish(listener.local_addr().unwrap()).unwrap();
    for command in [&["ls"][..], &["show", "1"], &["get", "http://127.0.0.1:1/x.torrent"]] {
        let mut command = home.command(command);
        if command.get_args().any(|arg| arg == "get") {
            command = home.command(&["get", &format!("http://{}/x", listener.local_addr().unwrap())]);
        }
        let stuck = Running::start(command);
        let accepted = tokio::task::block_in_place(|| listener.accept().unwrap());
        stuck.signal(Signal::TERM);
        let began = std::time::Instant::now();
        assert_eq!(stuck.end().0, Some(143));
        assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
        drop(accepted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_stdin_leaves_nothing() {
    let home = Home::new();
    let mut command = home.command(&["share", "-"]);
    command.stdin(Stdio::piped());
    let mut share = Running::start(command);
    share.told("Reading stdin");
    share.signal(Signal::INT);
    assert_eq!(share.end().0, Some(130));
    assert_eq!(fs::read_dir(home.path().join(".local/share/peerage/stdin")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn share_prints_the_link_as_data_and_stays_until_interrupted() {
    let node = FakeNode::default();
    let (home, _daemon) = Home::daemon(node.clone()).await;
    fs::write(home.path().join("holiday"), "x").unwrap();
    let mut share = Running::start(home.command(&[
        "share",
        "holiday",
        "--torrent",
        "h.torrent",
        "--tracker",
        "http://a,http://b",
        "--tracker",
        "http://c",
    ]));
    let link = share.line();
    assert!(link.starts_with("magnet:?xt=urn:btih:"), "{link}");
    // The torrent follows the link, and is told.
    share.told("Wrote h.torrent.");
    share.signal(Signal::INT);
    let (status, text) = share.end();
    assert_eq!(status, Some(130), "{text}");
    assert!(text.contains(&format!("On the other side:\n\n  peerage get '{link}'\n")), "{text}");
    assert!(text.contains("The daemon goes on sharing it: `peerage remove 1` ends that."), "{text}");
    let asked: Value = serde_json::from_str(node.asked()[0].strip_prefix("add ").unwrap()).unwrap();
    assert_eq!(asked["path"], json!(home.path().join("holiday")));
    assert_eq!(asked["author"]["trackers"], json!([["http://a", "http://b"], ["http://c"]]));
}

#[tokio::test(flavor = "multi_thread")]
async fn share_in_the_background_returns_with_the_link() {
    let (home, _daemon) = Home::daemon(FakeNode::default()).await;
    let odd = std::ffi::OsStr::from_bytes(b"od\xffd");
    fs::write(home.path().join(odd), "x").unwrap();
    let mut command = home.command(&["share", "--background", "--qr"]);
    let output = tokio::task::block_in_place(|| command.arg(odd).output().unwrap());
    assert_status(&output, 0);
    assert!(out(&output).starts_with("magnet:?"));
    assert_eq!(out(&output).lines().count(), 1);
    assert!(err(&output).contains('█') && err(&output).contains("Sharing od\\xffd"), "{}", err(&output));
}

/// Whether it is looked at before or after the node says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_is_removed_while_it_is_followed_is_told_so() {
    let node = FakeNode::default();
    let (home, _daemon) = Home::daemon(node.clone()).await;
    let mut get = Running::start(home.command(&["share", ".", "--json"]));
    while !get.line().contains("progress") {}
    node.vanish(TransferId(1));
    let told = std::iter::repeat_with(|| get.line()).find(|line| line.contains("\"error\"")).unwrap();
    assert!(told.contains("transfer 1 was removed"), "{told}");
    assert_eq!(get.end().0, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_transfer_that_fails_does_not_keep_the_others() {
    let node = FakeNode::default().with(a_transfer(1)).with(a_transfer(2)).with(a_transfer(3));
    let (home, _daemon) = Home::daemon(node.clone()).await;
    node.vanish(TransferId(1));
    let output = home.run(&["pause", "--all"]);
    assert_status(&output, 1);
    let told = err(&output);
    assert!(
        told.contains("paused 2") && told.contains("paused 3") && told.contains("no transfer 1"),
        "{told}"
    );
    node.vanish(TransferId(2));
    let objects = objects(&home.run(&["remove", "--all", "--json"]));
    let events: Vec<_> = objects.iter().map(|object| object["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["removed", "error"], "{objects:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stdin_is_shared_under_a_name() {
    let node = FakeNode::default();
    let (home, _daemon) = Home::daemon(node.clone()).await;
    fs::write(home.path().join("input"), "from stdin").unwrap();
    let mut command = home.command(&["share", "-", "--name", "notes.txt", "--background"]);
    command.stdin(fs::File::open(home.path().join("input")).unwrap());
    assert_status(&tokio::task::block_in_place(|| command.output().unwrap()), 0);
    let asked: Value = serde_json::from_str(node.asked()[0].strip_prefix("add ").unwrap()).unwrap();
    let path = Path::new(asked["path"].as_str().unwrap());
    assert!(path.ends_with("notes.txt") && path.starts_with(home.path().join(".local/share/peerage/stdin")));
    assert_eq!(fs::read_to_string(path).unwrap(), "from stdin");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_serves_ranges_at_the_printed_url() {
    let (home, _daemon) = Home::daemon(FakeNode::default()).await;
    let mut get = Running::start(home.command(&["get", &"ab".repeat(20), "--stream"]));
    let url = get.line();
    support::install_tls();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let part = http.get(&url).header("range", "bytes=5-9").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-type"], "video/x-matroska");
    assert_eq!(part.bytes().await.unwrap(), content(0)[5..10]);
    let guessed = url.rsplit_once('/').unwrap().0.rsplit_once('/').unwrap().0.to_owned() + "/0/video.mkv";
    assert_eq!(http.get(guessed).send().await.unwrap().status(), 404);
    assert_eq!(http.get(&url).header("host", "evil.example").send().await.unwrap().status(), 403);
    get.signal(Signal::INT);
    assert_eq!(get.end().0, Some(130));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_is_no_error() {
    let (home, _daemon) =
        Home::daemon((1..200).fold(FakeNode::default(), |node, id| node.with(a_transfer(id)))).await;
    let mut ls = Running::start(home.command(&["ls", "--json"]));
    ls.line();
    drop(ls.0.stdout.take());
    assert_eq!(ls.end(), (Some(0), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_is_refused() {
    let (home, _daemon) = Home::daemon(FakeNode::default()).await;
    for args in [&["up"][..], &["up", "--background"]] {
        let output = home.run(args);
        assert_status(&output, 1);
        assert!(err(&output).starts_with("error: a daemon runs already on "), "{}", err(&output));
        assert!(err(&output).contains("`peerage down` ends it"), "{}", err(&output));
    }
}
