//! From a request to an entry: what is asked for, whether it is here already, and what the former run left.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use peerage_bittorrent::hash::InfoHashes;
use peerage_bittorrent::magnet::{Magnet, MagnetError};
use peerage_bittorrent::metainfo::Metainfo;
use peerage_bittorrent::tracker::TrackerUrl;
use peerage_bittorrent::webseed::WebSeed;
use peerage_content::StorageError;

use super::entry::{Entry, Facts, now};
use super::error::AddError;
use super::select::Rules;
use super::shelf::{Record, Slot};
use super::{Entries, Inner, begin, ipfs, life};
use crate::model::{AddRequest, Event, Link, Problem, Role, State, TransferId};
use crate::spool;

/// Numbers of transfers that turned out to be another one; older ones are forgotten.
const SAME_MAX: usize = 1_000;

impl Entries {
    /// A number that no transfer has.
    fn next_id(&mut self) -> TransferId {
        self.added += 1;
        TransferId(self.added)
    }

    /// The number that `id` stands for.
    pub(super) fn resolve(&self, id: TransferId) -> TransferId {
        self.same.get(&id).copied().unwrap_or(id)
    }
}

impl Inner {
    /// Checks a request and makes its entry. Touches the disk.
    pub(super) fn admit(&self, request: AddRequest) -> Result<Arc<Entry>, AddError> {
        let Identified { request, hashes, torrent, name } = identify(request)?;
        let rules = rules_of(&request)?;
        // Requests for the same may come together: one is there when the next looks, and its record is not written over.
        let _admitting = self.admitting.lock().unwrap_or_else(PoisonError::into_inner);
        let primary = hashes.and_then(|hashes| hashes.primary()).map(|swarm| swarm.to_string());
        let slot = self.shelf.slot(&begin::key_of(&request, &primary.unwrap_or_default()));
        if let Some(existing) = self.existing(hashes, &slot) {
            self.supersede(&existing, &slot)?;
        }
        let before = slot.read_record().ok();
        let options = match &request {
            AddRequest::Share(share) => &share.options,
            AddRequest::Get(get) => &get.options,
        };
        let id = self.entries().next_id();
        let resident = self.config.restore;
        let record = Record {
            id: if resident { Some(id.0) } else { before.as_ref().and_then(|record| record.id) },
            one_off: !resident && before.as_ref().is_none_or(|record| record.one_off),
            paused: options.paused,
            added: before.as_ref().map_or_else(now, |record| record.added),
            // What was asked for now counts from now.
            finished: None,
            served: 0,
            sent_before: before.as_ref().map_or(0, |record| record.sent_before),
            limits: options.limits,
            goal: options.goal.unwrap_or(self.config.goal),
            priorities: Vec::new(),
            request,
        };
        if resident {
            self.adopt_spooled(&record.request)?;
        }
        if let Some(torrent) = &torrent {
            slot.write_torrent(torrent)?;
        }
        slot.write_record(&record)?;
        Ok(self.place(id, slot, record, rules, hashes, name))
    }

    /// What came from stdin is the node's from now on: the command that read it may end.
    fn adopt_spooled(&self, request: &AddRequest) -> Result<(), AddError> {
        let AddRequest::Share(share) = request else { return Ok(()) };
        let path = &share.path.0;
        spool::adopt(&self.config.data_dir.join(spool::STDIN), path)
            .map_err(|source| StorageError { attempt: "keep", path: path.clone(), source }.into())
    }

    /// The transfer that this is already.
    fn existing(&self, hashes: Option<InfoHashes>, slot: &Slot) -> Option<Arc<Entry>> {
        let is_same = |entry: &Entry| {
            let agrees =
                |hashes: InfoHashes| entry.facts().hashes.is_some_and(|own| own.agrees_with(&hashes));
            entry.slot == *slot || hashes.is_some_and(agrees)
        };
        self.all().into_iter().find(|entry| is_same(entry))
    }

    /// Makes room for a new request of the same content: one that failed before it began leaves nothing to go on with.
    fn supersede(&self, existing: &Entry, slot: &Slot) -> Result<(), AddError> {
        let failed = existing.facts().state == State::Error;
        if !failed || existing.slot.is_begun() {
            return Err(AddError::Exists(existing.id));
        }
        self.forget(existing, None);
        if existing.slot != *slot {
            existing.clear();
        }
        Ok(())
    }

    /// Takes an entry out; its task ends. Its number stands for `same` from now on, if that is what it turned out to be.
    /// Waits for the disk.
    pub(super) fn forget(&self, entry: &Entry, same: Option<TransferId>) {
        entry.forget();
        {
            let mut entries = self.entries();
            if entries.by_id.remove(&entry.id).is_none() {
                return;
            }
            if let Some(same) = same {
                entries.same.insert(entry.id, same);
                if entries.same.len() > SAME_MAX {
                    entries.same.pop_first();
                }
            }
        }
        self.emit(Event::Removed { id: entry.id, same_as: same });
    }

    /// Deletes what was kept of a transfer that was forgotten, unless the same was added again meanwhile. Touches the disk.
    pub(super) fn clear(&self, forgotten: &Entry) {
        let _admitting = self.admitting.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.all().iter().any(|entry| entry.slot == forgotten.slot) {
            forgotten.clear();
        }
        ipfs::forget(self, forgotten.id);
    }

    /// The transfer, other than `but`, that is in the door with content of these hashes.
    pub(super) fn holder_of(entries: &Entries, hashes: InfoHashes, but: TransferId) -> Option<TransferId> {
        let holds = |entry: &Entry| {
            let facts = entry.facts();
            facts.torrent.is_some() && facts.hashes.is_some_and(|other| other.agrees_with(&hashes))
        };
        entries.by_id.values().find(|entry| entry.id != but && holds(entry)).map(|entry| entry.id)
    }

    fn place(
        &self,
        id: TransferId,
        slot: Slot,
        record: Record,
        rules: Rules,
        hashes: Option<InfoHashes>,
        name: PathBuf,
    ) -> Arc<Entry> {
        let (role, path) = match &record.request {
            AddRequest::Share(share) => (Role::Share, share.path.0.clone()),
            AddRequest::Get(get) => (Role::Get, get.folder.0.clone()),
        };
        let mut facts = Facts::new(record, name, path);
        facts.hashes = hashes;
        let entry = Entry::new(id, role, slot, rules, facts, self.cancel.child_token());
        self.entries().by_id.insert(id, entry.clone());
        entry
    }

    /// Takes up the transfers of the former run, each under its number. Touches the disk.
    pub(super) fn restore(self: &Arc<Self>) {
        let mut records: Vec<_> = Vec::new();
        for (slot, record) in self.shelf.records().unwrap_or_default() {
            match record {
                Ok(record) if record.one_off => {}
                Ok(record) => records.push((slot, record)),
                Err(error) => {
                    tracing::warn!(error = error.in_full(), "a transfer of the former run is left out");
                }
            }
        }
        // Those without a number, or with one that is taken, come after the others.
        records.sort_by_key(|(_, record)| (record.id.unwrap_or(u32::MAX), record.added));
        self.entries().added = records.iter().filter_map(|(_, record)| record.id).max().unwrap_or(0);
        let mut last = None;
        for (slot, mut record) in records {
            let kept = record.id.filter(|id| Some(*id) != last);
            last = record.id;
            let id = kept.map_or_else(|| self.entries().next_id(), TransferId);
            let restored = identify(record.request.clone()).and_then(|found| {
                // That something may be replaced was said of what lay there when the transfer began.
                let overwrites = match &mut record.request {
                    AddRequest::Get(get) if slot.is_begun() => std::mem::take(&mut get.overwrite),
                    _ => false,
                };
                if overwrites || record.id != Some(id.0) {
                    record.id = Some(id.0);
                    slot.write_record(&record)?;
                }
                let rules = rules_of(&record.request)?;
                Ok(self.place(id, slot, record, rules, found.hashes, found.name))
            });
            match restored {
                Ok(entry) => {
                    self.resources.tasks.spawn(life::live(self.clone(), entry));
                }
                Err(error) => {
                    let problem = Problem::from(error);
                    tracing::warn!(%problem, causes = ?problem.causes, "a transfer of the former run is left out");
                }
            }
        }
        ipfs::forget_strangers(self);
    }
}

/// What a request names.
struct Identified {
    /// Itself, without the bytes of its torrent.
    request: AddRequest,
    /// Its hashes as far as they are known.
    hashes: Option<InfoHashes>,
    /// The bytes of its torrent.
    torrent: Option<Vec<u8>>,
    /// A first name.
    name: PathBuf,
}

/// What a request says of files.
fn rules_of(request: &AddRequest) -> Result<Rules, AddError> {
    let AddRequest::Get(get) = request else { return Ok(Rules::default()) };
    Rules::new(&get.only, &get.priorities).map_err(|(glob, why)| AddError::BadGlob { glob, why: why.into() })
}

/// An absolute path that ends in a name; of `..` and the like, that of the folder it stands for, if that is there.
fn with_name(path: &Path) -> PathBuf {
    let path = begin::absolute(path);
    if path.file_name().is_some() {
        return path;
    }
    path.canonicalize().unwrap_or(path)
}

fn identify(request: AddRequest) -> Result<Identified, AddError> {
    let parse = |bytes: &[u8]| {
        Metainfo::parse(bytes).map_err(|why| AddError::Refused { what: "the torrent", why: why.into() })
    };
    match request {
        AddRequest::Share(mut share) => {
            for url in share.author.trackers.iter().flatten() {
                TrackerUrl::parse(url).map_err(|why| AddError::Refused {
                    what: "the tracker",
                    why: format!("{url:?}: {why}").into(),
                })?;
            }
            for url in &share.author.web_seeds {
                WebSeed::new(url, None).map_err(|why| AddError::Refused {
                    what: "the web seed",
                    why: format!("{url:?}: {why}").into(),
                })?;
            }
            share.path.0 = with_name(&share.path.0);
            if share.path.0.parent().is_none() {
                let why = "/ is the whole file system: name a file or a folder in it".into();
                return Err(AddError::Refused { what: "what is to be shared", why });
            }
            let name = share.path.0.file_name().map(PathBuf::from).unwrap_or_default();
            let torrent = share.as_torrent.take().map(|torrent| torrent.0);
            let hashes = torrent.as_deref().map(parse).transpose()?.map(|metainfo| metainfo.info.hashes);
            Ok(Identified { request: AddRequest::Share(share), hashes, torrent, name })
        }
        AddRequest::Get(mut get) => {
            get.folder.0 = begin::absolute(&get.folder.0);
            match &get.link {
                Link::Torrent(torrent) => {
                    let torrent = torrent.0.clone();
                    let metainfo = parse(&torrent)?;
                    let hashes = metainfo.info.hashes;
                    get.link =
                        Link::Name(hashes.primary().map(|swarm| swarm.to_string()).unwrap_or_default());
                    let name = metainfo.info.name.as_path().to_owned();
                    let request = AddRequest::Get(get);
                    Ok(Identified { request, hashes: Some(hashes), torrent: Some(torrent), name })
                }
                Link::Name(link) => {
                    let magnet: Magnet = link.parse().map_err(|why: MagnetError| AddError::Refused {
                        what: "the link",
                        why: why.into(),
                    })?;
                    let name = magnet.name.clone().map(PathBuf::from);
                    let hash = magnet.hashes.primary().map(|swarm| swarm.to_string()).unwrap_or_default();
                    Ok(Identified {
                        request: AddRequest::Get(get),
                        hashes: Some(magnet.hashes),
                        torrent: None,
                        name: name.unwrap_or_else(|| hash.into()),
                    })
                }
            }
        }
    }
}
