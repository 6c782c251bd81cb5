//! `peerage config`.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::Global;
use crate::config::{Loaded, Origin, known, set, usual_path};
use crate::ui::{Shown, Ui};

/// Show or change the configuration
///
/// Without a subcommand: every key with its value and where that comes from.
#[derive(Debug, Args)]
pub(super) struct ConfigCommand {
    #[command(subcommand)]
    command: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Print where the file is
    Path,
    /// Print the effective value of one key
    Get {
        /// The key
        key: String,
    },
    /// Write one value into the file; comments in it stay
    Set {
        /// The key
        key: String,
        /// The value: a number, true or false, text, or a list separated by commas
        value: String,
    },
}

pub(super) fn run(args: ConfigCommand, global: &Global, ui: Ui) -> Result<u8> {
    let path = global.config.clone().unwrap_or_else(usual_path);
    match args.command {
        // A file that is broken can still be found and repaired.
        Some(Verb::Path) if ui.json => ui.object(&json!({ "path": path }))?,
        Some(Verb::Path) => ui.path(&path)?,
        Some(Verb::Set { key, value }) => {
            let value = set(&path, &key, &value)?;
            if ui.json {
                ui.object(&json!({ "key": key, "value": value }))?;
            }
            ui.say(format!("{key} = {} in {}", Shown::text(&value.to_string()), Shown::path(&path)));
            ui.say("A daemon that runs goes on as it is until it is started again.");
        }
        Some(Verb::Get { key }) => {
            known(&key)?;
            for (found, value, origin) in super::load(global)?.entries() {
                if found.name == key {
                    match (ui.json, &value) {
                        (true, _) => {
                            ui.object(&json!({ "key": key, "value": value, "origin": origin_word(&origin) }))?
                        }
                        (false, toml::Value::String(text)) => ui.data(Shown::text(text))?,
                        (false, value) => ui.data(Shown::text(&value.to_string()))?,
                    }
                }
            }
        }
        None => list(&super::load(global)?, ui)?,
    }
    Ok(0)
}

/// Every key; the text is a TOML file itself.
fn list(loaded: &Loaded, ui: Ui) -> Result<()> {
    for (key, value, origin) in loaded.entries() {
        let word = origin_word(&origin);
        if ui.json {
            ui.object(&json!({ "key": key.name, "value": value, "origin": word, "about": key.about }))?;
        } else {
            ui.data(format!("# {} ({word})", key.about))?;
            ui.data(format!("{} = {}", key.name, Shown::text(&value.to_string())))?;
        }
    }
    ui.say(format!("\nThe file is {}.", Shown::path(&loaded.path)));
    Ok(())
}

fn origin_word(origin: &Origin) -> &'static str {
    match origin {
        Origin::Default => "default",
        Origin::File => "file",
        Origin::Flag => "flag",
    }
}
