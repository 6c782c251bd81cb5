//! Where a .torrent file goes: nothing is overwritten but another torrent.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use peerage_bittorrent::metainfo::Metainfo;

use crate::errors::{HintExt, usage};
use crate::link::read_torrent;
use crate::ui::{Shown, Ui};

/// A place for a .torrent.
#[derive(Debug)]
pub(super) enum Target {
    /// A file.
    File(PathBuf),
    /// stdout, which takes nothing else then.
    Stdout,
}

impl Target {
    /// What `--torrent` says, checked before any work is done. `source` is what the torrent will describe.
    ///
    /// # Errors
    /// Something is there that is not a torrent.
    pub(super) fn new(file: &Path, source: &Path, ui: &Ui) -> Result<Self> {
        if file == Path::new("-") {
            if ui.json {
                return Err(usage("--torrent - and --json both take stdout"));
            }
            return Ok(Self::Stdout);
        }
        if let (Ok(one), Ok(other)) = (fs::metadata(file), fs::metadata(source))
            && (one.dev(), one.ino()) == (other.dev(), other.ino())
        {
            return Err(anyhow!("{} is what the torrent is made of", Shown::path(file)))
                .hint("choose another name with --torrent FILE");
        }
        may_replace(file)?;
        Ok(Self::File(file.to_owned()))
    }

    /// Writes the torrent, whole or not at all.
    ///
    /// # Errors
    /// The system's; or something that is not a torrent has appeared there.
    pub(super) fn write(&self, ui: &Ui, bytes: &[u8]) -> Result<()> {
        let file = match self {
            Self::Stdout => return Ok(ui.bytes(bytes)?),
            Self::File(file) => file,
        };
        may_replace(file)?;
        let mut beside = file.as_os_str().to_owned();
        beside.push(format!(".{:08x}.new", rand::random::<u32>()));
        let at = || format!("write {}", Shown::path(file));
        // In a folder of others something may lie there, or a link that leads to something.
        let mut new = File::create_new(&beside).with_context(at)?;
        new.write_all(bytes)
            .and_then(|()| fs::rename(&beside, file))
            .inspect_err(|_| {
                // What was begun is of no use.
                let _ = fs::remove_file(&beside);
            })
            .with_context(at)?;
        ui.say(format!("Wrote {}.", Shown::path(file)));
        Ok(())
    }
}

fn may_replace(file: &Path) -> Result<()> {
    match fs::metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("write {}", Shown::path(file))),
        Ok(found) if found.is_file() && found.len() == 0 => return Ok(()),
        Ok(found)
            if found.is_file() && read_torrent(file).is_ok_and(|bytes| Metainfo::parse(&bytes).is_ok()) =>
        {
            return Ok(());
        }
        Ok(_) => {}
    }
    Err(anyhow!("{} exists and is not a torrent: it is left as it is", Shown::path(file)))
        .hint("choose another name with --torrent FILE, or - for stdout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_torrent_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let ui = Ui::new(false, true, true);
        let (source, file) = (folder.path().join("b.bin"), folder.path().join("x"));
        fs::write(&source, "mine").unwrap();
        assert!(Target::new(&source, &source, &ui).is_err());
        fs::write(&file, "not a torrent").unwrap();
        assert!(Target::new(&file, &source, &ui).is_err());
        assert!(Target::new(folder.path(), &source, &ui).is_err());
        fs::remove_file(&file).unwrap();
        let target = Target::new(&file, &source, &ui).unwrap();
        let torrent =
            [&b"d4:infod6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces20:"[..], &[7; 20], b"ee"].concat();
        target.write(&ui, &torrent).unwrap();
        Target::new(&file, &source, &ui).unwrap().write(&ui, &torrent).unwrap();
        // It came in between.
        fs::write(&file, "not a torrent").unwrap();
        assert!(target.write(&ui, &torrent).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"not a torrent");
        // Nor is a neighbour, whatever it is called.
        fs::remove_file(&file).unwrap();
        let beside = folder.path().join(format!("x.{}", std::process::id()));
        std::os::unix::fs::symlink(&source, &beside).unwrap();
        target.write(&ui, &torrent).unwrap();
        assert_eq!(fs::read(&source).unwrap(), b"mine");
        assert!(beside.is_symlink() && file.is_file() && !file.is_symlink());
        // A torrent is never replaced by the one that describes it.
        fs::write(&file, &torrent).unwrap();
        assert!(Target::new(&file, &file, &ui).is_err());
    }
}
