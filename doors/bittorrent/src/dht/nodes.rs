//! Nodes remembered between runs: a text file with an address a line.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Nodes kept: enough that some are alive after weeks.
pub(super) const NODES_MAX: usize = 32;

/// Bytes read of the file; what is longer was not written by us.
const FILE_MAX: usize = 4 * 1024;

/// Reads what [`save`] wrote. Lines that are no addresses are skipped; a file that is not there holds none.
pub(super) fn load(path: &Path) -> Vec<SocketAddr> {
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(bytes.get(..FILE_MAX).unwrap_or(&bytes)).into_owned(),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(?path, %error, "cannot read the DHT's nodes");
            }
            return Vec::new();
        }
    };
    text.lines().filter_map(|line| line.trim().parse().ok()).take(NODES_MAX).collect()
}

/// Writes the first [`NODES_MAX`] nodes; a crash leaves the old file or the new one. Nothing is written when there
/// are none, so that a run without network does not forget them.
pub(super) fn save(path: &Path, nodes: &[SocketAddr]) -> io::Result<()> {
    if nodes.is_empty() {
        return Ok(());
    }
    let text: String = nodes.iter().take(NODES_MAX).map(|node| format!("{node}\n")).collect();
    let new = path.with_extension("new");
    // Whom we talk to is nobody else's business on this machine.
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: u16) -> Vec<SocketAddr> {
        (0..count).map(|port| SocketAddr::from(([192, 0, 2, 1], port))).collect()
    }

    #[test]
    fn nodes_survive_a_restart() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dht-nodes");
        assert!(load(&path).is_empty());
        save(&path, &nodes(500)).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load(&path), nodes(NODES_MAX as u16));
        save(&path, &[]).unwrap();
        assert_eq!(load(&path).len(), NODES_MAX, "a run without network forgets nobody");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_damaged_file_is_read_as_far_as_it_makes_sense() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dht-nodes");
        std::fs::write(&path, b"192.0.2.1:6881\r\nrubbish\n\xff\xff\n[::1]:1\n").unwrap();
        assert_eq!(load(&path), ["192.0.2.1:6881".parse().unwrap(), "[::1]:1".parse().unwrap()]);
    }
}
