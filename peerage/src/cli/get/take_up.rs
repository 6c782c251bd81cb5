//! `get` of what the daemon has already: the transfer takes over what this command says beyond it, or the command is refused.

use anyhow::{Result, anyhow};

use super::Get;
use crate::cli::App;
use crate::cli::follow::{Ended, Follower, Until};
use crate::errors::HintExt;
use crate::model::{FilePriority, FileView, Limits, PriorityRule, Problem, Role, State, TransferView};
use crate::pattern::Pattern;

/// Makes the transfer of `view` go on, with the limits, peers and files of this command too.
pub(super) async fn take_up(
    app: &App,
    args: &Get,
    follower: &mut Follower<'_>,
    view: &TransferView,
) -> Result<()> {
    let (control, id) = (follower.control(), follower.id);
    if args.seed.is_bounded() {
        return Err(anyhow!("--ratio and --time do not change transfer {id}, which is there already")).hint(
            format!(
                "`peerage remove {id}` forgets it and leaves its files; the same command adds it anew then"
            ),
        );
    }
    let limits = args.limits.limits();
    if limits != Limits::default() {
        control.limit(Some(id), limits).await?;
    }
    if !args.peers.peers.is_empty() {
        control.add_peers(id, args.peers.peers.clone()).await?;
    }
    if view.role == Role::Share {
        return Ok(());
    }
    let is_changed = view.state == State::Changed;
    if is_changed && args.overwrite {
        // The check of every byte is what ends the hold on files that their user edited.
        control.verify(id).await?;
    }
    if args.sequential || args.preallocate || (args.overwrite && !is_changed) {
        let told =
            "--sequential, --preallocate and --overwrite do not change a transfer that is there already";
        app.ui.warn(&Problem::new("unchanged", told));
    }
    let rules = !args.only.is_empty() || !args.priority.is_empty();
    if view.state == State::Error || (view.state == State::Paused && (view.finished.is_none() || rules)) {
        control.resume(id).await?;
    }
    let plain = args.only.is_empty() && args.priority.is_empty();
    if plain && (app.ui.raw || args.stream) {
        return Ok(());
    }
    // Files are known with the torrent.
    if let Ended::Interrupted = follower.follow(Until::Torrent, |_, _| Ok(())).await? {
        return Ok(());
    }
    let files = control.files(id).await?;
    if !args.only.is_empty() && !files.iter().any(|file| is_named(&args.only, file)) {
        return Err(anyhow!("no file matches {}", args.only.join(", ")))
            .hint(format!("`peerage show {id} --files` lists them; * and ? stop at /, ** does not"));
    }
    let normal = |glob: &str| PriorityRule { glob: glob.to_owned(), priority: FilePriority::Normal };
    let mut rules: Vec<PriorityRule> = args.only.iter().map(|glob| normal(glob)).collect();
    rules.extend(args.priority.iter().cloned());
    if plain && files.iter().any(|file| file.priority == FilePriority::Skip) {
        // Without a selection everything is wanted, also what an earlier command left out.
        rules.push(normal("**"));
    }
    if !rules.is_empty() {
        control.set_priorities(id, rules).await?;
    }
    Ok(())
}

/// Whether one of the globs, which were checked, means this file.
pub(super) fn is_named(globs: &[String], file: &FileView) -> bool {
    let patterns = globs.iter().filter_map(|glob| Pattern::new(glob).ok());
    patterns.into_iter().any(|pattern| pattern.matches(file.path.as_path()))
}
