//! `peerage id`.

use anyhow::Result;
use clap::Args;
use data_encoding::BASE64;
use serde_json::json;

use super::App;
use crate::identity::IdentityFolder;
use crate::ui::{Shown, qr_code};

/// Print who this node is: the peer id that others know it by
///
/// The key behind it is made by the first command that needs it. Whoever has the key is this node: it lies in the data directory,
/// and nobody but you may read it.
///
/// On another machine: peerage contact add laptop "$(ssh laptop peerage id)"
#[derive(Debug, Args)]
pub(super) struct Id {
    /// Print it as a QR code, too
    #[arg(long)]
    qr: bool,
}

pub(super) fn run(app: &App, args: &Id) -> Result<u8> {
    let folder = IdentityFolder::of(&app.loaded.config.data_dir);
    let is_new = !folder.key_file().exists();
    let key = folder.key()?;
    let id = key.peer_id();
    if app.ui.json {
        let public_key = BASE64.encode(&key.public().to_protobuf());
        app.ui.object(&json!({ "peer_id": id, "public_key": public_key, "key_file": folder.key_file() }))?;
        return Ok(0);
    }
    app.ui.data(id)?;
    if args.qr {
        let picture = qr_code(&id.to_string(), app.ui.colour, app.ui.talk_columns());
        app.ui.say(picture.unwrap_or_else(|why| why));
    }
    if is_new {
        app.ui.say(format!(
            "Its key is new, in {}. Whoever has it is this node.",
            Shown::path(&folder.key_file())
        ));
    }
    Ok(0)
}
