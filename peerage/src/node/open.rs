//! What a node has open to whoever asks over HTTP: its transfers, name by name, as web seeds are laid out (BEP 19).

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use peerage_content::{EntryKind, Layout};
use peerage_http::{InPlace, Shared, SharedEntry, StoreFile};

use super::entry::{Entry, Running};
use super::{Node, hex};

/// What lies in a folder, by name.
#[derive(Default)]
struct Folder(BTreeMap<Vec<u8>, (u64, bool)>);

impl Node {
    /// What lies at `names` in the transfer with this info hash or CID; the first name is that of its content. Nothing of private torrents.
    pub(crate) fn shared(&self, id: &str, names: &[Vec<u8>]) -> Option<Shared> {
        let entry = self.0.all().into_iter().find(|entry| goes_by(entry, id))?;
        let running = entry.running()?;
        let info = &running.metainfo.info;
        if info.private {
            return None;
        }
        let own = info.name.as_path().as_os_str().as_bytes();
        let is_folder = info.root().is_some();
        let Some((first, below)) = names.split_first() else {
            let mut folder = Folder::default();
            folder.add(own, info.layout.content_length(), is_folder);
            return Some(folder.listed());
        };
        if first != own {
            return None;
        }
        if !is_folder {
            let index = info.layout.entries().iter().position(|entry| is_file(&entry.kind))?;
            return below.is_empty().then(|| file(&running, index))?;
        }
        at(&running, &info.layout, below)
    }
}

/// The file or folder at a path in a folder that is shared.
fn at(running: &Arc<Running>, layout: &Layout, path: &[Vec<u8>]) -> Option<Shared> {
    let mut folder = Folder::default();
    for (index, entry) in layout.entries().iter().enumerate().filter(|(_, entry)| is_file(&entry.kind)) {
        let mut components = entry.path.components();
        if !path.iter().all(|name| components.next() == Some(name.as_slice())) {
            continue;
        }
        let Some(name) = components.next() else { return file(running, index) };
        folder.add(name, entry.length, components.next().is_some());
    }
    (path.is_empty() || !folder.0.is_empty()).then(|| folder.listed())
}

fn file(running: &Arc<Running>, index: usize) -> Option<Shared> {
    let file: Arc<dyn InPlace> = Arc::new(StoreFile::new(running.transfer.store().clone(), index)?);
    let primary = running.metainfo.info.hashes.primary()?;
    Some(Shared::File { file, tag: format!("{primary}-{index}") })
}

fn is_file(kind: &EntryKind) -> bool {
    matches!(kind, EntryKind::File { .. })
}

fn goes_by(entry: &Entry, id: &str) -> bool {
    let facts = entry.facts();
    let by_hash = facts.hashes.is_some_and(|hashes| {
        [hashes.v1.map(|hash| hex(&hash)), hashes.v2.map(|hash| hex(&hash))]
            .iter()
            .flatten()
            .any(|hash| hash == id)
    });
    by_hash || facts.ipfs.as_ref().is_some_and(|names| names.content.to_string() == id)
}

impl Folder {
    fn add(&mut self, name: &[u8], size: u64, is_folder: bool) {
        let (sum, _) = self.0.entry(name.to_vec()).or_insert((0, is_folder));
        *sum += size;
    }

    fn listed(self) -> Shared {
        let entry = |(name, (size, is_folder))| SharedEntry { name, size, is_folder };
        Shared::Folder(self.0.into_iter().map(entry).collect())
    }
}
