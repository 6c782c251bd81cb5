//! Content for tests: bytes, layouts and their truth, computed the plain way.

use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha1::{Digest, Sha1};
use sha2::Sha256;

use crate::{
    Alignment, BLOCK_LENGTH, Block, BlockBuf, BlockPool, Entry, EntryKind, FilePool, Hash20, Hash32, Layout,
    PieceIndex, PieceSet, Place, Preallocation, RelPath, Store, Truth, V2File, merkle_pad, merkle_root,
};

/// One block, as a file's length.
pub(crate) const BLOCK: u64 = BLOCK_LENGTH as u64;

/// Bytes that look random and differ by seed.
pub(crate) fn bytes(length: u64, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(&mut next).take(length.div_ceil(8) as usize).flatten().collect();
    bytes.truncate(length as usize);
    bytes
}

/// Changes the mode of a file, until the clock of the file system has gone on: nothing but its change time tells.
pub(crate) fn touch(path: &Path) {
    until_touched(path, || {});
}

/// Writes into a file in place and sets its modification time back: nothing but its change time tells.
pub(crate) fn edit_unseen(path: &Path, at: u64, bytes: &[u8]) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    until_touched(path, || {
        file.write_all_at(bytes, at).unwrap();
        file.set_modified(modified).unwrap();
    });
}

fn until_touched(path: &Path, change: impl Fn()) {
    let changed = || std::fs::metadata(path).map(|found| (found.ctime(), found.ctime_nsec())).unwrap();
    let before = changed();
    let mut mode = 0o600;
    while changed() == before {
        change();
        mode ^= 0o044;
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    }
}

/// A path from text with slashes.
pub(crate) fn path(text: &str) -> RelPath {
    RelPath::from_components(text.split('/')).unwrap()
}

pub(crate) fn file(name: &str, length: u64) -> Entry {
    Entry { path: path(name), length, kind: EntryKind::File { executable: false }, offset: 0 }
}

pub(crate) fn pad(length: u64) -> Entry {
    Entry { path: path(&format!(".pad/{length}")), length, kind: EntryKind::Pad, offset: 0 }
}

/// Which hashes a test's truth has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hashes {
    V1,
    V2,
    Both,
}

/// A layout with the bytes of its entries.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) layout: Arc<Layout>,
    pub(crate) files: Vec<Vec<u8>>,
}

impl Content {
    pub(crate) fn new(entries: Vec<Entry>, piece_length: u32, alignment: Alignment) -> Self {
        let layout = Arc::new(Layout::new(entries, piece_length, alignment).unwrap());
        let bytes_of = |(seed, entry): (u64, &Entry)| match entry.kind {
            EntryKind::Pad => vec![0; entry.length as usize],
            _ => bytes(entry.length, seed + 1),
        };
        let files = (0..).zip(layout.entries()).map(bytes_of).collect();
        Self { layout, files }
    }

    /// One file.
    pub(crate) fn single(length: u64, piece_length: u32) -> Self {
        Self::new(vec![file("file", length)], piece_length, Alignment::Stream)
    }

    pub(crate) fn bytes_of(&self, block: Block) -> Vec<u8> {
        let spans = self.layout.spans(block);
        let part =
            |span: crate::Span| &self.files[span.entry][span.offset as usize..][..span.length as usize];
        spans.flat_map(part).copied().collect()
    }

    pub(crate) fn piece(&self, piece: PieceIndex) -> Block {
        Block { piece, begin: 0, length: self.layout.piece_size(piece) }
    }

    /// All blocks of all pieces that have to be fetched.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let of_piece = |piece| (0..self.layout.block_count(piece)).map(move |index| (piece, index));
        let all = (0..self.layout.piece_count()).flat_map(of_piece);
        all.map(|(piece, index)| self.layout.block(piece, index))
            .filter(|&b| !self.layout.is_padding(b))
            .collect()
    }

    /// A block's bytes in a buffer of the pool.
    pub(crate) fn buf(&self, pool: &BlockPool, block: Block) -> BlockBuf {
        let mut buf = pool.try_take().unwrap();
        buf.set_len(block.length as usize);
        buf.copy_from_slice(&self.bytes_of(block));
        buf
    }

    pub(crate) fn v1(&self) -> Box<[Hash20]> {
        let hash = |piece| Sha1::digest(self.bytes_of(self.piece(piece))).into();
        (0..self.layout.piece_count()).map(hash).collect()
    }

    pub(crate) fn leaves(&self, entry: usize) -> Vec<Hash32> {
        self.files[entry].chunks(BLOCK_LENGTH as usize).map(|block| Sha256::digest(block).into()).collect()
    }

    pub(crate) fn v2(&self) -> Vec<Option<V2File>> {
        let width = (self.layout.piece_length() / BLOCK_LENGTH) as usize;
        let tree = |(index, entry): (usize, &Entry)| {
            if entry.length == 0 || !matches!(entry.kind, EntryKind::File { .. }) {
                return None;
            }
            let leaves = self.leaves(index);
            let root = merkle_root(&leaves, 0, [0; 32]);
            if leaves.len() <= width {
                return Some(V2File { root, layer: None });
            }
            let layer: Box<[Hash32]> =
                leaves.chunks(width).map(|piece| merkle_root(piece, width, [0; 32])).collect();
            assert_eq!(merkle_root(&layer, 0, merkle_pad(width)), root);
            Some(V2File { root, layer: Some(layer) })
        };
        self.layout.entries().iter().enumerate().map(tree).collect()
    }

    pub(crate) fn truth(&self, hashes: Hashes) -> Arc<Truth> {
        let v1 = (hashes != Hashes::V2).then(|| self.v1());
        let v2 = (hashes != Hashes::V1).then(|| self.v2());
        Arc::new(Truth::new(&self.layout, v1, v2).unwrap())
    }

    /// Writes the files below a folder.
    pub(crate) fn write_to(&self, folder: &Path) {
        for (entry, bytes) in self.layout.entries().iter().zip(&self.files) {
            if matches!(entry.kind, EntryKind::File { .. }) {
                let path = folder.join(entry.path.as_path());
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, bytes).unwrap();
            }
        }
    }

    /// Fails unless the files below a folder are this content.
    pub(crate) fn assert_at(&self, folder: &Path) {
        for (entry, bytes) in self.layout.entries().iter().zip(&self.files) {
            if matches!(entry.kind, EntryKind::File { .. }) {
                let found = std::fs::read(folder.join(entry.path.as_path())).unwrap();
                assert!(found == *bytes, "{:?} differs", entry.path);
            }
        }
    }

    /// A store over files written to `folder`, all verified.
    pub(crate) fn shared(&self, folder: &Path) -> Store {
        self.write_to(folder);
        let full = PieceSet::full(self.layout.piece_count());
        let place = Place::InPlace(folder.to_owned());
        let store = Store::new(Arc::clone(&self.layout), place, FilePool::new(8), full, vec![]);
        store.stamps();
        store
    }

    /// A store for a download of nothing yet into `folder`.
    pub(crate) fn download(&self, folder: &Path) -> Store {
        self.download_to(Place::Download {
            folder: folder.to_owned(),
            root: None,
            preallocation: Preallocation::Sparse,
        })
    }

    pub(crate) fn download_to(&self, place: Place) -> Store {
        let none = PieceSet::empty(self.layout.piece_count());
        Store::new(Arc::clone(&self.layout), place, FilePool::new(8), none, vec![])
    }
}

/// A file system of limited size, for tests that fill the disk; only root can mount one.
#[derive(Debug)]
pub(crate) struct TinyDisk {
    folder: tempfile::TempDir,
}

impl TinyDisk {
    /// `None` without the right to mount.
    pub(crate) fn new(options: &str) -> Option<Self> {
        let disk = Self { folder: tempfile::tempdir().unwrap() };
        disk.mount(&["-t", "tmpfs", "-o", options, "tmpfs"]).then_some(disk)
    }

    pub(crate) fn remount(&self, options: &str) {
        assert!(self.mount(&["-o", &format!("remount,{options}")]));
    }

    fn mount(&self, arguments: &[&str]) -> bool {
        let status = std::process::Command::new("mount").args(arguments).arg(self.path()).status();
        status.is_ok_and(|status| status.success())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// A disk that takes writes into memory and fails to put them on its device, because what the device lies on is full.
#[derive(Debug)]
pub(crate) struct FullDevice {
    // In the order in which they have to go.
    disk: TinyDisk,
    device: TinyDisk,
}

impl FullDevice {
    /// A disk of which so many mebibytes can be written. `None` without the right to mount, or the tools.
    pub(crate) fn new(mebibytes: u32) -> Option<Self> {
        let device = TinyDisk::new(&format!("size={mebibytes}m"))?;
        let image = device.path().join("image");
        std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        let made = std::process::Command::new("mkfs.ext4")
            .args(["-q", "-F", "-O", "^has_journal"])
            .arg(&image)
            .status();
        made.is_ok_and(|status| status.success()).then_some(())?;
        let disk = TinyDisk { folder: tempfile::tempdir().unwrap() };
        disk.mount(&["-o", "loop", image.to_str().unwrap()]).then_some(Self { disk, device })
    }

    /// Forgets what is only in memory.
    pub(crate) fn remount(&self) {
        let image = self.device.path().join("image");
        let gone = std::process::Command::new("umount").arg(self.disk.path()).status();
        assert!(gone.is_ok_and(|status| status.success()));
        assert!(self.disk.mount(&["-o", "loop", image.to_str().unwrap()]));
    }

    /// Lets it be written from now on.
    pub(crate) fn make_room(&self) {
        self.device.remount("size=80m");
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.disk.path()
    }
}
