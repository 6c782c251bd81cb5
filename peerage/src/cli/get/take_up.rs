//! `get` and `share` of what the daemon has already: the transfer takes over what this command says beyond it, or the command is refused.

use std::path::Path;

use anyhow::{Result, anyhow};

use super::{Get, Output, PeerFlags, SeedFlags};
use crate::cli::App;
use crate::cli::follow::{Ended, Follower, Until};
use crate::control::Control;
use crate::errors::HintExt;
use crate::model::{
    FilePriority, FileView, Limits, PriorityRule, Problem, Role, State, TransferId, TransferView,
};
use crate::pattern::Pattern;
use crate::ui::Shown;

/// Makes the transfer of `view` go on, with the limits, peers and files of this command too.
pub(super) async fn take_up(
    app: &App,
    args: &Get,
    follower: &mut Follower<'_>,
    view: &TransferView,
    output: &Output,
) -> Result<()> {
    let (control, id) = (follower.control(), follower.id);
    if let (Some(_), Output::Folder(wanted)) = (args.out.as_ref().or(args.to.as_ref()), output) {
        lies_in(view, wanted)?;
    }
    take_over(control, id, &args.seed, args.limits.limits(), &args.peers).await?;
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
    if !rules.is_empty() && files.iter().all(|file| wanted_by(&rules, file) == FilePriority::Skip) {
        return Err(anyhow!("no file is left to fetch: the priorities skip every one")).hint(format!(
            "`peerage show {id} --files` lists them; `peerage pause {id}` stops the transfer"
        ));
    }
    if !rules.is_empty() {
        control.set_priorities(id, rules).await?;
    }
    Ok(())
}

/// What a transfer takes over whether it is shared or fetched: limits and peers, but no goal.
pub(in crate::cli) async fn take_over(
    control: &dyn Control,
    id: TransferId,
    seed: &SeedFlags,
    limits: Limits,
    peers: &PeerFlags,
) -> Result<()> {
    if seed.is_bounded() {
        return Err(anyhow!("--ratio and --time do not change transfer {id}, which is there already"))
            .hint(anew(id));
    }
    if limits != Limits::default() {
        control.limit(Some(id), limits).await?;
    }
    if !peers.peers.is_empty() {
        control.add_peers(id, peers.peers.clone()).await?;
    }
    Ok(())
}

/// Refuses to get into a folder what lies in another.
fn lies_in(view: &TransferView, wanted: &Path) -> Result<()> {
    let path = view.path.as_path();
    // Until its torrent is known, a transfer has no name in its folder.
    let folder = if view.files.is_some() { path.parent().unwrap_or(path) } else { path };
    let is_same = folder == wanted
        || matches!((folder.canonicalize(), wanted.canonicalize()), (Ok(one), Ok(other)) if one == other);
    if is_same {
        return Ok(());
    }
    let (id, folder, wanted) = (view.id, Shown::path(folder), Shown::path(wanted));
    Err(anyhow!("transfer {id} has it in {folder} already, not in {wanted}")).hint(anew(id))
}

fn anew(id: TransferId) -> String {
    format!("`peerage remove {id}` forgets it and leaves its files; the same command adds it anew then")
}

/// How much a file is wanted under these rules, the last of which counts.
fn wanted_by(rules: &[PriorityRule], file: &FileView) -> FilePriority {
    let matches = |rule: &&PriorityRule| is_named(std::slice::from_ref(&rule.glob), file);
    rules.iter().rev().find(matches).map_or(file.priority, |rule| rule.priority)
}

/// Whether one of the globs, which were checked, means this file.
pub(super) fn is_named(globs: &[String], file: &FileView) -> bool {
    let patterns = globs.iter().filter_map(|glob| Pattern::new(glob).ok());
    patterns.into_iter().any(|pattern| pattern.matches(file.path.as_path()))
}
