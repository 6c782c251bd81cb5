//! Programs in JavaScript, from `e2e/js`.

use std::path::Path;
use std::process::{Command, Stdio};

/// A script of `e2e/js`, to be run.
pub fn command(script: &str, args: &[&str]) -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("js/node"));
    command.arg(script).args(args);
    command
}

/// What a script of `e2e/js` prints.
///
/// # Panics
/// When it fails.
pub fn output(script: &str, args: &[&str]) -> String {
    let output = command(script, args).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{script}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}
