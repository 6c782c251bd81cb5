//! A gateway over the files of one folder, in place: for measurements (bench/gateway.py), and to try things by hand.
//!
//! `cargo run --release -p peerage-http --example folder -- FOLDER ADDRESS:PORT` prints one line a file, its CID and name, then `ready`.

#![allow(clippy::print_stdout, reason = "its output is its interface")]

use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use peerage_content::{Alignment, EntryKind, FilePool, Layout, PieceSet, Place, Store, walk};
use peerage_dag::{Cid, Profile, file};
use peerage_http::{
    Backend, Config, Gateway, InPlace, Limits, Name, Pointer, Record, Shared, SharedEntry, StoreFile, Tried,
    Unavailable, serve,
};
use peerage_identity::PeerId;
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

/// Bytes of a piece.
const PIECE: u32 = 1 << 20;

#[derive(Debug, Default)]
struct Folder {
    blocks: HashMap<Cid, Bytes>,
    files: HashMap<Cid, Arc<dyn InPlace>>,
    names: HashMap<Vec<u8>, Arc<dyn InPlace>>,
}

impl Folder {
    fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        let layout = Arc::new(Layout::new(walk(path)?.entries, PIECE, Alignment::PerFile)?);
        let full = PieceSet::full(layout.piece_count());
        let place = Place::InPlace(path.to_owned());
        let store = Arc::new(Store::new(layout.clone(), place, FilePool::new(256), full, Vec::new()));
        let mut folder = Self::default();
        for (index, entry) in layout.entries().iter().enumerate() {
            if !matches!(entry.kind, EntryKind::File { .. }) {
                continue;
            }
            let Some(file) = StoreFile::new(store.clone(), index) else { continue };
            let file: Arc<dyn InPlace> = Arc::new(file);
            let cid = folder.name(&path.join(entry.path.as_path()))?;
            println!("{cid} {}", entry.path.as_path().display());
            folder.files.insert(cid, file.clone());
            folder.names.insert(entry.path.components().collect::<Vec<_>>().join(&b'/'), file);
        }
        Ok(folder)
    }

    /// The CID of a file; nodes above its leaves are kept.
    fn name(&mut self, path: &Path) -> Result<Cid, Box<dyn Error>> {
        let profile = Profile::default();
        let bytes = std::fs::read(path)?;
        let digest = |chunk: &[u8]| <[u8; 32]>::from(Sha256::digest(chunk));
        let mut leaves: Vec<_> = bytes.chunks(profile.chunk_size() as usize).map(digest).collect();
        if leaves.is_empty() {
            leaves.push(digest(&[]));
        }
        let mut keep = |cid, block: Vec<u8>| drop(self.blocks.insert(cid, block.into()));
        Ok(file::build(&profile, bytes.len() as u64, &leaves, &mut keep).cid)
    }
}

impl Backend for Folder {
    async fn block(&self, cid: &Cid, _: &Tried) -> Result<Bytes, Unavailable> {
        self.blocks.get(cid).cloned().ok_or_else(|| Unavailable::NotFound(format!("{cid} is not here")))
    }

    fn is_here(&self, cid: &Cid) -> bool {
        self.blocks.contains_key(cid) || self.files.contains_key(cid)
    }

    fn in_place(&self, cid: &Cid) -> Option<Arc<dyn InPlace>> {
        self.files.get(cid).cloned()
    }

    async fn resolve(&self, name: &Name, _: &Tried) -> Result<Pointer, Unavailable> {
        Err(Unavailable::NotFound(format!("{name} is not looked for")))
    }

    async fn record(&self, key: &PeerId, _: &Tried) -> Result<Record, Unavailable> {
        Err(Unavailable::NotFound(format!("{key} is not looked for")))
    }

    fn share(&self, id: &str, names: &[Vec<u8>]) -> Option<Shared> {
        if id != "files" {
            return None;
        }
        if names.is_empty() {
            let entry = |(name, file): (&Vec<u8>, &Arc<dyn InPlace>)| SharedEntry {
                name: name.clone(),
                size: file.length(),
                is_folder: false,
            };
            return Some(Shared::Folder(self.names.iter().map(entry).collect()));
        }
        let file = self.names.get(&names.join(&b'/'))?.clone();
        Some(Shared::File { tag: format!("files-{}", file.length()), file })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(address)) = (arguments.next(), arguments.next()) else {
        return Err("usage: folder FOLDER ADDRESS:PORT".into());
    };
    let gateway = Gateway::new(Folder::open(&PathBuf::from(folder))?, Config::default());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("ready");
    serve(listener, Arc::new(gateway), Limits::default(), CancellationToken::new()).await;
    Ok(())
}
