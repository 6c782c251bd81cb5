//! Content for certain nodes alone: sealed with what everybody can know of them, opened with the key of one of them.
//!
//! The format is age (<https://age-encryption.org/v1>), to the X25519 key that belongs to a node's Ed25519 key. Who the nodes are does not show;
//! how long the content is does. Whatever is opened is as it was sealed, piece by piece; what was cut off or changed is an error.
//! It does not tell who sealed it: content comes by its name, from whoever gave that name.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use age::stream::{StreamReader, StreamWriter};
use age::{DecryptError, Decryptor, EncryptError, Encryptor, x25519};
use bech32::{Bech32, Hrp};
use zeroize::Zeroizing;

use crate::key::NodeKey;
use crate::public::PublicKey;

/// As many nodes as one content can be sealed for.
const RECIPIENTS_MAX: usize = 20;
/// What is read before it is known who can open it. The header of so many recipients has some 2,500 bytes.
const HEADER_LENGTH_MAX: usize = 4_096;

/// A node that content can be sealed for.
#[derive(Clone)]
pub struct Recipient(x25519::Recipient);

/// Why content cannot be sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// For nobody, or for too many.
    #[error("content is sealed for 1 to {RECIPIENTS_MAX} nodes, not for {0}")]
    Recipients(usize),
    /// It cannot be encrypted.
    #[error("encrypt for these nodes")]
    Encryption(#[source] EncryptError),
    /// The beginning cannot be written.
    #[error("write the beginning of sealed content")]
    Write(#[source] io::Error),
}

/// Why content cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is sealed for others.
    #[error("it is sealed for somebody else")]
    ForOthers,
    /// It is not sealed, or its beginning was changed.
    #[error("it does not begin as sealed content does")]
    Header,
    /// It cannot be read.
    #[error("read the beginning of sealed content")]
    Read(#[source] io::Error),
}

impl Recipient {
    /// The node with this key; `None` when nothing can be sealed for it: its key is not of Ed25519, or a weak one.
    #[expect(clippy::missing_panics_doc, reason = "32 bytes are an X25519 key, and are written as one")]
    pub fn of(key: &PublicKey) -> Option<Self> {
        let text = bech32::encode::<Bech32>(hrp("age"), &key.x25519()?).expect("32 bytes are not too long");
        Some(Self(text.parse().expect("it is written as age writes it")))
    }
}

impl fmt::Display for Recipient {
    /// As the program `age` takes it: `age1…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The secret half of a node's [`Recipient`].
fn identity(key: &NodeKey) -> x25519::Identity {
    let text = bech32::encode_upper::<Bech32>(hrp("age-secret-key-"), &*key.x25519());
    let text = Zeroizing::new(text.expect("32 bytes are not too long"));
    text.parse().expect("it is written as age writes it")
}

fn hrp(text: &str) -> Hrp {
    Hrp::parse(text).expect("a plain word")
}

/// What is written into it comes out of it sealed. [`Sealing::finish`] writes the end; without it nothing can be opened to its end.
#[must_use = "without its end it cannot be opened"]
pub struct Sealing<W: Write>(StreamWriter<W>);

/// Begins to seal content for `recipients`, who can open it each for themselves, into `out`.
///
/// # Errors
/// [`SealError`].
pub fn seal<W: Write>(recipients: &[Recipient], out: W) -> Result<Sealing<W>, SealError> {
    if !(1..=RECIPIENTS_MAX).contains(&recipients.len()) {
        return Err(SealError::Recipients(recipients.len()));
    }
    let recipients = recipients.iter().map(|recipient| &recipient.0 as &dyn age::Recipient);
    let encryptor = Encryptor::with_recipients(recipients).map_err(SealError::Encryption)?;
    encryptor.wrap_output(out).map(Sealing).map_err(SealError::Write)
}

impl<W: Write> Sealing<W> {
    /// Writes the end.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> fmt::Debug for Sealing<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealing")
    }
}

/// Sealed content, opened. Reading gives what was sealed, or an error of the kind `InvalidData` where it is not what was sealed any more.
/// Content that can be read from any place can be opened from any place.
pub struct Opened<R>(StreamReader<Guarded<R>>);

/// Opens sealed content with the key of a node that it is sealed for.
///
/// # Errors
/// [`OpenError`].
pub fn open<R: Read>(key: &NodeKey, input: R) -> Result<Opened<R>, OpenError> {
    let allowance = Arc::new(AtomicUsize::new(HEADER_LENGTH_MAX));
    let guarded = Guarded { input, allowance: Arc::clone(&allowance) };
    let sealed = Decryptor::new(guarded).map_err(refusal)?;
    let identity = identity(key);
    let opened = sealed.decrypt(std::iter::once(&identity as &dyn age::Identity)).map_err(refusal)?;
    allowance.store(usize::MAX, Ordering::Relaxed);
    Ok(Opened(opened))
}

fn refusal(error: DecryptError) -> OpenError {
    match error {
        DecryptError::NoMatchingKeys => OpenError::ForOthers,
        DecryptError::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => OpenError::Read(error),
        _ => OpenError::Header,
    }
}

impl<R: Read> Read for Opened<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl<R: Read + Seek> Seek for Opened<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl<R> fmt::Debug for Opened<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened")
    }
}

/// Ends where no header goes on: the parser of age reads until it has one, however long that takes.
struct Guarded<R> {
    input: R,
    /// How many bytes may still be read; `usize::MAX`: all.
    allowance: Arc<AtomicUsize>,
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let allowance = self.allowance.load(Ordering::Relaxed);
        if allowance == usize::MAX {
            return self.input.read(into);
        }
        let allowed = into.len().min(allowance);
        let read = self.input.read(into.get_mut(..allowed).unwrap_or_default())?;
        self.allowance.store(allowance - read, Ordering::Relaxed);
        Ok(read)
    }
}

impl<R: Seek> Seek for Guarded<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.input.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn key(seed: u8) -> NodeKey {
        NodeKey::from_seed([seed; 32])
    }

    fn sealed_for(seeds: &[u8], content: &[u8]) -> Vec<u8> {
        let recipients: Vec<Recipient> =
            seeds.iter().map(|seed| Recipient::of(&key(*seed).public()).unwrap()).collect();
        let mut sealing = seal(&recipients, Vec::new()).unwrap();
        sealing.write_all(content).unwrap();
        sealing.finish().unwrap()
    }

    fn read(seed: u8, sealed: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        open(&key(seed), sealed).unwrap().read_to_end(&mut content)?;
        Ok(content)
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
    }

    #[test]
    fn each_for_whom_it_is_sealed_can_open_it_and_nobody_else() {
        let sealed = sealed_for(&[1, 2], b"hello");
        assert_eq!(read(1, &sealed).unwrap(), b"hello");
        assert_eq!(read(2, &sealed).unwrap(), b"hello");
        assert!(matches!(open(&key(3), &*sealed), Err(OpenError::ForOthers)));
        assert_eq!(read(1, &sealed_for(&[1], b"")).unwrap(), b"");
    }

    #[test]
    fn content_is_sealed_for_some_but_not_for_too_many() {
        let recipient = Recipient::of(&key(1).public()).unwrap();
        assert!(matches!(seal(&[], Vec::new()), Err(SealError::Recipients(0))));
        assert!(matches!(seal(&vec![recipient; 21], Vec::new()), Err(SealError::Recipients(21))));
        // The longest header is read.
        let seeds: Vec<u8> = (1..=20).collect();
        assert_eq!(read(20, &sealed_for(&seeds, b"hello")).unwrap(), b"hello");
    }

    #[test]
    fn what_was_cut_off_or_changed_is_an_error() {
        let whole = content(200_000);
        let sealed = sealed_for(&[1], &whole);
        for length in [sealed.len() - 1, sealed.len() - 70_000, sealed.len() - 200_000] {
            let mut opened = Vec::new();
            let read = open(&key(1), &sealed[..length]).unwrap().read_to_end(&mut opened);
            assert!(read.is_err(), "{length}");
            assert!(whole.starts_with(&opened));
        }
        let mut changed = sealed;
        let at = changed.len() - 100_000;
        changed[at] ^= 1;
        assert_eq!(read(1, &changed).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn content_is_read_from_any_place() {
        let whole = content(300_000);
        let mut opened = open(&key(1), Cursor::new(sealed_for(&[1], &whole))).unwrap();
        for at in [299_990, 0, 65_530, 131_072, 200_000] {
            let mut part = vec![0; 10];
            opened.seek(SeekFrom::Start(at as u64)).unwrap();
            opened.read_exact(&mut part).unwrap();
            assert_eq!(part, whole[at..at + 10], "{at}");
        }
        assert_eq!(opened.seek(SeekFrom::End(0)).unwrap(), 300_000);
    }

    #[test]
    fn what_is_not_sealed_is_refused_soon() {
        let endless = |line: &[u8]| {
            b"age-encryption.org/v1\n".iter().chain(line.iter().cycle()).take(1 << 20).copied().collect()
        };
        let inputs: [Vec<u8>; 5] = [
            Vec::new(),
            b"hello".to_vec(),
            sealed_for(&[1], b"hello")[..100].to_vec(),
            endless(b"-> X25519 aaaa\n"),
            endless(b"-> a "),
        ];
        for input in inputs {
            let mut source = Cursor::new(&input);
            assert!(matches!(open(&key(1), &mut source), Err(OpenError::Header)));
            assert!(source.position() <= HEADER_LENGTH_MAX as u64);
        }
    }

    #[test]
    fn nothing_is_sealed_for_a_key_that_all_could_open_it_with() {
        // The neutral point: whatever is agreed on with it is zero.
        let weak = [&[0x08, 0x01, 0x12, 32, 1][..], &[0; 31]].concat();
        assert!(Recipient::of(&PublicKey::from_protobuf(&weak).unwrap()).is_none());
        let other = "08021221037777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99";
        let other = data_encoding::HEXLOWER.decode(other.as_bytes()).unwrap();
        assert!(Recipient::of(&PublicKey::from_protobuf(&other).unwrap()).is_none());
    }

    // What age-encryption 0.3.1 and @noble/curves 2.4.0 (npm) make of the key with the seed 1, 1, 1, …
    const RECIPIENT: &str = "age1rvd43h2sag2tvrdp0duse5p82nvhpjd6hpjwhv7q7vqklega8atsjue2se";
    const SEALED: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBGNS9TaGxUM1A2YTBUc3VMMHRIRTZqL3FMSHZ0eko5U210MisweENQ\
                          YVMwCmI1QndmNUdWTWVlS2l4cmYxR3ZOWWlJaEtadnlNRGI1cXpWNlJVUlM0Q2MKLS0tIG50dkh2eVowcXZEM0lzL2laNkM4\
                          RWNEWlpaRXhDZyt6TlJmVXFoQStEbUUKqS0rJg8M8/rTSUm0x+SuAR/7cqsPK+51g6ex/tWkwhRQd18AGg==";

    #[test]
    fn other_programs_seal_the_same() {
        assert_eq!(Recipient::of(&key(1).public()).unwrap().to_string(), RECIPIENT);
        let sealed = data_encoding::BASE64.decode(SEALED.as_bytes()).unwrap();
        assert_eq!(read(1, &sealed).unwrap(), b"hello");
    }

    #[test]
    fn the_secret_half_belongs_to_the_public_half() {
        for seed in 0..50 {
            let public = Recipient::of(&key(seed).public()).unwrap().to_string();
            assert_eq!(identity(&key(seed)).to_public().to_string(), public);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(open(&key(1), &*bytes).is_err());
            let _ = open(&key(1), &*[b"age-encryption.org/v1\n", &*bytes].concat());
        }
    }
}
