//! What the gateway answers, request by request, without a socket.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::collections::HashSet;
use std::time::Duration;

use peerage_dag::{Codec, Tree};
use peerage_http::{Pointer, Record};
use support::{Answer, Memory, get, get_with, pattern, request};

const AT: &str = "127.0.0.1:8080";

#[tokio::test]
async fn a_file_by_its_path() {
    let mut memory = Memory::default();
    let bytes = pattern(12_345);
    let root = memory.tree(&[("docs/a b.txt", &bytes), ("docs/c", b"<!doctype html>")]);
    let docs = memory.tree(&[("a b.txt", &bytes), ("c", b"<!doctype html>")]);
    let cid = memory.file(&bytes).cid;
    let gateway = memory.gateway();
    let answer = get(&gateway, &format!("{AT}/ipfs/{root}/docs/a%20b.txt")).await;
    assert_eq!((answer.status, answer.is_cut), (200, false));
    assert_eq!(answer.body, bytes);
    assert_eq!(answer.header("content-length"), "12345");
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.header("etag"), format!("\"{cid}\""));
    assert_eq!(answer.header("cache-control"), "public, max-age=29030400, immutable");
    assert_eq!(answer.header("x-ipfs-path"), format!("/ipfs/{root}/docs/a%20b.txt"));
    assert_eq!(answer.header("x-ipfs-roots"), format!("{root},{docs},{cid}"));
    assert_eq!(answer.header("accept-ranges"), "bytes");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(!answer.headers.contains_key("content-disposition"));
    let sniffed = get(&gateway, &format!("{AT}/ipfs/{root}/docs/c")).await;
    assert_eq!(sniffed.header("content-type"), "text/html; charset=utf-8");
}

#[tokio::test]
async fn ranges_are_cut_from_the_blocks_that_hold_them() {
    let mut memory = Memory::default();
    let bytes = pattern(12_345);
    let cid = memory.file(&bytes).cid;
    let gateway = memory.gateway();
    let url = format!("{AT}/ipfs/{cid}?filename=a.bin");
    for (range, span) in [
        ("0-0", 0..1),
        ("999-1000", 999..1001),
        ("5000-", 5000..12_345),
        ("-345", 12_000..12_345),
        ("0-99999", 0..12_345),
    ] {
        let answer = get_with(&gateway, &url, &[("range", &format!("bytes={range}"))]).await;
        assert_eq!((answer.status, answer.is_cut), (206, false), "{range}");
        assert_eq!(answer.body, bytes[span.clone()], "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes {}-{}/12345", span.start, span.end - 1));
        assert_eq!(answer.header("content-length"), span.len().to_string());
    }
    let outside = get_with(&gateway, &url, &[("range", "bytes=12345-")]).await;
    assert_eq!((outside.status, outside.header("content-range")), (416, "bytes */12345"));
    let tag = format!("\"{cid}\"");
    let resumed = get_with(&gateway, &url, &[("range", "bytes=12000-"), ("if-range", &tag)]).await;
    assert_eq!(resumed.status, 206);
    let changed = get_with(&gateway, &url, &[("range", "bytes=12000-"), ("if-range", "\"x\"")]).await;
    assert_eq!((changed.status, changed.body.len()), (200, 12_345));
}

#[tokio::test]
async fn a_range_needs_no_other_blocks() {
    let mut memory = Memory::default();
    let cid = memory.file(&pattern(30_000)).cid;
    let all = memory.blocks.len();
    let gateway = memory.gateway();
    get_with(&gateway, &format!("{AT}/ipfs/{cid}?filename=a.bin"), &[("range", "bytes=15000-15001")]).await;
    let asked: HashSet<_> = gateway.backend().asked.lock().unwrap().iter().copied().collect();
    assert!(asked.len() < 8, "{} of {all}", asked.len());
}

#[tokio::test]
async fn many_ranges_are_one_multipart() {
    let mut memory = Memory::default();
    let bytes = pattern(5_000);
    let cid = memory.file(&bytes).cid;
    let url = format!("{AT}/ipfs/{cid}?filename=a.bin");
    let answer = get_with(&memory.gateway(), &url, &[("range", "bytes=0-1,990-1009,-1")]).await;
    assert_eq!(answer.status, 206);
    let boundary = answer.header("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
    let mut wanted = Vec::new();
    for (first, last) in [(0, 1), (990, 1009), (4999, 4999)] {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {first}-{last}/5000\r\n\r\n"
        );
        wanted.extend([head.as_bytes(), &bytes[first..=last]].concat());
    }
    wanted.extend(format!("\r\n--{boundary}--\r\n").bytes());
    assert_eq!(answer.body, wanted);
    assert_eq!(answer.header("content-length"), wanted.len().to_string());
}

#[tokio::test]
async fn what_is_known_is_not_sent_again() {
    let mut memory = Memory::default();
    let root = memory.tree(&[("a/b.txt", b"abc")]);
    let gateway = memory.gateway();
    for target in ["/a/b.txt", "/a/", "/a?format=car", "/a/?format=tar", "/a/b.txt?format=raw"] {
        let url = format!("{AT}/ipfs/{root}{target}");
        let first = get(&gateway, &url).await;
        assert_eq!(first.status, 200, "{target}: {}", String::from_utf8_lossy(&first.body));
        let again = get_with(&gateway, &url, &[("if-none-match", first.header("etag"))]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{target}");
        assert_eq!(again.header("etag"), first.header("etag"), "{target}");
        let other = get_with(&gateway, &url, &[("if-none-match", "\"other\"")]).await;
        assert_eq!(other.status, 200, "{target}");
    }
}

#[tokio::test]
async fn head_says_what_get_would() {
    let mut memory = Memory::default();
    let root = memory.tree(&[("a.txt", &pattern(5_000)), ("d/e", b"")]);
    let gateway = memory.gateway();
    for target in ["/a.txt", "/", "/d/e", "/?format=car", "/?format=tar", "/a.txt?format=raw", "/none", "/d"]
    {
        let url = format!("{AT}/ipfs/{root}{target}");
        let (got, head) = (get(&gateway, &url).await, request(&gateway, "HEAD", &url, &[]).await);
        assert_eq!(head.status, got.status, "{target}");
        assert_eq!(head.headers, got.headers, "{target}");
        assert!(head.body.is_empty(), "{target}");
    }
}

#[tokio::test]
async fn a_directory_is_a_page_or_its_index() {
    let mut memory = Memory::default();
    let root = memory.tree(&[
        ("site/index.html", b"<h1>hi"),
        ("files/b", b"22"),
        ("files/<a>", b"1"),
        ("files/sub/c", b""),
    ]);
    let gateway = memory.gateway();
    let moved = get(&gateway, &format!("{AT}/ipfs/{root}/site?x=1")).await;
    assert_eq!((moved.status, moved.header("location")), (301, &*format!("/ipfs/{root}/site/?x=1")));
    let index = get(&gateway, &format!("{AT}/ipfs/{root}/site/")).await;
    assert_eq!((index.status, index.text()), (200, "<h1>hi"));
    assert_eq!(index.header("content-type"), "text/html; charset=utf-8");
    let page = get(&gateway, &format!("{AT}/ipfs/{root}/files/")).await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("etag").starts_with("\"DirIndex-"), "{}", page.header("etag"));
    assert!(!page.header("cache-control").contains("immutable"));
    assert!(page.text().contains("&lt;a&gt;</a>") && page.text().contains("2 B"), "{}", page.text());
    let order: Vec<_> = ["&lt;a&gt;", "./b\"", "./sub"].map(|name| page.text().find(name).unwrap()).into();
    assert!(order.is_sorted());
}

#[tokio::test]
async fn a_sharded_directory_is_a_directory() {
    let mut memory = Memory::new("unixfs-v1-2025,chunk-size=1000,threshold-bytes=500,fanout=16");
    let names: Vec<_> = (0..300).map(|at| (format!("file {at}"), at.to_string())).collect();
    let files: Vec<_> = names.iter().map(|(name, text)| (name.as_str(), text.as_bytes())).collect();
    let root = memory.tree(&files);
    let gateway = memory.gateway();
    let found = get(&gateway, &format!("{AT}/ipfs/{root}/file%20123")).await;
    assert_eq!((found.status, found.text()), (200, "123"));
    let asked = gateway.backend().asked.lock().unwrap().len();
    assert!(asked < 6, "{asked} blocks for one name of 300");
    assert_eq!(get(&gateway, &format!("{AT}/ipfs/{root}/file%20300")).await.status, 404);
    let page = get(&gateway, &format!("{AT}/ipfs/{root}/")).await;
    assert_eq!(page.text().matches("<tr>").count(), 300);
}

#[tokio::test]
async fn names_of_downloads() {
    let mut memory = Memory::default();
    let cid = memory.file(b"abc").cid;
    let gateway = memory.gateway();
    let disposition = async |query: &str| {
        let answer = get(&gateway, &format!("{AT}/ipfs/{cid}?{query}")).await;
        answer.header("content-disposition").to_owned()
    };
    assert_eq!(disposition("filename=a.pdf").await, "inline; filename=\"a.pdf\"");
    assert_eq!(disposition("filename=a.pdf&download=true").await, "attachment; filename=\"a.pdf\"");
    assert_eq!(disposition("download=true").await, "attachment");
    assert_eq!(disposition("format=raw").await, format!("attachment; filename=\"{cid}.bin\""));
    assert_eq!(disposition("format=car&filename=a.car").await, "attachment; filename=\"a.car\"");
    assert_eq!(
        get(&gateway, &format!("{AT}/ipfs/{cid}?filename=a.pdf")).await.header("content-type"),
        "application/pdf"
    );
}

#[tokio::test]
async fn a_block_is_what_was_hashed() {
    let mut memory = Memory::default();
    let root = memory.tree(&[("a", b"abc")]);
    let block = memory.blocks[&root].clone();
    let gateway = memory.gateway();
    let url = format!("{AT}/ipfs/{root}");
    let answer = get_with(&gateway, &url, &[("accept", "application/vnd.ipld.raw")]).await;
    assert_eq!(answer.body, block);
    assert_eq!(answer.header("content-type"), "application/vnd.ipld.raw");
    assert_eq!(answer.header("content-location"), format!("/ipfs/{root}?format=raw"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("etag"), format!("\"{root}.raw\""));
    let part = get_with(&gateway, &format!("{url}?format=raw"), &[("range", "bytes=2-3")]).await;
    assert_eq!((part.status, &part.body[..]), (206, &block[2..4]));
    let probe = get(&gateway, &format!("{AT}/ipfs/bafkqaaa?format=raw")).await;
    assert_eq!((probe.status, probe.body.len()), (200, 0));
}

#[tokio::test]
async fn codecs_are_not_converted() {
    let mut memory = Memory::default();
    let json = b"{\"a\":1}".to_vec();
    let cid = peerage_dag::sha2_256(Codec::DagJson, &json);
    memory.block(cid, json.clone());
    let root = memory.tree(&[("a.json", b" [1]"), ("b", b" {\"c\":2}"), ("c.txt", b"text")]);
    let gateway = memory.gateway();
    let status = async |target: &str, accept: &str| {
        let answer = get_with(&gateway, &format!("{AT}/ipfs/{target}"), &[("accept", accept)]).await;
        (answer.status, answer.header("content-type").to_owned())
    };
    let dag_json = "application/vnd.ipld.dag-json".to_owned();
    assert_eq!(status(&cid.to_string(), "*/*").await, (200, dag_json.clone()));
    assert_eq!(status(&cid.to_string(), &dag_json).await, (200, dag_json));
    assert_eq!(status(&cid.to_string(), "application/cbor").await.0, 406);
    assert_eq!(status(&format!("{cid}?format=json"), "*/*").await.0, 406);
    for name in ["a.json", "b"] {
        assert_eq!(
            status(&format!("{root}/{name}?format=json"), "*/*").await,
            (200, "application/json".to_owned())
        );
    }
    assert_eq!(status(&format!("{root}/c.txt?format=json"), "*/*").await.0, 406);
    let text = "text/plain; charset=utf-8".to_owned();
    assert_eq!(status(&format!("{root}/c.txt"), "application/json, text/plain, */*").await, (200, text));
    assert_eq!(status(&format!("{cid}?format=tar"), "*/*").await.0, 406);
}

/// The blocks of a CAR, and its root.
fn sections(car: &[u8]) -> (Vec<u8>, Vec<(peerage_dag::Cid, Vec<u8>)>) {
    fn varint(bytes: &mut &[u8]) -> usize {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        unreachable!()
    }
    let mut rest = car;
    let length = varint(&mut rest);
    let (header, mut rest) = rest.split_at(length);
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let length = varint(&mut rest);
        let (mut section, behind) = rest.split_at(length);
        let cid = peerage_dag::Cid::read_bytes(&mut section).unwrap();
        peerage_dag::verify(&cid, section).unwrap();
        blocks.push((cid, section.to_vec()));
        rest = behind;
    }
    (header.to_vec(), blocks)
}

async fn car(gateway: &peerage_http::Gateway<Memory>, target: &str) -> Vec<peerage_dag::Cid> {
    let answer = get(gateway, &format!("{AT}/ipfs/{target}")).await;
    assert_eq!((answer.status, answer.is_cut), (200, false), "{target}");
    sections(&answer.body).1.into_iter().map(|(cid, _)| cid).collect()
}

#[tokio::test]
async fn a_car_has_the_blocks_of_its_scope() {
    let mut memory = Memory::default();
    let bytes = pattern(10_000);
    let root = memory.tree(&[("d/file", &bytes), ("d/same", &bytes), ("x", b"x")]);
    let d = memory.tree(&[("file", &bytes), ("same", &bytes)]);
    let file = memory.file(&bytes).cid;
    let blocks = memory.blocks.len();
    let gateway = memory.gateway();
    let all = car(&gateway, &format!("{root}?format=car")).await;
    assert_eq!((all[0], all.len()), (root, blocks));
    let twice = car(&gateway, &format!("{root}?format=car&car-dups=y")).await;
    assert!(twice.len() > all.len() + 9, "{}", twice.len());
    assert_eq!(car(&gateway, &format!("{root}?format=car&dag-scope=block")).await, [root]);
    assert_eq!(car(&gateway, &format!("{root}/d?format=car&dag-scope=block")).await, [root, d]);
    assert_eq!(car(&gateway, &format!("{root}/d?format=car&dag-scope=entity")).await, [root, d]);
    let whole = car(&gateway, &format!("{root}/d/file?format=car&dag-scope=entity")).await;
    assert_eq!((&whole[..3], whole.len()), (&[root, d, file][..], 2 + 1 + 2 + 4 + 10));
    let part = car(&gateway, &format!("{root}/d/file?format=car&entity-bytes=2500:2999")).await;
    assert_eq!((&part[..3], part.len()), (&[root, d, file][..], 2 + 1 + 1 + 1 + 1));
    let tail = car(&gateway, &format!("{root}/d/file?format=car&entity-bytes=-1:*")).await;
    assert!(tail.len() < 7, "{}", tail.len());
    assert_eq!(car(&gateway, &format!("{file}?format=car&entity-bytes=10000:*")).await, [file]);
    assert_eq!(car(&gateway, &format!("{d}?format=car&entity-bytes=0:9")).await, [d]);
}

#[tokio::test]
async fn a_car_says_what_it_is() {
    let mut memory = Memory::default();
    let root = memory.tree(&[("a", b"abc")]);
    let gateway = memory.gateway();
    let url = format!("{AT}/ipfs/{root}");
    let accept = "application/vnd.ipld.car; version=1; order=dfs; dups=y";
    let answer = get_with(&gateway, &url, &[("accept", accept)]).await;
    assert_eq!(answer.header("content-type"), accept);
    assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"{root}.car\""));
    assert_eq!(answer.header("content-location"), format!("/ipfs/{root}?format=car"));
    assert_eq!(answer.header("accept-ranges"), "none");
    let header = sections(&answer.body).0;
    let cid = root.to_bytes();
    let wanted =
        [b"\xa2eroots\x81\xd8\x2a\x58", &[cid.len() as u8 + 1, 0][..], &cid, b"gversion\x01"].concat();
    assert_eq!(header, wanted);
    let probe = get(&gateway, &format!("{AT}/ipfs/bafkqaaa?format=car")).await;
    assert_eq!((probe.status, sections(&probe.body).1.len()), (200, 0));
}

/// Nothing is promised of it, although its media type is known by its name.
#[tokio::test]
async fn a_file_whose_bytes_are_missing_is_not_begun() {
    let without = |chunk: usize| {
        let mut memory = Memory::new("unixfs-v1-2025,chunk-size=1000");
        let bytes = pattern(3_000);
        let root = memory.tree(&[("film.mkv", &bytes)]);
        let leaf = peerage_dag::sha2_256(Codec::Raw, &bytes[chunk * 1000..][..1000]);
        assert!(memory.blocks.remove(&leaf).is_some());
        (memory.gateway(), format!("{AT}/ipfs/{root}/film.mkv"))
    };
    let (gateway, url) = without(0);
    assert_eq!(get(&gateway, &url).await.status, 404);
    assert_eq!(get_with(&gateway, &url, &[("range", "bytes=1000-1999")]).await.status, 206);
    let (gateway, url) = without(1);
    let cut = get(&gateway, &url).await;
    assert_eq!((cut.status, cut.is_cut), (200, true));
    assert_eq!(get_with(&gateway, &url, &[("range", "bytes=0-999")]).await.status, 206);
    assert_eq!(get_with(&gateway, &url, &[("range", "bytes=1500-2500")]).await.status, 404);
}

#[tokio::test]
async fn a_car_whose_blocks_are_missing_is_cut_off() {
    let mut memory = Memory::default();
    let root = memory.tree(&[("a", b"abc"), ("b", b"def")]);
    let leaf = memory.file(b"def").cid;
    memory.blocks.remove(&leaf);
    let gateway = memory.gateway();
    let answer = get(&gateway, &format!("{AT}/ipfs/{root}?format=car")).await;
    assert_eq!((answer.status, answer.is_cut), (200, true));
    let missing = get(&gateway, &format!("{AT}/ipfs/{leaf}?format=car")).await;
    assert_eq!(missing.status, 404);
}

#[tokio::test]
async fn a_directory_as_an_archive() {
    let mut memory = Memory::default();
    let bytes = pattern(3_000);
    let mut tree = Tree::new();
    tree.add(["a", "b.bin"], &memory.file(&bytes)).unwrap();
    tree.add(["link"], &memory.link("a/b.bin")).unwrap();
    tree.add_folder(["empty"], Default::default()).unwrap();
    let root = memory.built(tree);
    let gateway = memory.gateway();
    let answer = get(&gateway, &format!("{AT}/ipfs/{root}?format=tar")).await;
    assert_eq!((answer.status, answer.is_cut), (200, false));
    assert_eq!(answer.header("content-type"), "application/x-tar");
    let there = tempfile::tempdir().unwrap();
    let archive = there.path().join("a.tar");
    std::fs::write(&archive, &answer.body).unwrap();
    let tar =
        std::process::Command::new("tar").arg("-xf").arg(&archive).current_dir(&there).status().unwrap();
    assert!(tar.success());
    let root = there.path().join(root.to_string());
    assert_eq!(std::fs::read(root.join("link")).unwrap(), bytes);
    assert!(root.join("empty").is_dir());
}

#[tokio::test]
async fn an_archive_leads_nowhere_else() {
    let mut memory = Memory::default();
    let leaf = memory.file(b"evil").cid;
    let link = peerage_dag::pb::Link { cid: leaf, name: Some(b"../../evil"), tsize: Some(4) };
    let data = peerage_dag::unixfs::Data::new(peerage_dag::unixfs::Kind::Directory).encode();
    let block = peerage_dag::pb::Node { links: vec![link], data: Some(&data) }.encode();
    let root = peerage_dag::sha2_256(Codec::DagPb, &block);
    memory.block(root, block);
    let gateway = memory.gateway();
    let answer = get(&gateway, &format!("{AT}/ipfs/{root}?format=tar")).await;
    assert!(answer.is_cut);
    assert!(!String::from_utf8_lossy(&answer.body).contains("evil"));
}

fn is_timeout(answer: &Answer) -> bool {
    answer.status == 504
        && answer.text().contains("asked 2 peers over bitswap")
        && !answer.header("retry-after").is_empty()
}

#[tokio::test]
async fn nobody_waits_for_ever() {
    let mut memory = Memory::default();
    let bytes = pattern(10_000);
    let root = memory.tree(&[("a/file", &bytes)]);
    let (file, first) = (memory.file(&bytes).cid, memory.file(&bytes[..1000]).cid);
    let last = memory.file(&bytes[9000..]).cid;
    memory.silent = [root, first, last].into();
    let gateway = memory.gateway();
    for target in [
        &*format!("{root}/"),
        &format!("{root}/a/file?format=car"),
        &format!("{file}"),
        &format!("{first}?format=raw"),
    ] {
        let answer = get(&gateway, &format!("{AT}/ipfs/{target}")).await;
        assert!(is_timeout(&answer), "{target}: {answer:?}");
    }
    let begun =
        get_with(&gateway, &format!("{AT}/ipfs/{file}?filename=a.bin"), &[("range", "bytes=8000-")]).await;
    assert_eq!((begun.status, begun.is_cut, begun.body.len()), (206, true, 1000));
    let cached =
        get_with(&gateway, &format!("{AT}/ipfs/{root}/"), &[("cache-control", "only-if-cached")]).await;
    assert_eq!(cached.status, 412);
}

#[tokio::test]
async fn what_does_not_add_up_is_refused() {
    use peerage_dag::pb::{Link, Node};
    use peerage_dag::unixfs::{Data, Kind};
    let mut memory = Memory::default();
    let leaf = memory.file(b"abc").cid;
    let mut file = |sizes: &[u64], filesize: u64| {
        let link = Link { cid: leaf, name: None, tsize: Some(3) };
        let data =
            Data { filesize: Some(filesize), blocksizes: sizes.to_vec(), ..Data::new(Kind::File) }.encode();
        let block = Node { links: vec![link; 2], data: Some(&data) }.encode();
        let cid = peerage_dag::sha2_256(Codec::DagPb, &block);
        memory.block(cid, block);
        cid
    };
    let (good, lying) = (file(&[3, 3], 6), file(&[3, 4], 7));
    let broken = [file(&[3], 3), file(&[3, 3], 1 << 60), file(&[u64::MAX, 3], 2)];
    let gateway = memory.gateway();
    assert_eq!(get(&gateway, &format!("{AT}/ipfs/{good}")).await.text(), "abcabc");
    for cid in broken {
        assert_eq!(get(&gateway, &format!("{AT}/ipfs/{cid}")).await.status, 422);
    }
    assert!(get(&gateway, &format!("{AT}/ipfs/{lying}?filename=a.bin")).await.is_cut);
}

#[tokio::test]
async fn a_website_has_rules_of_its_own() {
    let mut memory = Memory::default();
    let rules = b"/old/* /new/:splat 302\n/gone /gone.html 410\n/* /index.html 200\n";
    let root = memory.tree(&[
        ("_redirects", rules),
        ("index.html", b"home"),
        ("gone.html", b"gone"),
        ("a.txt", b"a"),
    ]);
    let broken = memory.tree(&[("_redirects", b"nonsense"), ("a.txt", b"a")]);
    let gateway = memory.gateway();
    let site = format!("{root}.ipfs.localhost:8080");
    let answer = get(&gateway, &format!("{site}/old/a%20b?q=1")).await;
    assert_eq!((answer.status, answer.header("location")), (302, "/new/a%20b?q=1"));
    let gone = get(&gateway, &format!("{site}/gone")).await;
    assert_eq!((gone.status, gone.text()), (410, "gone"));
    let app = get(&gateway, &format!("{site}/some/where")).await;
    assert_eq!((app.status, app.text()), (200, "home"));
    assert_eq!(app.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(get(&gateway, &format!("{site}/a.txt")).await.text(), "a");
    // By path, all content shares one origin: the rules of one are not for the others.
    assert_eq!(get(&gateway, &format!("{AT}/ipfs/{root}/old/x")).await.status, 404);
    let site = format!("{broken}.ipfs.localhost:8080");
    assert_eq!(get(&gateway, &format!("{site}/a.txt")).await.status, 200);
    let told = get(&gateway, &format!("{site}/b.txt")).await;
    assert_eq!(told.status, 500);
    assert!(told.text().contains("line 1"), "{}", told.text());
}

#[tokio::test]
async fn names_point_at_content_for_a_while() {
    let mut memory = Memory::default();
    let root = memory.tree(&[("v1/a.txt", b"abc")]);
    let pointer = Pointer { root, segments: vec![b"v1".to_vec()], ttl: Some(Duration::from_secs(60)) };
    memory.names.insert("docs.example.org".to_owned(), pointer.clone());
    memory.names.insert("x.example.org".to_owned(), Pointer { ttl: None, ..pointer });
    let gateway = memory.gateway();
    let answer = get(&gateway, &format!("{AT}/ipns/docs.example.org/a.txt")).await;
    assert_eq!((answer.status, answer.text()), (200, "abc"));
    assert_eq!(answer.header("cache-control"), "public, max-age=60");
    assert_eq!(answer.header("x-ipfs-path"), "/ipns/docs.example.org/a.txt");
    let host = get(&gateway, "docs-example-org.ipns.localhost/a.txt").await;
    assert_eq!((host.status, host.text()), (200, "abc"));
    assert!(
        !get(&gateway, &format!("{AT}/ipns/x.example.org/a.txt")).await.headers.contains_key("cache-control")
    );
    assert_eq!(get(&gateway, &format!("{AT}/ipns/unknown.example.org/")).await.status, 502);
}

#[tokio::test]
async fn the_record_behind_a_name() {
    let mut memory = Memory::default();
    let key = peerage_identity::NodeKey::from_seed([7; 32]).peer_id();
    let record = Record { bytes: b"signed"[..].into(), ttl: Some(Duration::from_secs(5)) };
    memory.records.insert(key, record);
    let gateway = memory.gateway();
    let answer = get(&gateway, &format!("{AT}/ipns/{key}?format=ipns-record")).await;
    assert_eq!((answer.status, answer.text()), (200, "signed"));
    assert_eq!(answer.header("content-type"), "application/vnd.ipfs.ipns-record");
    assert_eq!(answer.header("cache-control"), "public, max-age=5");
    let accept = [("accept", "application/vnd.ipfs.ipns-record")];
    assert_eq!(get_with(&gateway, &format!("{AT}/ipns/{key}"), &accept).await.status, 200);
    assert_eq!(get(&gateway, &format!("{AT}/ipns/{key}/a?format=ipns-record")).await.status, 400);
    assert_eq!(get(&gateway, &format!("{AT}/ipfs/bafkqaaa?format=ipns-record")).await.status, 400);
}

#[tokio::test]
async fn scripts_of_other_sites_may_read_content() {
    let gateway = Memory::default().gateway();
    let preflight =
        request(&gateway, "OPTIONS", &format!("{AT}/ipfs/bafkqaaa"), &[("origin", "https://a.example")])
            .await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), "*");
    assert!(preflight.header("access-control-allow-methods").contains("HEAD"));
    assert!(preflight.header("access-control-allow-headers").contains("Range"));
    let post = request(&gateway, "POST", &format!("{AT}/ipfs/bafkqaaa"), &[]).await;
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD, OPTIONS"));
    // A script that is led to another host has to be allowed to follow.
    let led = get(&gateway, "localhost:8080/ipfs/bafkqaaa").await;
    assert_eq!((led.status, led.header("access-control-allow-origin")), (301, "*"));
    let rebound = get(&gateway, "evil.example/ipfs/bafkqaaa").await;
    assert_eq!(rebound.status, 400);
}
