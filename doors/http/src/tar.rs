//! Archives: the `ustar` format of POSIX, with GNU's way to say what does not fit into its fields.

/// Everything in an archive begins at a multiple of it.
pub(crate) const BLOCK: usize = 512;
/// Zeros that end an archive.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];
/// Bytes of the fields for a name and the target of a link.
const NAME_MAX: usize = 100;
/// The largest size that eleven octal digits hold.
const OCTAL_MAX: u64 = 0o777_7777_7777;

/// What is in an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// A file, whose bytes follow the head, padded.
    File(u64),
    /// A folder.
    Folder,
    /// A symbolic link, and where to.
    Link(&'a [u8]),
}

/// What is kept of it beside its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) mode: Option<u32>,
    /// Seconds since 1970.
    pub(crate) mtime: Option<u64>,
}

/// The head of one item.
pub(crate) fn head(path: &[u8], item: Item<'_>, attributes: Attributes) -> Vec<u8> {
    let mut out = Vec::with_capacity(BLOCK);
    let path = match item {
        Item::Folder => [path, b"/"].concat(),
        _ => path.to_vec(),
    };
    let target = if let Item::Link(target) = item { target } else { &[] };
    put_long(&mut out, b'K', target);
    put_long(&mut out, b'L', &path);
    let (kind, size, mode) = match item {
        Item::File(size) => (b'0', size, 0o644),
        Item::Folder => (b'5', 0, 0o755),
        Item::Link(_) => (b'2', 0, 0o777),
    };
    let attributes = Attributes { mode: Some(attributes.mode.unwrap_or(mode) & 0o7777), ..attributes };
    put_block(&mut out, &path, kind, size, target, attributes);
    out
}

/// Zeros that follow a file of so many bytes.
pub(crate) fn padding(size: u64) -> &'static [u8] {
    // Less than a block, so it fits.
    let behind = (size % BLOCK as u64) as usize;
    &END[..if behind == 0 { 0 } else { BLOCK - behind }]
}

/// A name that has no room in its field, in a block of its own before (GNU's `K` and `L`).
fn put_long(out: &mut Vec<u8>, kind: u8, name: &[u8]) {
    if name.len() <= NAME_MAX {
        return;
    }
    let size = name.len() as u64 + 1;
    put_block(out, b"././@LongLink", kind, size, &[], Attributes { mode: Some(0), mtime: None });
    out.extend_from_slice(name);
    out.push(0);
    out.extend_from_slice(padding(size));
}

fn put_block(out: &mut Vec<u8>, name: &[u8], kind: u8, size: u64, target: &[u8], attributes: Attributes) {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name[..name.len().min(NAME_MAX)]);
    put(100, format!("{:07o}", attributes.mode.unwrap_or_default()).as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, &number(size));
    put(136, &number(attributes.mtime.unwrap_or_default()));
    // The sum counts itself as spaces.
    put(148, b"        ");
    put(156, &[kind]);
    put(157, &target[..target.len().min(NAME_MAX)]);
    // GNU's own spelling, since its long names are used.
    put(257, b"ustar  \0");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.extend_from_slice(&block);
}

/// Eleven octal digits; what needs more, in binary as GNU has it.
fn number(value: u64) -> [u8; 12] {
    let mut field = [0; 12];
    if value > OCTAL_MAX {
        field[0] = 0x80;
        field[4..].copy_from_slice(&value.to_be_bytes());
    } else {
        field[..11].copy_from_slice(format!("{value:011o}").as_bytes());
    }
    field
}

/// The path of something in an archive, which must not lead out of it.
///
/// # Errors
/// The name that is no name.
pub(crate) fn joined(parent: &[u8], name: &[u8]) -> Result<Vec<u8>, String> {
    let is_name =
        !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | b'\\' | 0));
    if !is_name {
        return Err(String::from_utf8_lossy(name).into_owned());
    }
    Ok([parent, b"/", name].concat())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// What tar makes of it.
    fn listed(archive: &[u8]) -> String {
        use std::io::Write;
        let mut tar = Command::new("tar")
            .args([
                "--list",
                "--verbose",
                "--numeric-owner",
                "--utc",
                "--full-time",
                "--quoting-style=literal",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        tar.stdin.take().unwrap().write_all(archive).unwrap();
        let output = tar.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn tar_reads_what_is_written() {
        let long = "d/".repeat(60) + "file";
        let target = "t".repeat(150);
        let mut archive = Vec::new();
        let attributes = Attributes { mode: Some(0o100_750), mtime: Some(1_000_000_000) };
        archive.extend(head(b"root", Item::Folder, Attributes::default()));
        archive.extend(head(b"root/a", Item::File(3), attributes));
        archive.extend(b"abc");
        archive.extend(padding(3));
        archive.extend(head(long.as_bytes(), Item::File(512), Attributes::default()));
        archive.extend([7; 512]);
        archive.extend(padding(512));
        archive.extend(head(b"root/link", Item::Link(target.as_bytes()), Attributes::default()));
        archive.extend(END);
        let epoch = "1970-01-01 00:00:00";
        let lines = [
            format!("drwxr-xr-x 0/0 0 {epoch} root/"),
            "-rwxr-x--- 0/0 3 2001-09-09 01:46:40 root/a".to_owned(),
            format!("-rw-r--r-- 0/0 512 {epoch} {long}"),
            format!("lrwxrwxrwx 0/0 0 {epoch} root/link -> {target}"),
        ];
        let listed = listed(&archive);
        let listed: Vec<_> =
            listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(listed, lines);
    }

    #[test]
    fn sizes_beyond_eight_gibibytes_fit() {
        assert_eq!(&number(OCTAL_MAX)[..11], b"77777777777");
        assert_eq!(number(1 << 33), [0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn nothing_leads_out_of_an_archive() {
        assert_eq!(joined(b"root", b"a b"), Ok(b"root/a b".to_vec()));
        for name in [&b""[..], b".", b"..", b"a/b", b"../a", b"a\\b", b"a\0"] {
            assert!(joined(b"root", name).is_err());
        }
    }
}
