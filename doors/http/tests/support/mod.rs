//! A backend in memory, and requests that need no socket.

#![allow(dead_code, unreachable_pub, reason = "each test uses some of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body as _;
use hyper::{Request, Response};
use peerage_dag::file::Built;
use peerage_dag::unixfs::Metadata;
use peerage_dag::{Cid, Profile, Tree};
use peerage_http::{
    Backend, Body, Config, Gateway, InPlace, Name, Pointer, Record, Shared, Tried, Unavailable,
};
use peerage_identity::PeerId;
use sha2::{Digest, Sha256};

/// What a test puts in, and what was asked for.
#[derive(Debug)]
pub struct Memory {
    pub profile: Profile,
    pub blocks: HashMap<Cid, Bytes>,
    /// Blocks that never come.
    pub silent: HashSet<Cid>,
    pub files: HashMap<Cid, Arc<dyn InPlace>>,
    pub names: HashMap<String, Pointer>,
    pub records: HashMap<PeerId, Record>,
    pub shares: HashMap<(String, Vec<Vec<u8>>), Shared>,
    pub asked: Mutex<Vec<Cid>>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new("unixfs-v1-2025,chunk-size=1000,width=3")
    }
}

impl Memory {
    pub fn new(profile: &str) -> Self {
        Self {
            profile: profile.parse().unwrap(),
            blocks: HashMap::new(),
            silent: HashSet::new(),
            files: HashMap::new(),
            names: HashMap::new(),
            records: HashMap::new(),
            shares: HashMap::new(),
            asked: Mutex::default(),
        }
    }

    pub fn block(&mut self, cid: Cid, bytes: Vec<u8>) {
        peerage_dag::verify(&cid, &bytes).unwrap();
        self.blocks.insert(cid, bytes.into());
    }

    pub fn file(&mut self, bytes: &[u8]) -> Built {
        let profile = self.profile.clone();
        let mut digests: Vec<[u8; 32]> = Vec::new();
        let empty: [&[u8]; 1] = [&[]];
        let chunks: Vec<_> = match bytes {
            [] => empty.to_vec(),
            bytes => bytes.chunks(profile.chunk_size() as usize).collect(),
        };
        for chunk in chunks {
            let frame = profile.leaf_frame(chunk.len() as u32);
            let leaf = [&frame.prefix[..], chunk, &frame.suffix].concat();
            let digest = Sha256::digest(&leaf).into();
            self.block(profile.leaf_cid(&digest), leaf);
            digests.push(digest);
        }
        peerage_dag::file::build(&profile, bytes.len() as u64, &digests, &mut |cid, block| {
            self.block(cid, block)
        })
    }

    /// A directory of files by their paths.
    pub fn tree(&mut self, files: &[(&str, &[u8])]) -> Cid {
        let mut tree = Tree::new();
        for (path, bytes) in files {
            let built = self.file(bytes);
            tree.add(path.split('/'), &built).unwrap();
        }
        self.built(tree)
    }

    pub fn link(&mut self, target: &str) -> Built {
        let profile = self.profile.clone();
        peerage_dag::directory::symlink(&profile, target.as_bytes(), &Metadata::NONE, &mut |cid, block| {
            self.block(cid, block);
        })
    }

    pub fn built(&mut self, tree: Tree) -> Cid {
        let profile = self.profile.clone();
        tree.build(&profile, &mut |cid, block| self.block(cid, block)).unwrap().cid
    }

    pub fn gateway(self) -> Gateway<Self> {
        Gateway::new(self, Config { patience: Duration::from_millis(200), ..Config::default() })
    }
}

impl Backend for Memory {
    async fn block(&self, cid: &Cid, tried: &Tried) -> Result<Bytes, Unavailable> {
        self.asked.lock().unwrap().push(*cid);
        if self.silent.contains(cid) {
            tried.note("asked 2 peers over bitswap");
            std::future::pending::<()>().await;
        }
        self.blocks.get(cid).cloned().ok_or_else(|| Unavailable::NotFound(format!("{cid} is nowhere")))
    }

    fn is_here(&self, cid: &Cid) -> bool {
        self.blocks.contains_key(cid) && !self.silent.contains(cid)
    }

    fn in_place(&self, cid: &Cid) -> Option<Arc<dyn InPlace>> {
        self.files.get(cid).cloned()
    }

    async fn resolve(&self, name: &Name, _: &Tried) -> Result<Pointer, Unavailable> {
        let pointer = self.names.get(&name.to_string()).cloned();
        pointer.ok_or_else(|| Unavailable::NobodyHasIt(format!("nobody knows {name}")))
    }

    async fn record(&self, key: &PeerId, _: &Tried) -> Result<Record, Unavailable> {
        self.records.get(key).cloned().ok_or_else(|| Unavailable::NotFound("no record".to_owned()))
    }

    fn share(&self, id: &str, names: &[Vec<u8>]) -> Option<Shared> {
        self.shares.get(&(id.to_owned(), names.to_vec())).cloned()
    }
}

/// An answer, all of it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: hyper::HeaderMap,
    pub body: Vec<u8>,
    /// The body was cut off.
    pub is_cut: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

pub async fn request(gateway: &Gateway<Memory>, method: &str, url: &str, headers: &[(&str, &str)]) -> Answer {
    let (host, target) = url.split_at(url.find('/').unwrap());
    let mut request = Request::builder().method(method).uri(target).header("host", host);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let head = request.body(()).unwrap().into_parts().0;
    collect(gateway.answer(&head).await).await
}

/// `host/target`, and headers.
pub async fn get_with(gateway: &Gateway<Memory>, url: &str, headers: &[(&str, &str)]) -> Answer {
    request(gateway, "GET", url, headers).await
}

pub async fn get(gateway: &Gateway<Memory>, url: &str) -> Answer {
    get_with(gateway, url, &[]).await
}

async fn collect(response: Response<Body>) -> Answer {
    let (head, mut body) = response.into_parts();
    let (mut bytes, mut is_cut) = (Vec::new(), false);
    loop {
        let frame = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await;
        match frame {
            Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().unwrap()),
            Some(Err(_)) => {
                is_cut = true;
                break;
            }
            None => break,
        }
    }
    Answer { status: head.status.as_u16(), headers: head.headers, body: bytes, is_cut }
}

/// Bytes that are the same in no two places.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64)
        .flat_map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes())
        .take(length)
        .collect()
}
