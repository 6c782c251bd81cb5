//! The gateway behind a socket: the front, hyper behind it, and other people's clients.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use peerage_content::{Alignment, Entry, EntryKind, FilePool, Layout, Place, RelPath, Store};
use peerage_http::{Gateway, InPlace, Limits, Shared, SharedEntry, StoreFile, serve};
use support::{Memory, pattern};
use tokio_util::sync::CancellationToken;

/// A gateway that listens, until this is dropped.
struct Served {
    address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn served(memory: Memory, limits: Limits) -> Served {
    served_by(Arc::new(memory.gateway()), limits).await
}

async fn served_by(gateway: Arc<Gateway<Memory>>, limits: Limits) -> Served {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    tokio::spawn(serve(listener, gateway, limits, stop.clone()));
    Served { address, stop }
}

/// A file of this many bytes on the disk, as a share has it.
fn on_disk(folder: &std::path::Path, name: &str, bytes: &[u8]) -> Arc<dyn InPlace> {
    std::fs::write(folder.join(name), bytes).unwrap();
    let path = RelPath::from_components([name]).unwrap();
    let kind = EntryKind::File { executable: false };
    let entry = Entry { path, length: bytes.len() as u64, kind, offset: 0 };
    let layout = Arc::new(Layout::new(vec![entry], 1 << 16, Alignment::PerFile).unwrap());
    let full = peerage_content::PieceSet::full(layout.piece_count());
    let store = Store::new(layout, Place::InPlace(folder.join(name)), FilePool::new(8), full, vec![]);
    Arc::new(StoreFile::new(Arc::new(store), 0).unwrap())
}

/// Sends bytes as they are and gives all that comes back until the connection ends.
fn exchange(address: SocketAddr, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.replace('\n', "\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// Status line, headers in order of their names, and body.
fn taken_apart(answer: &[u8]) -> (String, Vec<String>, Vec<u8>) {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.lines().map(str::to_owned);
    let status = lines.next().unwrap();
    let mut headers: Vec<_> = lines.filter(|line| !line.starts_with("date:")).collect();
    headers.sort();
    (status, headers, answer[end + 4..].to_vec())
}

fn curl(arguments: &[&str]) -> Output {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "curl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_front_and_hyper_say_the_same() {
    let there = tempfile::tempdir().unwrap();
    let mut memory = Memory::default();
    let (small, large) = (pattern(4_096), pattern(300_000));
    let (small_cid, large_cid) = (memory.file(&small).cid, memory.file(&large).cid);
    let root = memory.tree(&[("index.html", b"home"), ("d/x", b"x")]);
    memory.files.insert(small_cid, on_disk(there.path(), "small", &small));
    memory.files.insert(large_cid, on_disk(there.path(), "large", &large));
    let served = served(memory, Limits::default()).await;
    let cases = [
        (format!("GET /ipfs/{small_cid}?filename=a.bin"), ""),
        (format!("GET /ipfs/{small_cid}"), ""),
        (format!("GET /ipfs/{small_cid}"), "If-None-Match: *\n"),
        (format!("GET /ipfs/{large_cid}?filename=a.bin&download=true"), ""),
        (format!("GET /ipfs/{large_cid}?filename=a.bin"), "Range: bytes=70000-270000\n"),
        (format!("GET /ipfs/{large_cid}?filename=a.bin"), "Range: bytes=300000-\n"),
        (format!("HEAD /ipfs/{large_cid}?filename=a.bin"), ""),
        (format!("GET /ipfs/{root}/"), ""),
        (format!("GET /ipfs/{root}/d"), ""),
        (format!("GET /ipfs/{root}/none"), ""),
        (format!("GET /ipfs/{root}?format=raw"), ""),
        ("GET /".to_owned(), ""),
    ];
    let address = served.address;
    blocking(move || {
        for (request, headers) in cases {
            let ask = |more: &str| {
                let head =
                    format!("{request} HTTP/1.1\nHost: 127.0.0.1\nConnection: close\n{headers}{more}\n");
                taken_apart(&exchange(address, &head))
            };
            let (front, hyper) = (ask(""), ask("Content-Length: 0\n"));
            assert_eq!((&front.0, &front.1), (&hyper.0, &hyper.1), "{request} {headers}");
            assert!(front.2 == hyper.2, "{request} {headers}: other bytes");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_fetches_ranges_resumes_and_reuses_its_connection() {
    let there = tempfile::tempdir().unwrap();
    let mut memory = Memory::default();
    let large = pattern(3_000_000);
    let (tree, place) = (memory.file(&large[..50_000]).cid, memory.file(&large).cid);
    memory.files.insert(place, on_disk(there.path(), "large", &large));
    let served = served(memory, Limits::default()).await;
    let url = |cid, query: &str| format!("http://{}/ipfs/{cid}?filename=a.bin{query}", served.address);
    let (in_place, in_blocks, car) = (url(place, ""), url(tree, ""), url(tree, "&format=car"));
    blocking(move || {
        assert!(curl(&[&in_place]).stdout == large);
        assert!(curl(&[&in_blocks]).stdout == large[..50_000]);
        assert!(curl(&["--range", "1000000-1999999", &in_place]).stdout == large[1_000_000..2_000_000]);
        let part = there.path().join("part");
        std::fs::write(&part, &large[..1_234_567]).unwrap();
        curl(&["--continue-at", "-", "--output", part.to_str().unwrap(), &in_place]);
        assert!(std::fs::read(&part).unwrap() == large);
        let sizes = "%{http_code} %{size_download} %{num_connects}\n";
        // The CAR is a stream: from there on, hyper has the connection.
        let urls = [&in_place, &in_blocks, &car, &in_place];
        let mut arguments = vec!["--write-out", sizes];
        urls.iter().for_each(|url| arguments.extend(["--output", "/dev/null", url]));
        let said = String::from_utf8(curl(&arguments).stdout).unwrap();
        let lines: Vec<_> = said.lines().collect();
        assert_eq!((lines[0], lines[1], lines[3]), ("200 3000000 1", "200 50000 0", "200 3000000 0"));
        assert!(lines[2].starts_with("200 5") && lines[2].ends_with(" 0"), "{said}");
        let head = String::from_utf8(curl(&["--head", &in_place]).stdout).unwrap();
        assert!(head.contains("content-length: 3000000") && head.contains("date: "), "{head}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_may_come_in_one_packet_or_byte_by_byte() {
    let mut memory = Memory::default();
    let (a, long, b) =
        (memory.file(b"first").cid, memory.file(&pattern(9_000)).cid, memory.file(b"last").cid);
    let served = served(memory, Limits::default()).await;
    let request =
        |cid, end| format!("GET /ipfs/{cid}?filename=a.bin HTTP/1.1\r\nHost: 127.0.0.1\r\n{end}\r\n");
    let all = [request(a, ""), request(long, ""), request(b, "Connection: close\r\n")].concat();
    let address = served.address;
    blocking(move || {
        for piece in [all.len(), 1] {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            all.as_bytes().chunks(piece).for_each(|piece| stream.write_all(piece).unwrap());
            let mut answers = Vec::new();
            stream.read_to_end(&mut answers).unwrap();
            let text = String::from_utf8_lossy(&answers);
            assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3, "{text}");
            assert!(text.contains("\r\n\r\nfirst") && text.ends_with("\r\n\r\nlast"), "{text}");
            assert!(answers.windows(9_000).any(|part| part == pattern(9_000)));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_slow_makes_room() {
    let there = tempfile::tempdir().unwrap();
    let mut memory = Memory::default();
    let large = pattern(64 << 20);
    let cid = memory.file(b"large").cid;
    memory.files.insert(cid, on_disk(there.path(), "large", &large));
    let short = Duration::from_millis(300);
    let limits = Limits { connections: 1, head: short, idle: short, stall: short };
    let served = served(memory, limits).await;
    let address = served.address;
    blocking(move || {
        let request = format!("GET /ipfs/{cid} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
        // There is one place, so that each is let in when the one before was shown out.
        for begun in [
            "",
            "GET /ipfs/",
            &request,
            &format!("{}Content-Length: 0\r\n\r\n", request.trim_end_matches("\r\n").to_owned() + "\r\n"),
        ] {
            let began = Instant::now();
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(begun.as_bytes()).unwrap();
            let mut probe = TcpStream::connect(address).unwrap();
            probe.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            probe.read_to_end(&mut answer).unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 404"), "{begun:?}");
            assert!(began.elapsed() < Duration::from_secs(10), "{begun:?}");
            drop(stream);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_have_a_bound() {
    let served = served(Memory::default(), Limits::default()).await;
    let address = served.address;
    blocking(move || {
        let long = format!("GET / HTTP/1.1\nHost: 127.0.0.1\nX: {}\n\n", "x".repeat(20_000));
        let many = format!("GET / HTTP/1.1\nHost: 127.0.0.1\n{}\n", "X: x\n".repeat(100));
        for request in [long, many] {
            let answer = exchange(address, &request);
            assert!(answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
        }
        let nonsense = exchange(address, "\u{1}\u{2}\n\n");
        assert!(nonsense.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&nonsense));
        let post = exchange(
            address,
            "POST /ipfs/x HTTP/1.1\nHost: 127.0.0.1\nContent-Length: 3\nConnection: close\n\nabc",
        );
        assert!(post.starts_with(b"HTTP/1.1 405"), "{}", String::from_utf8_lossy(&post));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_changed_is_not_served() {
    let there = tempfile::tempdir().unwrap();
    let mut memory = Memory::default();
    let cid = memory.file(b"what it was").cid;
    let file = on_disk(there.path(), "file", b"what it was");
    memory.files.insert(cid, file);
    let served = served(memory, Limits::default()).await;
    let url = format!("http://{}/ipfs/{cid}?filename=a.txt", served.address);
    blocking(move || {
        assert_eq!(curl(&[&url]).stdout, b"what it was");
        // Nothing but the time of its last change differs: whether its bytes do will be known soon.
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(there.path().join("file"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let doubt = String::from_utf8(curl(&["--include", &url]).stdout).unwrap();
        assert!(doubt.starts_with("HTTP/1.1 503") && doubt.contains("retry-after: 1"), "{doubt}");
        std::fs::write(there.path().join("file"), b"what it is!").unwrap();
        let answer = curl(&["--include", &url]).stdout;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 404") && !answer.contains("what it"), "{answer}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_is_a_web_seed() {
    let there = tempfile::tempdir().unwrap();
    let mut memory = Memory::default();
    let bytes = pattern(100_000);
    let names = |path: &str| {
        path.split('/').filter(|name| !name.is_empty()).map(|name| name.as_bytes().to_vec()).collect()
    };
    let folder = |name: &str, size, is_folder| {
        Shared::Folder(vec![SharedEntry { name: name.into(), size, is_folder }])
    };
    let mut share = |path: &str, shared| memory.shares.insert(("00ff".to_owned(), names(path)), shared);
    share("", folder("trip", 100_000, true));
    share("trip", folder("a b.jpg", 100_000, false));
    let file = on_disk(there.path(), "a b.jpg", &bytes);
    share("trip/a b.jpg", Shared::File { file, tag: "00ff-0".to_owned() });
    let served = served(memory, Limits::default()).await;
    let url = format!("http://{}/share/00ff/", served.address);
    blocking(move || {
        assert!(curl(&[&format!("{url}trip/a%20b.jpg")]).stdout == bytes);
        assert!(curl(&["--range", "5-9", &format!("{url}trip/a%20b.jpg")]).stdout == bytes[5..10]);
        let page =
            String::from_utf8(curl(&["--location", "--include", &format!("{url}trip")]).stdout).unwrap();
        assert!(page.contains("301") && page.contains("./a%20b.jpg") && page.contains("97.7 KiB"), "{page}");
        // What somebody shares is no business of other sites.
        assert!(!page.contains("access-control-allow-origin"), "{page}");
        let missing = String::from_utf8(curl(&["--include", &format!("{url}other")]).stdout).unwrap();
        assert!(missing.starts_with("HTTP/1.1 404"), "{missing}");
        assert!(!missing.contains("access-control-allow-origin"), "{missing}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_so_many_are_answered_at_a_time() {
    let mut memory = Memory::default();
    let cid = memory.file(&pattern(3_000)).cid;
    memory.silent.insert(cid);
    let config =
        peerage_http::Config { requests_max: 1, patience: Duration::from_secs(60), ..Default::default() };
    let gateway = Arc::new(Gateway::new(memory, config));
    let served = served_by(gateway.clone(), Limits::default()).await;
    let address = served.address;
    blocking(move || {
        let mut waiting = TcpStream::connect(address).unwrap();
        waiting.write_all(format!("GET /ipfs/{cid} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").as_bytes()).unwrap();
        // It has the place once its block is asked for.
        while !gateway.backend().asked.lock().unwrap().contains(&cid) {
            std::thread::yield_now();
        }
        let answered = |wanted: &str| {
            let began = Instant::now();
            loop {
                let answer =
                    exchange(address, "GET /ipfs/bafkqaaa HTTP/1.1\nHost: 127.0.0.1\nConnection: close\n\n");
                if String::from_utf8_lossy(&answer).starts_with(wanted) {
                    return;
                }
                assert!(began.elapsed() < Duration::from_secs(20), "{}", String::from_utf8_lossy(&answer));
            }
        };
        answered("HTTP/1.1 429");
        // Whoever goes away leaves the place to others, long before the patience ends.
        drop(waiting);
        answered("HTTP/1.1 200");
    })
    .await;
}
