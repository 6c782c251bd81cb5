//! A budget of bytes that downloads may take on disk, shared by stores.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that the downloads of all stores given this quota may occupy together.
#[derive(Clone, Debug)]
pub struct Quota {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit: AtomicU64,
    used: AtomicU64,
}

impl Quota {
    /// A quota of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { shared: Arc::new(Shared { limit: AtomicU64::new(limit), used: AtomicU64::new(0) }) }
    }

    /// Changes the limit; what is over it already stays, only further writes are refused.
    pub fn set_limit(&self, limit: u64) {
        self.shared.limit.store(limit, Ordering::Relaxed);
    }

    /// Bytes taken, and the limit.
    pub fn usage(&self) -> (u64, u64) {
        (self.shared.used.load(Ordering::Relaxed), self.shared.limit.load(Ordering::Relaxed))
    }

    /// Takes bytes that are on disk already, whether they fit or not.
    pub(crate) fn take_present(&self, bytes: u64) {
        self.shared.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes bytes if they fit.
    pub(crate) fn take(&self, bytes: u64) -> io::Result<()> {
        let limit = self.shared.limit.load(Ordering::Relaxed);
        let fits = |used: u64| used.checked_add(bytes).filter(|&after| after <= limit);
        match self.shared.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok(()),
            Err(used) => Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                format!("the quota for downloads is used up ({used} of {limit} bytes, {bytes} more needed)"),
            )),
        }
    }

    /// Gives bytes back.
    pub(crate) fn give_back(&self, bytes: u64) {
        self.shared.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_does_not_fit_and_says_why() {
        let quota = Quota::new(10);
        quota.take(7).unwrap();
        let error = quota.take(4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        assert_eq!(error.to_string(), "the quota for downloads is used up (7 of 10 bytes, 4 more needed)");
        quota.give_back(1);
        quota.take(4).unwrap();
        quota.set_limit(20);
        assert_eq!(quota.usage(), (10, 20));
        assert!(quota.take(u64::MAX).is_err());
    }
}
