//! `peerage contact`.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::{Args, Subcommand};
use peerage_identity::{
    Contact, ContactBook, ContactError, ContactName, Contacts, NodeKey, PeerId, Standing,
};
use serde_json::json;

use super::App;
use crate::errors::{HintExt, usage};
use crate::identity::{IdentityFolder, advise};
use crate::model::Problem;
use crate::ui::{Shown, Table};

/// Name other nodes, and say who is let in and who is kept out
///
/// A contact is a node that you know and trust, by a name of your choice. Its peer id is what `peerage id` prints there.
///
/// For example: peerage contact add laptop 12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq
///
/// BitTorrent peers have no peer id: nothing that is said here is about them.
#[derive(Debug, Args)]
pub(super) struct ContactCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Give a node a name
    Add {
        /// What you call it: letters, digits, spaces and a few marks; capitals do not matter
        name: ContactName,
        /// Its peer id
        #[arg(value_name = "PEERID")]
        peer: PeerId,
    },
    /// List contacts, and who is allowed or denied
    #[command(visible_alias = "list")]
    Ls,
    /// Forget a name, or that a node is allowed; who is denied stays denied
    #[command(visible_alias = "rm")]
    Remove(Who),
    /// Let a node in that is no contact, or that was denied
    Allow(Who),
    /// Keep a node out; a contact keeps its name
    Deny(Who),
}

#[derive(Debug, Args)]
struct Who {
    /// A contact's name, or a peer id
    #[arg(value_name = "NAME|PEERID")]
    who: String,
}

pub(super) fn run(app: &App, args: ContactCommand) -> Result<u8> {
    let folder = IdentityFolder::of(&app.loaded.config.data_dir);
    let book = folder.contacts()?;
    advise(act(app, args.verb, &folder, &book))?;
    Ok(0)
}

fn act(app: &App, verb: Verb, folder: &IdentityFolder, book: &ContactBook) -> Result<()> {
    match verb {
        Verb::Add { name, peer } => {
            // Not made for this: a node that has no key yet has no id that could be given.
            let own = NodeKey::load(&folder.key_file()).ok().flatten();
            if own.is_some_and(|key| key.peer_id() == peer) {
                return Err(usage(format!("{peer} is this node itself")))
                    .hint("`peerage id` on the other machine prints its peer id");
            }
            add(app, book, name, peer)
        }
        Verb::Ls => list(app, &book.read()?),
        Verb::Remove(who) => change(app, book, &who, "removed", |contacts, peer| {
            if contacts.remove(peer) { Ok(()) } else { Err(unknown(&who.who)) }
        }),
        Verb::Allow(who) => change(app, book, &who, "allowed", |contacts, peer| Ok(contacts.allow(peer)?)),
        Verb::Deny(who) => change(app, book, &who, "denied", |contacts, peer| Ok(contacts.deny(peer)?)),
    }
}

fn add(app: &App, book: &ContactBook, name: ContactName, peer: PeerId) -> Result<()> {
    if !peer.is_possible() {
        return Err(usage(format!("no node has the peer id {peer}")))
            .hint("look for a slip of the pen: `peerage id` on the other machine prints it");
    }
    let added = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let contact = Contact { name, peer, added, addresses: Vec::new() };
    let contact = book.change(|contacts| -> Result<Contact> {
        let added = contacts.add(contact.clone());
        match &added {
            Err(ContactError::NameTaken { name, .. } | ContactError::Known { name, .. }) => {
                let hint = format!("`peerage contact remove '{name}'` forgets that name first");
                added.hint(hint)?;
            }
            _ => added?,
        }
        Ok(contacts.of(peer).cloned().unwrap_or(contact))
    })?;
    if app.ui.json {
        app.ui.object(&json!({ "event": "contact_added", "name": contact.name, "peer_id": peer }))?;
    }
    app.ui.say(format!("{} is {peer}.", contact.name));
    Ok(())
}

/// Does something with one node of the book, and says so.
fn change(
    app: &App,
    book: &ContactBook,
    who: &Who,
    verb: &str,
    change: impl FnOnce(&mut Contacts, PeerId) -> Result<()>,
) -> Result<()> {
    let (name, peer) = book.change(|contacts| -> Result<_> {
        let peer = find(contacts, &who.who)?;
        let name = contacts.of(peer).map(|contact| contact.name.clone());
        change(contacts, peer)?;
        Ok((name, peer))
    })?;
    if app.ui.json {
        app.ui.object(&json!({ "event": format!("contact_{verb}"), "name": name, "peer_id": peer }))?;
    }
    let named = name.map(|name| format!("  {name}")).unwrap_or_default();
    app.ui.say(format!("{verb} {peer}{named}"));
    Ok(())
}

/// The node that `who` names.
fn find(contacts: &Contacts, who: &str) -> Result<PeerId> {
    let named = who.parse::<ContactName>().ok().and_then(|name| contacts.named(&name));
    match named {
        Some(contact) => Ok(contact.peer),
        None => who.parse().ok().filter(|peer: &PeerId| peer.is_possible()).ok_or_else(|| unknown(who)),
    }
}

fn unknown(who: &str) -> anyhow::Error {
    let message = format!("{} is no contact", Shown::text(who));
    Problem::new("no_such_contact", message).hint("`peerage contact ls` lists them").into()
}

fn list(app: &App, contacts: &Contacts) -> Result<()> {
    let mut table = Table::new(&["name", "~state", "peer id"]);
    for (contact, peer) in everybody(contacts) {
        let state = standing_word(contacts.standing(peer));
        let name = contact.map(|contact| &contact.name);
        if app.ui.json {
            let added = contact.map(|contact| contact.added);
            let addresses = contact.map_or(&[][..], |contact| &contact.addresses);
            app.ui.object(&json!({ "name": name, "peer_id": peer, "state": state, "added": added, "addresses": addresses }))?;
        }
        table.row([
            name.map_or_else(|| "-".to_owned(), ToString::to_string),
            state.to_owned(),
            peer.to_string(),
        ]);
    }
    if app.ui.json {
        return Ok(());
    }
    let lines = table.lines(None);
    if lines.is_empty() {
        app.ui.say("No contacts. `peerage contact add NAME PEERID` adds one.");
    }
    for line in lines {
        app.ui.data(line)?;
    }
    Ok(())
}

/// Contacts by name, then those who have none.
fn everybody(contacts: &Contacts) -> impl Iterator<Item = (Option<&Contact>, PeerId)> {
    let nameless = contacts.allowed().chain(contacts.denied()).filter(|peer| contacts.of(*peer).is_none());
    contacts.iter().map(|contact| (Some(contact), contact.peer)).chain(nameless.map(|peer| (None, peer)))
}

fn standing_word(standing: Standing) -> &'static str {
    match standing {
        Standing::Contact => "contact",
        Standing::Allowed => "allowed",
        Standing::Denied => "denied",
        Standing::Stranger => "stranger",
    }
}
