//! `peerage config set`: one value replaced in the file, everything else left as it is.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};
use toml::{Spanned, Value};

use super::{Loaded, known, read_text};
use crate::errors::{HintExt, usage};

/// Sets `key` to what the user typed, in the file at `path`, which is created when it is missing. The file is replaced as a whole or not at all.
///
/// # Errors
/// Bad usage for an unknown key or a value that the key does not take; the file is unchanged then.
pub fn set(path: &Path, key: &str, typed: &str) -> Result<Value> {
    known(key)?;
    let old = match read_text(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => {
            return Err(error).with_context(|| format!("read the configuration {}", path.display()));
        }
    };
    // The rest of the file must be sound before a value can be blamed.
    let before = replaced(&old, key, None)?;
    Loaded::parse(&before, path.to_owned())?;
    let mut refusal = None;
    for value in readings(typed) {
        let text = replaced(&old, key, Some(&value))?;
        match Loaded::parse(&text, path.to_owned()) {
            Ok(_) => {
                write(path, &text).with_context(|| format!("write the configuration {}", path.display()))?;
                return Ok(value);
            }
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    let why = refusal.map(|error| error.root_cause().to_string()).unwrap_or_default();
    // The line is one of a file that was never written.
    let why =
        why.split_once(": ").filter(|(place, _)| place.starts_with("line ")).map_or(&*why, |(_, why)| why);
    Err(usage(format!("{key} cannot be {typed:?}: {why}")))
        .hint(format!("`peerage config get {key}` shows the present value"))
}

/// What the typed text may mean: text as it is, a TOML value, a list of words separated by commas.
fn readings(typed: &str) -> Vec<Value> {
    let list = typed.split(',').map(str::trim).filter(|word| !word.is_empty());
    let mut readings = vec![Value::String(typed.to_owned())];
    if let Ok(mut table) = format!("v = {typed}").parse::<toml::Table>()
        && let (Some(value), true) = (table.remove("v"), table.is_empty())
    {
        readings.insert(0, value);
    }
    readings.push(Value::Array(list.map(|word| Value::String(word.to_owned())).collect()));
    readings
}

/// `text` with the value of `key` replaced, added, or (`None`) its line removed.
fn replaced(text: &str, key: &str, value: Option<&Value>) -> Result<String> {
    let spans: BTreeMap<String, Spanned<Value>> = toml::from_str(text).unwrap_or_default();
    let mut new = text.to_owned();
    match (spans.get(key).map(Spanned::span), value) {
        (Some(span), Some(value)) => new.replace_range(span, &value.to_string()),
        (Some(span), None) => {
            let start = text.get(..span.start).and_then(|head| head.rfind('\n')).map_or(0, |at| at + 1);
            let end =
                text.get(span.end..).and_then(|tail| tail.find('\n')).map_or(text.len(), |at| span.end + at);
            // The line stays, empty: line numbers in messages must be those of the file.
            new.replace_range(start..end, "");
        }
        (None, Some(value)) => {
            if !new.is_empty() && !new.ends_with('\n') {
                new.push('\n');
            }
            new += &format!("{key} = {value}\n");
        }
        (None, None) => {}
    }
    Ok(new)
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    // A link to a file kept elsewhere stays a link.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut beside = target.clone().into_os_string();
    beside.push(format!(".{}", std::process::id()));
    let written = fs::File::create(&beside)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, &target));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::{BAD_USAGE, exit_status, problem};

    #[test]
    fn comments_and_order_survive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/config.toml");
        set(&path, "limit_up", "5M").unwrap();
        fs::write(
            &path,
            "# mine\nlan = false # quiet\nlimit_up = \"1M\"  # slow\nlisten = [\n  \"0.0.0.0:1\",\n]\n",
        )
        .unwrap();
        set(&path, "limit_up", "500k").unwrap();
        set(&path, "listen", "127.0.0.1:1, [::1]:2").unwrap();
        set(&path, "dht", "false").unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "# mine\nlan = false # quiet\nlimit_up = \"500k\"  # slow\nlisten = [\"127.0.0.1:1\", \"[::1]:2\"]\ndht = false\n"
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn values_are_read_as_the_key_needs_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        for (key, typed, shown) in [
            ("connections", "20", "20"),
            ("limit_down", "1048576", "1048576"),
            ("seed_ratio", "1.5", "1.5"),
            ("seed_time", "2h", "\"2h\""),
            ("data_dir", "/tmp/12", "\"/tmp/12\""),
            ("data_dir", "12", "\"12\""),
            ("listen", "127.0.0.1:1", "[\"127.0.0.1:1\"]"),
            ("listen", "[\"127.0.0.1:1\"]", "[\"127.0.0.1:1\"]"),
            ("encryption", "require", "\"require\""),
        ] {
            assert_eq!(set(&path, key, typed).unwrap().to_string(), shown, "{key} {typed}");
            Loaded::read(Some(&path)).unwrap();
        }
    }

    #[test]
    fn a_bad_value_leaves_the_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        for (key, typed) in [
            ("limit_up", "5X"),
            ("dht", "maybe"),
            ("lisen", "x"),
            ("connections", "-1"),
            ("api_listen", "0.0.0.0:1"),
        ] {
            let error = set(&path, key, typed).unwrap_err();
            assert_eq!(exit_status(&error), BAD_USAGE, "{key}");
            assert!(problem(&error).hint.is_some());
            assert!(!path.exists());
        }
    }
}
