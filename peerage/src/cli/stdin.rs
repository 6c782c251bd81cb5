//! stdin as a file: what `share -` and `hash -` read.

use std::fs::File;
use std::io;

use anyhow::{Context, Result};

use super::App;
use crate::spool::{STDIN, Spool};

/// Reads stdin to its end into a file called `name` below the data directory; `None` when it was interrupted, and nothing is left then.
///
/// # Errors
/// The system's, or a name that is none.
pub(super) async fn spool(app: &App, name: &str) -> Result<Option<Spool>> {
    let at = || "read stdin into the data directory";
    let spool = Spool::file(&app.loaded.config.data_dir.join(STDIN), name).with_context(at)?;
    let mut file = File::create_new(spool.path()).with_context(at)?;
    app.ui.say("Reading stdin …");
    let read = tokio::task::spawn_blocking(move || io::copy(&mut io::stdin().lock(), &mut file));
    match app.quit.unless(read).await {
        Some(read) => read?.with_context(at).map(|_| Some(spool)),
        None => Ok(None),
    }
}
