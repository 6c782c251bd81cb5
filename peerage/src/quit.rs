//! How the program is asked to end: SIGINT (Ctrl-C) and SIGTERM. The first asks, a second one insists.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::errors::{INTERRUPTED, TERMINATED};

/// Tells whether and by what the program was asked to end.
#[derive(Clone, Debug)]
pub struct Quit {
    /// Cancelled with the first signal.
    pub token: CancellationToken,
    status: Arc<AtomicU8>,
}

impl Quit {
    /// Listens from now on. A second signal ends the process at once. A terminal that is closed (SIGHUP) is no reason to end when `keep_on_hangup`.
    ///
    /// # Errors
    /// The system gives no signal handlers.
    pub fn listen(keep_on_hangup: bool) -> std::io::Result<Self> {
        let quit = Self { token: CancellationToken::new(), status: Arc::new(AtomicU8::new(0)) };
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut terminations = signal(SignalKind::terminate())?;
        // Handled, a hangup no longer ends the process.
        let hangups = if keep_on_hangup { Some(signal(SignalKind::hangup())?) } else { None };
        let told = quit.clone();
        tokio::spawn(async move {
            let _hangups = hangups;
            loop {
                let status = tokio::select! {
                    _ = interrupts.recv() => INTERRUPTED,
                    _ = terminations.recv() => TERMINATED,
                };
                if told.token.is_cancelled() {
                    std::process::exit(status.into());
                }
                told.status.store(status, Ordering::Relaxed);
                told.token.cancel();
            }
        });
        Ok(quit)
    }

    /// What `work` comes to; `None` when the program is asked to end before.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.token.run_until_cancelled(work).await
    }

    /// The exit status of what was ended by a signal; 0: by none.
    pub fn status(&self) -> u8 {
        self.status.load(Ordering::Relaxed)
    }
}
