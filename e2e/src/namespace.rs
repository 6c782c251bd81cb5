//! A network of its own for each test.
//!
//! [`alone`] runs a test a second time, as the first process of new network and process namespaces. Ports, multicast
//! groups and trackers of tests that run at the same time never meet, there is no way out to other machines, and the
//! kernel ends whatever the test started when the test ends, however it ends.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// Set in the inner process to the name of its test.
const INSIDE: &str = "PEERAGE_E2E_INSIDE";

/// The whole of a test, in seconds; a test that hangs is killed then.
const TEST_SECONDS_MAX: &str = "400";

/// Addresses of the loopback interface inside, beside 127.0.0.1: some programs refuse peers in 127/8.
pub const HOSTS: [&str; 8] =
    ["10.77.0.1", "10.77.0.2", "10.77.0.3", "10.77.0.4", "10.77.0.5", "10.77.0.6", "10.77.0.7", "10.77.0.8"];

/// Runs `test`, which must be a closure written in the test function itself, in namespaces of its own.
#[track_caller]
pub fn alone<F: FnOnce()>(test: F) {
    let name = name_of::<F>();
    if std::env::var(INSIDE).is_ok_and(|inside| inside == name) {
        set_up();
        return test();
    }
    let mut command = Command::new("timeout");
    command.args([
        "--signal=KILL",
        TEST_SECONDS_MAX,
        "unshare",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
    ]);
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        command.arg("--map-root-user");
    }
    command.arg(std::env::current_exe().unwrap()).args([
        "--exact",
        &name,
        "--nocapture",
        "--include-ignored",
    ]);
    let output = command.env(INSIDE, &name).output().unwrap();
    // `print!` and not the stream itself: the harness shows it only if the test failed.
    print!("{}", String::from_utf8_lossy(&output.stdout));
    print!("{}", String::from_utf8_lossy(&output.stderr));
    let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(output.status.success() && ran, "{name} failed inside its namespace: {}", output.status);
}

/// The path of the function that a closure was written in, without its crate: the name of the test.
fn name_of<F>() -> String {
    let path = std::any::type_name::<F>();
    let path = path.split_once("::").map_or(path, |(_, path)| path);
    path.trim_end_matches("::{{closure}}").to_owned()
}

fn set_up() {
    // There are no name servers inside: whoever asks is to hear so at once, and not when his patience ends.
    run("mount", &["--bind", "/dev/null", "/etc/resolv.conf"]);
    run("ip", &["link", "set", "lo", "up"]);
    for host in HOSTS {
        run("ip", &["address", "add", &format!("{host}/32"), "dev", "lo"]);
    }
    run("ip", &["address", "add", "fd77::1/128", "dev", "lo", "nodad"]);
}

/// Gives the network a real interface, `lan0` with 10.78.0.1/24 and fd78::1/64, over which multicast reaches every program inside.
pub fn add_lan() {
    run("ip", &["link", "add", "lan0", "type", "veth", "peer", "name", "lan1"]);
    run("ip", &["link", "set", "lan1", "up"]);
    run("ip", &["link", "set", "lan0", "up"]);
    run("ip", &["address", "add", "10.78.0.1/24", "dev", "lan0"]);
    run("ip", &["address", "add", "fd78::1/64", "dev", "lan0", "nodad"]);
    run("ip", &["route", "add", "default", "dev", "lan0"]);
}

/// Gives names to addresses, as lines of `/etc/hosts`.
pub fn set_hosts(lines: &str) {
    // The mount keeps it when its name is gone.
    let hosts = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(hosts.path(), format!("127.0.0.1 localhost\n{lines}")).unwrap();
    run("mount", &["--bind", hosts.path().to_str().unwrap(), "/etc/hosts"]);
}

/// Runs a command of the system to its end, which must be a good one.
#[track_caller]
pub fn run(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|problem| panic!("run {program}: {problem}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}
