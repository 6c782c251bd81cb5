//! Where each block lies.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use peerage_content::{ReadError, Store};
use peerage_dag::{Cid, inlined};
use redb::backends::InMemoryBackend;
use redb::{
    Database, DatabaseError, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, WriteTransaction,
};

use crate::error::Attempt;
use crate::tables::{
    CONTENTS, COUNTS, FILES, KEPT_BYTES, LEAVES, NEXT_STAMP, NODES, PINS, content_of, hash_key, leaf_at,
    place_keys,
};
use crate::{BlocksError, Dag, LeafSet, contents, nodes};

/// Memory in which the database keeps what was read last, bytes.
const CACHE: usize = 8 << 20;

/// The number of some content, given by whoever shares it; the same after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentId(pub u32);

/// Which leaf of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The entry of the layout.
    pub entry: u32,
    /// Which of its leaves.
    pub number: u32,
}

/// Content that is live: its leaves can be read.
pub trait Source: fmt::Debug + Send + Sync {
    /// Bytes of a leaf as a block; `None`: there is no such leaf.
    fn length(&self, leaf: Leaf) -> Option<usize>;

    /// The block that a leaf is.
    ///
    /// # Errors
    /// [`ReadError`]: the file cannot be read, or is not what it was.
    fn read(&self, leaf: Leaf) -> Result<Bytes, ReadError>;

    /// Where its files are read from.
    fn store(&self) -> &Arc<Store>;
}

/// A file that lies in live content as a whole.
#[derive(Clone, Debug)]
pub struct WholeFile {
    /// Where it is read from.
    pub store: Arc<Store>,
    /// The entry of its layout.
    pub entry: usize,
}

/// Live contents, and where something lies in each.
type Places<T> = Vec<(Arc<dyn Source>, T)>;

/// All blocks of a node. Cheap to clone.
#[derive(Clone)]
pub struct Blocks {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    /// `None`: closed.
    database: RwLock<Option<Arc<Database>>>,
    live: RwLock<HashMap<ContentId, Arc<dyn Source>>>,
    /// Blocks stamped from here on are not collected, for each hold; how many holds have that stamp.
    holds: Mutex<BTreeMap<u64, usize>>,
    /// Held by whoever deletes, and by whoever must not be deleted from.
    collecting: Mutex<()>,
}

/// While it lives, blocks that are put from now on are not collected. Held by whoever fetches or imports blocks that nothing keeps yet.
#[derive(Debug)]
pub struct Hold {
    blocks: Blocks,
    from: u64,
}

impl Blocks {
    /// Opens the store in a file, which is created when it is missing.
    ///
    /// # Errors
    /// [`BlocksError::InUse`], [`BlocksError::Store`].
    pub fn open(path: &Path) -> Result<Self, BlocksError> {
        // What its user shares is nobody else's business.
        let private = File::options().append(true).create(true).mode(0o600).open(path);
        private.map_err(redb::Error::from).attempt("open")?;
        match Database::builder().set_cache_size(CACHE).create(path) {
            Ok(database) => Self::new(database),
            Err(DatabaseError::DatabaseAlreadyOpen) => Err(BlocksError::InUse { path: path.to_owned() }),
            Err(error) => Err(error).attempt("open"),
        }
    }

    /// A store that is gone with the process.
    ///
    /// # Errors
    /// [`BlocksError::Store`].
    pub fn in_memory() -> Result<Self, BlocksError> {
        let database = Database::builder().set_cache_size(CACHE).create_with_backend(InMemoryBackend::new());
        Self::new(database.attempt("open")?)
    }

    fn new(database: Database) -> Result<Self, BlocksError> {
        let shared = Shared {
            database: RwLock::new(Some(Arc::new(database))),
            live: RwLock::default(),
            holds: Mutex::default(),
            collecting: Mutex::default(),
        };
        let blocks = Self { shared: Arc::new(shared) };
        blocks.write(Durability::Immediate, |transaction| {
            // Reading finds tables only if they are there.
            transaction.open_table(LEAVES).attempt("create a table")?;
            transaction.open_table(FILES).attempt("create a table")?;
            transaction.open_table(NODES).attempt("create a table")?;
            transaction.open_table(CONTENTS).attempt("create a table")?;
            transaction.open_table(PINS).attempt("create a table")?;
            transaction.open_table(COUNTS).attempt("create a table")?;
            Ok(())
        })?;
        Ok(blocks)
    }

    /// The block that `cid` names; `None`: it is not here. One that lies in several contents is read from any that still has it.
    ///
    /// # Errors
    /// [`BlocksError`]; of a leaf, what its last content says.
    pub fn get(&self, cid: &Cid) -> Result<Option<Bytes>, BlocksError> {
        if let Some(bytes) = inlined(cid) {
            return Ok(Some(Bytes::copy_from_slice(bytes)));
        }
        let transaction = self.read()?;
        let mut failed = None;
        let leaves = transaction.open_table(LEAVES).attempt("look for a leaf")?;
        for (source, leaf) in self.places_in(&leaves, cid, leaf_at)? {
            match source.read(leaf) {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(error) => failed = Some(error),
            }
        }
        let nodes = transaction.open_table(NODES).attempt("look for a block")?;
        let found = nodes.get(hash_key(cid).as_slice()).attempt("look for a block")?;
        match (found, failed) {
            (Some(found), _) => Ok(Some(Bytes::copy_from_slice(found.value().2))),
            (None, Some(error)) => Err(error.into()),
            (None, None) => Ok(None),
        }
    }

    /// How long a block is that is here; `None`: it is not. Reads no file.
    ///
    /// # Errors
    /// [`BlocksError::Store`].
    pub fn length(&self, cid: &Cid) -> Result<Option<usize>, BlocksError> {
        if let Some(bytes) = inlined(cid) {
            return Ok(Some(bytes.len()));
        }
        let transaction = self.read()?;
        let leaves = transaction.open_table(LEAVES).attempt("look for a leaf")?;
        let mut places = self.places_in(&leaves, cid, leaf_at)?.into_iter();
        if let Some(length) = places.find_map(|(source, leaf)| source.length(leaf)) {
            return Ok(Some(length));
        }
        let nodes = transaction.open_table(NODES).attempt("look for a block")?;
        let found = nodes.get(hash_key(cid).as_slice()).attempt("look for a block")?;
        Ok(found.map(|found| found.value().2.len()))
    }

    /// Keeps blocks whole, until they are collected. They are on disk with the next pin or content.
    ///
    /// # Errors
    /// [`BlocksError::Mismatch`], [`BlocksError::TooLong`], [`BlocksError::Store`]: none is kept.
    pub fn put(&self, blocks: impl IntoIterator<Item = (Cid, Bytes)>) -> Result<(), BlocksError> {
        self.write(Durability::None, |transaction| {
            blocks.into_iter().try_for_each(|(cid, bytes)| {
                peerage_dag::verify(&cid, &bytes).map_err(|error| BlocksError::Mismatch(Box::new(error)))?;
                nodes::put(transaction, &cid, &bytes)
            })
        })
    }

    /// Takes up content: what stands above its leaves, and the leaves; `source` reads them. On disk when this returns. Content that had the
    /// same number is forgotten.
    ///
    /// # Errors
    /// [`BlocksError`]: nothing was taken up.
    pub fn add_content(
        &self,
        id: ContentId,
        leaves: &LeafSet,
        dag: &Dag,
        source: Arc<dyn Source>,
    ) -> Result<(), BlocksError> {
        self.remove_content(id)?;
        self.write(Durability::Immediate, |transaction| contents::add(transaction, id, leaves, dag))?;
        self.revive(id, source);
        Ok(())
    }

    /// Content that was taken up in a former run is live again.
    pub fn revive(&self, id: ContentId, source: Arc<dyn Source>) {
        self.shared.live.write().unwrap_or_else(PoisonError::into_inner).insert(id, source);
    }

    /// The root of content that was taken up, in this or a former run.
    ///
    /// # Errors
    /// [`BlocksError::Store`].
    pub fn root_of(&self, id: ContentId) -> Result<Option<Cid>, BlocksError> {
        let transaction = self.read()?;
        let contents = transaction.open_table(CONTENTS).attempt("look for a content")?;
        let found = contents.get(id.0).attempt("look for a content")?;
        Ok(found.and_then(|found| Cid::read_bytes(found.value()).ok()))
    }

    /// The numbers of all contents, live or not.
    ///
    /// # Errors
    /// [`BlocksError::Store`].
    pub fn contents(&self) -> Result<Vec<ContentId>, BlocksError> {
        contents::numbers(&self.read()?)
    }

    /// Content is not read any more, for now: its file is away.
    pub fn rest(&self, id: ContentId) {
        self.shared.live.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// Forgets content, if there is any of this number, and the nodes above its leaves that belong to no other; what is pinned of them stays.
    ///
    /// # Errors
    /// [`BlocksError`]: nothing is forgotten.
    pub fn remove_content(&self, id: ContentId) -> Result<(), BlocksError> {
        self.rest(id);
        if self.root_of(id)?.is_none() {
            return Ok(());
        }
        let _collecting = self.collecting();
        let mut pinned = HashSet::new();
        self.mark(&mut pinned)?;
        self.write(Durability::Immediate, |transaction| contents::remove(transaction, id, &pinned))
    }

    /// Where the file with this root lies as a whole, if it does so in live content.
    ///
    /// # Errors
    /// [`BlocksError::Store`].
    pub fn file(&self, root: &Cid) -> Result<Option<WholeFile>, BlocksError> {
        let transaction = self.read()?;
        let files = transaction.open_table(FILES).attempt("look for a file")?;
        let whole = |source: Arc<dyn Source>, entry: u32| WholeFile {
            store: source.store().clone(),
            entry: entry as usize,
        };
        if let Some((source, entry)) = self.places_in(&files, root, |entry| entry)?.into_iter().next() {
            return Ok(Some(whole(source, entry)));
        }
        let leaves = transaction.open_table(LEAVES).attempt("look for a file")?;
        let mut places = self.places_in(&leaves, root, leaf_at)?.into_iter();
        // A leaf is a file if nothing comes after it.
        let next = |leaf: Leaf| Leaf { number: leaf.number + 1, ..leaf };
        let only = places.find(|(source, leaf)| leaf.number == 0 && source.length(next(*leaf)).is_none());
        Ok(only.map(|(source, leaf)| whole(source, leaf.entry)))
    }

    /// Bytes of all blocks that are kept whole.
    ///
    /// # Errors
    /// [`BlocksError::Store`].
    pub fn kept_bytes(&self) -> Result<u64, BlocksError> {
        let transaction = self.read()?;
        let counts = transaction.open_table(COUNTS).attempt("count")?;
        let kept = counts.get(KEPT_BYTES).attempt("count")?;
        Ok(kept.map_or(0, |kept| kept.value()))
    }

    /// Blocks that are put from now on stay until this is dropped.
    ///
    /// # Errors
    /// [`BlocksError::Store`].
    pub fn hold(&self) -> Result<Hold, BlocksError> {
        let mut holds = self.holds();
        let transaction = self.read()?;
        let counts = transaction.open_table(COUNTS).attempt("hold blocks")?;
        let from = counts.get(NEXT_STAMP).attempt("hold blocks")?.map_or(0, |next| next.value());
        *holds.entry(from).or_default() += 1;
        drop(holds);
        Ok(Hold { blocks: self.clone(), from })
    }

    /// The stamp from which on some hold keeps blocks.
    pub(crate) fn held_from(&self) -> Option<u64> {
        self.holds().first_key_value().map(|(from, _)| *from)
    }

    pub(crate) fn read(&self) -> Result<ReadTransaction, BlocksError> {
        self.database()?.begin_read().attempt("read")
    }

    /// Changes the database; all of it, or, when `change` fails, nothing.
    pub(crate) fn write<T>(
        &self,
        durability: Durability,
        change: impl FnOnce(&WriteTransaction) -> Result<T, BlocksError>,
    ) -> Result<T, BlocksError> {
        let database = self.database()?;
        let mut transaction = database.begin_write().attempt("write")?;
        transaction.set_durability(durability).attempt("write")?;
        let changed = change(&transaction)?;
        transaction.commit().attempt("write")?;
        Ok(changed)
    }

    /// What a table says of `cid` for each live content.
    fn places_in<V: redb::Value + 'static, T>(
        &self,
        table: &ReadOnlyTable<&'static [u8], V>,
        cid: &Cid,
        read: impl for<'a> Fn(V::SelfType<'a>) -> T,
    ) -> Result<Places<T>, BlocksError> {
        let (first, last) = place_keys(&hash_key(cid));
        let live = self.shared.live.read().unwrap_or_else(PoisonError::into_inner);
        let mut places = Vec::new();
        for found in table.range(first.as_slice()..=last.as_slice()).attempt("look for a block")? {
            let (key, place) = found.attempt("look for a block")?;
            if let Some(source) = live.get(&content_of(key.value())) {
                places.push((source.clone(), read(place.value())));
            }
        }
        Ok(places)
    }

    /// Closes the database as soon as what is under way has ended; others may open it then. Whatever is asked later fails.
    pub fn close(&self) {
        self.shared.database.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn database(&self) -> Result<Arc<Database>, BlocksError> {
        let database = self.shared.database.read().unwrap_or_else(PoisonError::into_inner).clone();
        database.ok_or(BlocksError::Closed)
    }

    /// While this is held, nothing is deleted.
    pub(crate) fn collecting(&self) -> MutexGuard<'_, ()> {
        self.shared.collecting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holds(&self) -> MutexGuard<'_, BTreeMap<u64, usize>> {
        self.shared.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Blocks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Blocks").finish_non_exhaustive()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut holds = self.blocks.holds();
        if let Some(count) = holds.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                holds.remove(&self.from);
            }
        }
    }
}
