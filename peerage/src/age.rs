//! How long ago something was left, on machines whose clock may have been wrong since. One without a battery begins in 1970 and jumps to
//! today when the network answers: what it kept before that is minutes old and seems to be fifty years.
//!
//! Not here: what is deleted for its age, and who still uses it (`node/shelf.rs`, `spool.rs`).

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// No age is believed beyond this.
const BELIEVABLE: Duration = Duration::from_secs(366 * 86_400);

/// Whether `path` has been left alone for `kept`, which is less than a year. A time that only a wrong clock can have written, one to come
/// or one long before, tells nothing: then it counts from now on, and `path` gets the time of now.
pub fn is_older(path: &Path, kept: Duration) -> bool {
    let Ok(modified) = path.metadata().and_then(|found| found.modified()) else { return false };
    match SystemTime::now().duration_since(modified) {
        Ok(age) if age < BELIEVABLE => age >= kept,
        _ => {
            let renewed = File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
            if let Err(error) = renewed {
                tracing::debug!(path = %path.display(), %error, "its age stays unknown");
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_no_right_clock_wrote_counts_from_now() {
        let folder = tempfile::tempdir().unwrap();
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(86_400));
        let left = |time: SystemTime| {
            File::open(folder.path()).unwrap().set_modified(time).unwrap();
            is_older(folder.path(), day)
        };
        let age = || {
            let modified = folder.path().metadata().unwrap().modified().unwrap();
            SystemTime::now().duration_since(modified).unwrap_or_default()
        };
        assert!(left(SystemTime::now() - 2 * day));
        assert!(!left(SystemTime::now() - hour));
        assert!(age() >= hour);
        for wrong in [SystemTime::UNIX_EPOCH + hour, SystemTime::now() + 900 * day] {
            assert!(!left(wrong));
            assert!(age() < hour, "counted from now");
        }
        assert!(!is_older(&folder.path().join("none"), day));
    }
}
