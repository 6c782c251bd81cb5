//! `peerage completions` and `peerage man`: made of the definition of the command line.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use clap_complete::Shell;

use super::{App, command};
use crate::ui::{OutputError, Shown};

/// Print the completions for a shell
///
/// For bash: peerage completions bash > ~/.local/share/bash-completion/completions/peerage
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

/// Print the man page, or write all of them into a folder
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Write a page for each command into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn completions(_app: &App, args: &Completions) -> Result<u8> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "peerage", &mut text);
    write(&text)
}

pub(super) fn man(app: &App, args: &Man) -> Result<u8> {
    let Some(folder) = &args.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command()).render(&mut page).context("make the man page")?;
        return write(&page);
    };
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(command(), folder))
        .with_context(|| format!("write man pages into {}", Shown::path(folder)))?;
    app.ui.say(format!("Wrote the man pages into {}.", Shown::path(folder)));
    Ok(0)
}

fn write(bytes: &[u8]) -> Result<u8> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(OutputError::from)?;
    Ok(0)
}
