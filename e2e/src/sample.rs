//! Content to share, and what arrived of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Writes `size` bytes that no compression shortens; the same for the same seed. Folders above are made.
pub fn file(path: &Path, seed: u64, size: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut left = size;
    while left > 0 {
        // xorshift64*
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let word = state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
        let take = left.min(word.len());
        file.write_all(&word[..take]).unwrap();
        left -= take;
    }
    file.flush().unwrap();
}

/// Fills a folder with files of many sizes, among them an empty one, with names that are legal and unusual.
pub fn odd_folder(folder: &Path) {
    let files: [(&str, usize); 12] = [
        ("film.mkv", 3_000_001),
        ("empty", 0),
        ("one byte", 1),
        ("a block.bin", 16 * 1024),
        ("a block and one.bin", 16 * 1024 + 1),
        ("Größe/naïve café ☕.txt", 70_000),
        ("Größe/nothing either.txt", 0),
        ("写真/夏 2024/海.jpg", 500_000),
        ("עברית/שלום.txt", 12_345),
        ("emoji 🦀/🎉.gif", 40_000),
        ("quotes ' and %41 & #hash;semi/[brackets] {x} $HOME !.txt", 9_999),
        (".hidden/deep/er/still/file.with.many.dots", 262_144),
    ];
    for (seed, (name, size)) in (1..).zip(files) {
        file(&folder.join(name), seed, size);
    }
}

/// SHA-256 of every file in a folder, by path from the folder; of a file, its own under the path "".
pub fn digests(path: &Path) -> BTreeMap<String, String> {
    let mut digests = BTreeMap::new();
    collect(path, String::new(), &mut digests);
    digests
}

fn collect(path: &Path, name: String, into: &mut BTreeMap<String, String>) {
    if !path.is_dir() {
        into.insert(name, digest(path));
        return;
    }
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let own = entry.file_name().into_string().unwrap();
        collect(&entry.path(), if name.is_empty() { own } else { format!("{name}/{own}") }, into);
    }
}

/// SHA-256 of a file, in hexadecimal.
pub fn digest(path: &Path) -> String {
    let mut file = File::open(path).unwrap_or_else(|problem| panic!("open {}: {problem}", path.display()));
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).unwrap();
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fails the test unless both hold the same files with the same bytes.
#[track_caller]
pub fn assert_same(left: &Path, right: &Path) {
    assert_eq!(digests(left), digests(right), "{} and {}", left.display(), right.display());
}

/// A folder for all that a test has lying about, with a subfolder for each user.
#[derive(Debug)]
pub struct Room(tempfile::TempDir);

impl Room {
    /// An empty room.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A path in it; the folders above are made.
    pub fn path(&self, path: &str) -> std::path::PathBuf {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// The same as text, for arguments.
    pub fn text(&self, path: &str) -> String {
        self.path(path).into_os_string().into_string().unwrap()
    }
}

/// Writes a file of 5 GiB that takes no space: [`holes`], with some bytes at both ends and around 4 GiB, where 32 bits end.
pub fn sparse(path: &Path) {
    use std::os::unix::fs::FileExt;
    let file = holes(path);
    for (mark, at) in (1_u8..).zip([0, 2 * GIB - 10, 4 * GIB - 10, 4 * GIB + 100_000, 5 * GIB - 20]) {
        file.write_all_at(&[mark; 20], at).unwrap();
    }
}

/// Fails the test unless this is what [`sparse`] writes.
#[track_caller]
pub fn assert_sparse(path: &Path) {
    assert_eq!(digest(path), SPARSE_SHA256, "{}", path.display());
}

const SPARSE_SHA256: &str = "b90a9c2c8cf46d573dd2c536364a41f4a4e47dc5882d677d97936c7dcc4cb4b3";

/// Writes 5 GiB of nothing.
pub fn holes(path: &Path) -> File {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = File::create(path).unwrap();
    file.set_len(5 * GIB).unwrap();
    file
}

const GIB: u64 = 1 << 30;
