//! Blocks over HTTP: from a server that knows ranges, one that does not, and ones that lie.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests, too")]

mod http;

use std::collections::HashMap;
use std::time::Duration;

use peerage_bittorrent::webseed::{Assembly, Fetch, WebSeed, WebSeedClient, WebSeedFailure, plan};
use peerage_content::{
    Alignment, BLOCK_LENGTH, Block, BlockBuf, BlockPool, Entry, EntryKind, Layout, RelPath,
};

use http::{Request, partial, server, whole};

const PATIENCE: Duration = Duration::from_secs(20);

/// A folder with a large file, an odd name, a small file and padding between them.
fn layout() -> Layout {
    let entry = |name: &[u8], length, kind| Entry {
        path: RelPath::from_components([name]).unwrap(),
        length,
        kind,
        offset: 0,
    };
    let file = || EntryKind::File { executable: false };
    let entries = vec![
        entry(b"large", 100_000, file()),
        entry("t\u{fc}r #1".as_bytes(), 5_000, file()),
        entry(b"pad", 4 * u64::from(BLOCK_LENGTH) - 1_234, EntryKind::Pad),
        entry(b"small", 700, file()),
    ];
    Layout::new(entries, 2 * BLOCK_LENGTH, Alignment::Stream).unwrap()
}

fn content(entry: usize, length: u64) -> Vec<u8> {
    (0..length).map(|offset| (offset * 7 + offset / 256 + entry as u64) as u8).collect()
}

fn files(layout: &Layout) -> HashMap<String, Vec<u8>> {
    let paths = ["/pub/name/large", "/pub/name/t%C3%BCr%20%231", "", "/pub/name/small"];
    paths
        .iter()
        .enumerate()
        .map(|(entry, path)| ((*path).to_owned(), content(entry, layout.entries()[entry].length)))
        .collect()
}

fn blocks(layout: &Layout) -> Vec<Block> {
    let all = (0..layout.piece_count())
        .flat_map(|piece| (0..layout.block_count(piece)).map(move |index| layout.block(piece, index)));
    all.filter(|block| !layout.is_padding(*block)).collect()
}

fn client() -> WebSeedClient {
    let _ = rustls::crypto::ring::default_provider().install_default();
    WebSeedClient::new(None, "test").unwrap()
}

async fn run(
    seed: &WebSeed,
    layout: &Layout,
    fetch: &Fetch,
    assembly: &mut Assembly,
) -> Result<Vec<(Block, BlockBuf)>, WebSeedFailure> {
    let mut whole = Vec::new();
    let mut download = client().fetch(seed.url(layout, fetch.entry).unwrap(), fetch).await?;
    while let Some((part, skip, bytes)) = download.next().await? {
        whole.extend(assembly.fill(part, skip, &bytes));
    }
    Ok(whole)
}

async fn everything_arrives(answer: impl Fn(&[u8], (usize, usize)) -> Vec<u8> + Send + Sync + 'static) {
    let layout = layout();
    let files = files(&layout);
    let base = server(move |request| answer(&files[&request.path], request.range)).await;
    let seed = WebSeed::new(&base, Some(b"name")).unwrap();
    let blocks = blocks(&layout);
    let pool = BlockPool::new(blocks.len());
    let mut assembly = Assembly::new();
    for block in &blocks {
        assembly.expect(&layout, *block, pool.try_take().unwrap());
    }
    let mut arrived = Vec::new();
    for fetch in plan(&layout, &blocks, 40_000) {
        let fetched =
            tokio::time::timeout(PATIENCE, run(&seed, &layout, &fetch, &mut assembly)).await.unwrap();
        arrived.extend(fetched.unwrap());
    }
    assert_eq!(arrived.len(), blocks.len());
    for (block, buffer) in arrived {
        let mut at = 0;
        for span in layout.spans(block) {
            let end = at + span.length as usize;
            let entry = &layout.entries()[span.entry];
            let from = span.offset as usize;
            if entry.kind == EntryKind::Pad {
                assert!(buffer[at..end].iter().all(|byte| *byte == 0));
            } else {
                let expected = content(span.entry, entry.length);
                assert_eq!(buffer[at..end], expected[from..from + span.length as usize]);
            }
            at = end;
        }
    }
}

#[tokio::test]
async fn a_server_with_ranges() {
    everything_arrives(partial).await;
}

#[tokio::test]
async fn a_server_that_ignores_ranges() {
    everything_arrives(|file, _| whole(file)).await;
}

/// The first fetch from a server with this answer to everything.
async fn first_fetch(
    answer: impl Fn(Request) -> Vec<u8> + Send + Sync + 'static,
) -> Result<(), WebSeedFailure> {
    let layout = layout();
    let seed = WebSeed::new(&server(answer).await, Some(b"name")).unwrap();
    let fetch = plan(&layout, &[layout.block(0, 1)], 40_000).remove(0);
    let mut assembly = Assembly::new();
    let fetched = run(&seed, &layout, &fetch, &mut assembly);
    tokio::time::timeout(PATIENCE, fetched).await.expect("an outcome in time").map(drop)
}

fn answering(text: &'static str) -> impl Fn(Request) -> Vec<u8> + Send + Sync + 'static {
    move |_| text.as_bytes().to_vec()
}

#[tokio::test]
async fn servers_that_fail_or_lie() {
    let missing = first_fetch(answering("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")).await;
    assert_eq!(missing, Err(WebSeedFailure::Missing(404)));

    let page = first_fetch(answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")).await;
    assert_eq!(page, Err(WebSeedFailure::WrongLength { found: 5, expected: 100_000 }));

    let busy = first_fetch(answering("HTTP/1.1 503 x\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")).await;
    assert_eq!(busy, Err(WebSeedFailure::Busy { status: 503, retry_after: Duration::from_secs(7) }));

    let circles = answering("HTTP/1.1 302 Found\r\nLocation: large\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(first_fetch(circles).await, Err(WebSeedFailure::Redirect("in circles")));

    let button = answering("HTTP/1.1 302 Found\r\nLocation: /set?volume=11\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(first_fetch(button).await, Err(WebSeedFailure::LocalQuery));

    let file = answering("HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(first_fetch(file).await, Err(WebSeedFailure::Redirect("to no HTTP address")));

    let rubbish = first_fetch(answering("220 smtp.example ESMTP\r\n\r\n")).await;
    assert!(matches!(rubbish, Err(WebSeedFailure::Unreachable(_))), "{rubbish:?}");
}

#[tokio::test]
async fn an_answer_that_ends_early() {
    let short = first_fetch(|request| {
        let (first, last) = request.range;
        let head = format!(
            "HTTP/1.1 206 x\r\nContent-Range: bytes {first}-{}/100000\r\nContent-Length: 100\r\n\r\n",
            last - 1
        );
        [head.as_bytes(), &[1; 100]].concat()
    });
    assert_eq!(short.await, Err(WebSeedFailure::Cut));
}

#[tokio::test]
async fn a_redirect_is_followed() {
    let layout = layout();
    let files = files(&layout);
    let mirror = server(move |request| partial(&files[&request.path], request.range)).await;
    let moved = first_fetch(move |request| {
        let location = format!("{}{}", mirror.trim_end_matches("/pub/"), request.path);
        format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    });
    assert_eq!(moved.await, Ok(()));
}

/// A body longer than the range is cut off, not read.
#[tokio::test]
async fn an_endless_body() {
    let endless = first_fetch(|request| {
        let (first, last) = request.range;
        let head = format!("HTTP/1.1 206 x\r\nContent-Range: bytes {first}-{last}/100000\r\n\r\n");
        [head.as_bytes(), &vec![1; 50_000_000]].concat()
    });
    assert_eq!(endless.await, Ok(()));
}
