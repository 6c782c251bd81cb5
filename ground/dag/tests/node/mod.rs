//! Runs scripts of e2e/js.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a script with this input: what it writes to standard output.
pub(crate) fn run(script: &str, arguments: &[&str], input: Vec<u8>) -> Vec<u8> {
    let node = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/js/node");
    let mut node = Command::new(node)
        .arg(script)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("e2e/js/node runs");
    let mut stdin = node.stdin.take().unwrap();
    // It writes before it has read everything.
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "{script} failed: see above");
    writer.join().unwrap();
    output.stdout
}

/// JSON, one value a line.
pub(crate) fn lines(output: &[u8]) -> Vec<serde_json::Value> {
    let lines = output.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}
