//! The file that contacts are kept in.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Contact, Contacts};
use crate::files::{self, Claim, FileError};
use crate::peer_id::PeerId;

/// The format of the file. A file of a later one is not touched.
const VERSION: u32 = 1;
/// Room for every contact and list at its largest.
const LENGTH_MAX: u64 = 256 * 1024 * 1024;

/// A file of contacts, which nobody but its owner may write. It is read when it is asked for: another process may have changed it.
#[derive(Clone, Debug)]
pub struct ContactBook {
    path: PathBuf,
}

/// Why the book cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BookError {
    /// The file is not as it must be.
    #[error(transparent)]
    File(#[from] FileError),
    /// It holds something else.
    #[error("{path:?} holds no contacts")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// It is of a later version of this program.
    #[error("{path:?} is of a later version of this program (format {version}, this one knows {VERSION})")]
    Later {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
}

/// What a reader must know before anything else.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// What the file holds.
#[derive(Default, Serialize, Deserialize)]
struct Written {
    version: u32,
    contacts: Vec<Contact>,
    allowed: Vec<PeerId>,
    denied: Vec<PeerId>,
}

impl ContactBook {
    /// The book in the file at `path`, which need not be there yet.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// What is in it.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn read(&self) -> Result<Contacts, BookError> {
        let Some(bytes) = files::read_own(&self.path, LENGTH_MAX)? else { return Ok(Contacts::default()) };
        let broken = |source| BookError::Content { path: self.path.clone(), source };
        let Versioned { version } = serde_json::from_slice(&bytes).map_err(broken)?;
        if version > VERSION {
            return Err(BookError::Later { path: self.path.clone(), version });
        }
        serde_json::from_slice(&bytes).map(written_in).map_err(broken)
    }

    /// Changes it, while nobody else does. When `change` fails, or changes nothing, the file stays as it is.
    ///
    /// # Errors
    /// That of `change`, or [`BookError`].
    pub fn change<T, E: From<BookError>>(
        &self,
        change: impl FnOnce(&mut Contacts) -> Result<T, E>,
    ) -> Result<T, E> {
        let claim = Claim::take(&self.path).map_err(BookError::from)?;
        let before = self.read()?;
        let mut contacts = before.clone();
        let outcome = change(&mut contacts)?;
        if contacts != before {
            self.write(&claim, &contacts)?;
        }
        Ok(outcome)
    }

    fn write(&self, claim: &Claim<'_>, contacts: &Contacts) -> Result<(), BookError> {
        let written = Written {
            version: VERSION,
            contacts: contacts.iter().cloned().collect(),
            allowed: contacts.allowed().collect(),
            denied: contacts.denied().collect(),
        };
        let text = serde_json::to_string_pretty(&written);
        let text = text.map_err(|source| BookError::Content { path: self.path.clone(), source })?;
        Ok(claim.replace(format!("{text}\n").as_bytes())?)
    }
}

/// A file that somebody edited may say things twice, or against each other: the first name holds, and who is denied is denied.
fn written_in(written: Written) -> Contacts {
    let mut contacts = Contacts::default();
    for contact in written.contacts {
        // A second name of a node, or a second node of a name.
        let _ = contacts.add(contact);
    }
    contacts.allowed = written.allowed.into_iter().collect();
    contacts.denied = written.denied.into_iter().collect();
    contacts.allowed.retain(|peer| !contacts.denied.contains(peer));
    contacts
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;
    use crate::NodeKey;
    use crate::contacts::{ContactError, Standing};

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error(transparent)]
        Book(#[from] BookError),
        #[error(transparent)]
        Contact(#[from] ContactError),
    }

    fn peer(seed: u8) -> PeerId {
        NodeKey::from_seed([seed; 32]).peer_id()
    }

    fn contact(name: &str, peer: PeerId) -> Contact {
        Contact { name: name.parse().unwrap(), peer, added: 7, addresses: Vec::new() }
    }

    fn add(book: &ContactBook, name: &str, peer: PeerId) -> Result<(), Failure> {
        book.change(|contacts| Ok(contacts.add(contact(name, peer))?))
    }

    #[test]
    fn what_was_said_is_there_the_next_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity/contacts.json");
        let book = ContactBook::at(&path);
        assert_eq!(book.read().unwrap(), Contacts::default());
        let address = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
        let laptop = Contact { addresses: vec![address], ..contact("laptop", peer(1)) };
        let said = book.change(|contacts| -> Result<_, Failure> {
            contacts.add(laptop)?;
            contacts.allow(peer(2))?;
            contacts.deny(peer(3))?;
            Ok(contacts.clone())
        });
        assert_eq!(book.read().unwrap(), said.unwrap());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_change_that_fails_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contacts.json");
        let book = ContactBook::at(&path);
        add(&book, "laptop", peer(1)).unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        let refused = book.change(|contacts| -> Result<(), Failure> {
            contacts.deny(peer(1))?;
            Ok(contacts.add(contact("laptop", peer(2)))?)
        });
        assert!(matches!(refused, Err(Failure::Contact(_))));
        assert_eq!(book.read().unwrap().standing(peer(1)), Standing::Contact);
        add(&book, "laptop", peer(1)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), before, "it is not written for nothing");
    }

    #[test]
    fn of_many_who_change_it_at_once_nobody_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let book = ContactBook::at(&folder.path().join("contacts.json"));
        std::thread::scope(|scope| {
            for seed in 0..16 {
                let book = &book;
                scope.spawn(move || add(book, &format!("node {seed}"), peer(seed)).unwrap());
            }
        });
        assert_eq!(book.read().unwrap().iter().count(), 16);
    }

    #[test]
    fn what_is_broken_or_of_later_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contacts.json");
        let book = ContactBook::at(&path);
        for (text, later) in
            [("", false), ("{}", false), ("{\"version\":1}", false), ("{\"version\":2,\"x\":[]}", true)]
        {
            Claim::take(&path).unwrap().replace(text.as_bytes()).unwrap();
            let refusal = add(&book, "laptop", peer(1)).unwrap_err();
            assert_eq!(
                matches!(refusal, Failure::Book(BookError::Later { version: 2, .. })),
                later,
                "{refusal}"
            );
            assert!(refusal.to_string().contains("contacts.json"), "{refusal}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_book_that_others_may_write_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contacts.json");
        let book = ContactBook::at(&path);
        add(&book, "laptop", peer(1)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        book.read().unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        assert!(matches!(book.read(), Err(BookError::File(FileError::Exposed { mode: 0o664, .. }))));
    }

    #[test]
    fn an_edited_file_that_contradicts_itself_keeps_people_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("contacts.json");
        let (one, two) = (peer(1), peer(2));
        let text = serde_json::json!({
            "version": 1,
            "contacts": [
                { "name": "a", "peer": one, "added": 1 },
                { "name": "A", "peer": two, "added": 1 },
                { "name": "b", "peer": one, "added": 1 },
            ],
            "allowed": [two],
            "denied": [two],
        });
        Claim::take(&path).unwrap().replace(text.to_string().as_bytes()).unwrap();
        let contacts = ContactBook::at(&path).read().unwrap();
        assert_eq!(contacts.iter().map(|contact| contact.peer).collect::<Vec<_>>(), [one]);
        assert_eq!((contacts.standing(two), contacts.allowed().count()), (Standing::Denied, 0));
    }
}
