//! What tells whether a file is still the one that was read.

/// Identifies the state of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStamp {
    /// Bytes.
    pub length: u64,
    /// Modification time, nanoseconds since 1970. Programs set it as they like.
    pub modified_ns: i128,
    /// Inode number; 0 where there is none.
    pub inode: u64,
    /// When anything of the file changed last, nanoseconds since 1970: no program can set it. `None` where the system does not say, and in
    /// journals that were written before it was asked for.
    pub changed_ns: Option<i128>,
}

/// How a file compares with an earlier stamp of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// It holds the same bytes, as far as a stamp tells.
    Same,
    /// Nothing but the change time differs. It has another mode, owner, name or number of links, or it was edited and its modification
    /// time set back: only its bytes tell.
    Touched,
    /// It holds other bytes, or is another file.
    Other,
}

impl FileStamp {
    /// How a file that has the stamp `now` compares with one that had this.
    pub fn compare(&self, now: &Self) -> Likeness {
        let of_bytes = |stamp: &Self| (stamp.length, stamp.modified_ns, stamp.inode);
        if of_bytes(self) != of_bytes(now) {
            return Likeness::Other;
        }
        match (self.changed_ns, now.changed_ns) {
            (Some(then), Some(now)) if then != now => Likeness::Touched,
            _ => Likeness::Same,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: FileStamp = FileStamp { length: 7, modified_ns: -5, inode: 3, changed_ns: Some(9) };

    fn check(now: FileStamp, expected: Likeness) {
        assert_eq!((STAMP.compare(&now), now.compare(&STAMP)), (expected, expected), "{now:?}");
    }

    #[test]
    fn the_change_time_alone_is_no_change_of_bytes_but_a_reason_to_look() {
        check(STAMP, Likeness::Same);
        check(FileStamp { changed_ns: Some(10), ..STAMP }, Likeness::Touched);
        check(FileStamp { changed_ns: Some(8), ..STAMP }, Likeness::Touched);
        check(FileStamp { length: 8, ..STAMP }, Likeness::Other);
        check(FileStamp { modified_ns: 5, changed_ns: Some(10), ..STAMP }, Likeness::Other);
        check(FileStamp { inode: 4, changed_ns: Some(10), ..STAMP }, Likeness::Other);
    }

    #[test]
    fn a_change_time_that_is_not_known_says_nothing() {
        let unknown = FileStamp { changed_ns: None, ..STAMP };
        check(unknown, Likeness::Same);
        check(FileStamp { modified_ns: 0, ..unknown }, Likeness::Other);
        assert_eq!(unknown.compare(&unknown), Likeness::Same);
    }
}
