//! Measures hashing and intake against the bare cost of the hashes, in CPU seconds of this process.
//!
//! `cargo run --release -p peerage-content --example measure -- [all|hash|intake|files|send] [MiB] [folder]`
//!
//! The folder (default `/dev/shm`) needs room for twice the size (default 2048 MiB).

#![allow(clippy::print_stdout, reason = "figures for people")]

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use std::thread::Thread;
use std::time::Instant;

use peerage_content::{
    Alignment, Arrived, BLOCK_LENGTH, BlockPool, Entry, EntryKind, FilePool, HashPlan, HashedFile, Intake,
    IntakeEvent, Layout, LeafFrame, LeafPlan, PieceSet, Place, Preallocation, RelPath, Store, Truth, V2File,
    Workers, hash,
};
use rustix::time::{ClockId, clock_gettime};
use sha1::{Digest, Sha1};
use sha2::Sha256;

const GIB: f64 = (1_u64 << 30) as f64;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_else(|| "all".to_owned());
    let size = arguments.next().and_then(|mib| mib.parse::<u64>().ok()).unwrap_or(2048) << 20;
    let folder =
        tempfile::tempdir_in(arguments.next().unwrap_or_else(|| "/dev/shm".to_owned())).expect("a folder");
    let wants = |name: &str| what == "all" || what == name;
    if wants("hash") {
        measure_hashing(folder.path(), size);
    }
    if wants("intake") {
        for (piece_length, in_order) in
            [(1 << 20, true), (64 << 10, true), (16 << 20, true), (16 << 20, false), (2 << 20, true)]
        {
            measure_intake(folder.path(), size, piece_length, in_order, false);
        }
        measure_intake(folder.path(), size, 1 << 20, true, true);
    }
    if wants("files") {
        measure_small_files(folder.path());
    }
    if wants("send") {
        measure_sending(folder.path(), size);
    }
}

/// CPU seconds of this process so far.
fn cpu() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

/// Runs `work` and tells its CPU and wall time per GiB.
fn timed<T>(name: &str, bytes: u64, work: impl FnOnce() -> T) -> (T, f64) {
    let (start, before) = (Instant::now(), cpu());
    let result = work();
    let (wall, used) = (start.elapsed().as_secs_f64(), cpu() - before);
    let per_gib = used / (bytes as f64 / GIB);
    println!("{name:<44} {used:7.3} CPU s  {wall:7.3} s  {per_gib:6.3} CPU s/GiB");
    (result, per_gib)
}

/// Anonymous memory of this process now, KiB.
fn anonymous_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// A block that differs from all others.
fn fill(block: &mut [u8], number: u64) {
    block.fill(number as u8);
    block[..8].copy_from_slice(&number.to_le_bytes());
}

fn entry(name: &str, length: u64) -> Entry {
    let path = RelPath::from_components(name.split('/')).expect("a plain name");
    Entry { path, length, kind: EntryKind::File { executable: false }, offset: 0 }
}

fn write_file(path: &Path, size: u64) {
    let mut block = vec![0; BLOCK_LENGTH as usize];
    let mut file = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path).expect("create"));
    for number in 0..size / u64::from(BLOCK_LENGTH) {
        fill(&mut block, number);
        std::io::Write::write_all(&mut file, &block).expect("write");
    }
}

fn plan<'a>(layout: &'a Layout, folder: &Path, v1: bool, v2: bool) -> HashPlan<'a> {
    let file =
        |entry: &Entry| Some(HashedFile { path: folder.join(entry.path.as_path()), length: entry.length });
    HashPlan { layout, files: layout.entries().iter().map(file).collect(), v1, v2, leaves: None, threads: 0 }
}

fn measure_hashing(folder: &Path, size: u64) {
    let path = folder.join("data");
    write_file(&path, size);
    let (_, bare) = timed("bare SHA-1 + SHA-256 leaves", size, || {
        let mut block = vec![0; BLOCK_LENGTH as usize];
        let mut sha1 = Sha1::new();
        let mut leaves = 0_u64;
        for number in 0..size / u64::from(BLOCK_LENGTH) {
            block[..8].copy_from_slice(&number.to_le_bytes());
            sha1.update(&block);
            leaves += u64::from(Sha256::digest(&block)[0]);
        }
        (sha1.finalize(), leaves)
    });
    let (_, leaves) = timed("bare SHA-256 of 1 MiB at a time", size, || {
        let block = vec![0; 1 << 20];
        (0..size >> 20).map(|_| u64::from(Sha256::digest(&block)[0])).sum::<u64>()
    });
    let (_, v1) = timed("bare SHA-1", size, || {
        let block = vec![0; BLOCK_LENGTH as usize];
        let mut sha1 = Sha1::new();
        (0..size / u64::from(BLOCK_LENGTH)).for_each(|_| sha1.update(&block));
        sha1.finalize()
    });
    for piece_length in [256 << 10, 1 << 20, 16 << 20] {
        let layout = Layout::new(vec![entry("data", size)], piece_length, Alignment::Stream).expect("fits");
        let name = format!("hash v1 + v2, pieces of {} KiB", piece_length >> 10);
        let (_, both) =
            timed(&name, size, || hash(&plan(&layout, folder, true, true), &|_| true).expect("hash"));
        println!("    {:.3} x bare", both / bare);
        let frame = |_| LeafFrame::default();
        let plan_of_three = HashPlan {
            leaves: Some(LeafPlan { length: 1 << 20, frame: &frame }),
            ..plan(&layout, folder, true, true)
        };
        let (_, three) =
            timed("hash v1 + v2 + leaves", size, || hash(&plan_of_three, &|_| true).expect("hash"));
        println!("    {:.3} x bare", three / (bare + leaves));
        let (_, only) = timed("hash v1 only", size, || {
            hash(&plan(&layout, folder, true, false), &|_| true).expect("hash")
        });
        println!("    {:.3} x bare SHA-1", only / v1);
    }
    std::fs::remove_file(path).expect("remove");
}

/// The hashes of content made of [`fill`]ed blocks.
fn truth(layout: &Layout, v2: bool) -> Truth {
    let mut block = vec![0; BLOCK_LENGTH as usize];
    let mut number = 0;
    let mut next = |length: u32| {
        fill(&mut block, number);
        number += 1;
        block[..length as usize].to_vec()
    };
    let width = (layout.piece_length() / BLOCK_LENGTH) as usize;
    let (mut v1, mut layer) = (Vec::new(), Vec::new());
    for piece in 0..layout.piece_count() {
        let mut sha1 = Sha1::new();
        let mut leaves = Vec::new();
        for index in 0..layout.block_count(piece) {
            let bytes = next(layout.block(piece, index).length);
            sha1.update(&bytes);
            if v2 {
                leaves.push(Sha256::digest(&bytes).into());
            }
        }
        v1.push(sha1.finalize().into());
        layer.push(peerage_content::merkle_root(&leaves, width, [0; 32]));
    }
    let trees = v2.then(|| {
        let root = peerage_content::merkle_root(&layer, 0, peerage_content::merkle_pad(width));
        vec![Some(V2File { root, layer: Some(layer.into()) })]
    });
    Truth::new(layout, Some(v1.into()), trees).expect("the truth of its own layout")
}

fn download(layout: &Arc<Layout>, folder: &Path) -> Arc<Store> {
    let place =
        Place::Download { folder: folder.to_owned(), root: None, preallocation: Preallocation::Sparse };
    let none = PieceSet::empty(layout.piece_count());
    Arc::new(Store::new(Arc::clone(layout), place, FilePool::new(128), none, vec![]))
}

/// Feeds all blocks to an intake as a connection would; out of order, two halves of each piece come in turn.
fn measure_intake(folder: &Path, size: u64, piece_length: u32, in_order: bool, v2: bool) {
    let layout =
        Arc::new(Layout::new(vec![entry("data", size)], piece_length, Alignment::Stream).expect("fits"));
    let truth = Arc::new(truth(&layout, v2));
    let store = download(&layout, folder);
    let pool = BlockPool::new(512);
    let name = format!(
        "intake{}, pieces of {} KiB{}",
        if v2 { " of a hybrid" } else { "" },
        piece_length >> 10,
        if in_order { "" } else { ", two halves in turn" }
    );
    let mut peak = 0;
    timed(&name, size, || {
        feed(&layout, &store, &truth, &pool, in_order, |_| peak = peak.max(anonymous_kib()))
    });
    println!("    peak RssAnon {:.1} MiB, of which pool {} MiB", peak as f64 / 1024.0, pool.usage().1 >> 6);
    assert!(store.verified().is_full(), "all verified");
    std::fs::remove_file(folder.join("data")).expect("remove");
}

fn feed(
    layout: &Arc<Layout>,
    store: &Arc<Store>,
    truth: &Arc<Truth>,
    pool: &BlockPool,
    in_order: bool,
    mut on_piece: impl FnMut(u32),
) {
    // Room for every event, so that workers never wait for this thread while it waits for a buffer.
    let (sender, mut events) = tokio::sync::mpsc::channel(layout.piece_count() as usize);
    let mut intake = Intake::new(Arc::clone(store), Arc::clone(truth), Workers::new(0), pool.clone(), sender);
    let mut number = 0;
    for piece in 0..layout.piece_count() {
        let blocks = layout.block_count(piece);
        let half = blocks.div_ceil(2);
        for step in 0..blocks {
            let index = if in_order { step } else { step / 2 + (step % 2) * half };
            let block = layout.block(piece, index.min(blocks - 1));
            let mut buffer = block_on(pool.take());
            buffer.set_len(block.length as usize);
            fill(&mut buffer, number + u64::from(index));
            intake.accept(Arrived::new(block, buffer));
        }
        number += u64::from(blocks);
        on_piece(piece);
    }
    for _ in 0..layout.piece_count() {
        let event = events.blocking_recv();
        assert!(matches!(event, Some(IntakeEvent::Verified(_))), "{event:?}");
    }
}

/// Waits for a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// 10,000 files of 4 KiB: hashed, taken in, and read out again.
fn measure_small_files(folder: &Path) {
    let entries = (0..10_000).map(|number| entry(&format!("{}/{number}", number % 10), 4096)).collect();
    let layout = Arc::new(Layout::new(entries, 64 << 10, Alignment::Stream).expect("fits"));
    let size = layout.content_length();
    let truth = Arc::new(truth(&layout, false));
    let store = download(&layout, folder);
    let pool = BlockPool::new(512);
    timed("10,000 x 4 KiB: intake", size, || {
        feed(&layout, &store, &truth, &pool, true, |_| {});
        store.finish().expect("finish");
    });
    timed("10,000 x 4 KiB: hash v1", size, || {
        hash(&plan(&layout, folder, true, false), &|_| true).expect("hash")
    });
    timed("10,000 x 4 KiB: send", size, || send_all(&store));
    let all = PieceSet::full(layout.piece_count());
    timed("10,000 x 4 KiB: recheck", size, || peerage_content::recheck(&store, &truth, &all, 0, &|_| true));
    timed("10,000 x 4 KiB: check stamps", size, || assert!(store.check_stamps().is_empty()));
}

/// One file through a loopback socket, the receiver's cost included.
fn measure_sending(folder: &Path, size: u64) {
    write_file(&folder.join("data"), size);
    let layout = Arc::new(Layout::new(vec![entry("data", size)], 1 << 20, Alignment::Stream).expect("fits"));
    let full = PieceSet::full(layout.piece_count());
    let place = Place::InPlace(folder.to_owned());
    let store = Arc::new(Store::new(layout, place, FilePool::new(8), full, vec![]));
    timed("send by sendfile, receive and drop", size, || send_all(&store));
    timed("prepare to send, and no more", size, || {
        for piece in 0..store.layout().piece_count() {
            for index in 0..store.layout().block_count(piece) {
                store.sending(store.layout().block(piece, index)).expect("verified");
            }
        }
    });
    std::fs::remove_file(folder.join("data")).expect("remove");
}

/// Sends every block of the content to a thread that reads it.
fn send_all(store: &Store) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let socket = TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    let (mut theirs, _) = listener.accept().expect("accept");
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 256 << 10];
        while theirs.read(&mut buffer).expect("read") > 0 {}
    });
    for piece in 0..store.layout().piece_count() {
        for index in 0..store.layout().block_count(piece) {
            let mut sending = store.sending(store.layout().block(piece, index)).expect("verified");
            while sending.remaining() > 0 {
                sending.send(&socket, true).expect("send");
            }
        }
    }
    drop(socket);
    reader.join().expect("reader");
}
