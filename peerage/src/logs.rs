//! Structured logs on stderr.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How lines of the log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The environment variable with a filter such as `peerage=debug,warn`; it overrides `-v`.
pub const FILTER_VARIABLE: &str = "PEERAGE_LOG";

/// Starts logging. Without a filter in the environment, `verbose` counts up from `usual`: warn, info, debug, trace.
pub fn start(format: LogFormat, verbose: u8, daemon: bool, colour: bool) {
    let level = match verbose + u8::from(daemon) {
        0 => "error",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    // Libraries below only matter when something is searched in them.
    let usual = if verbose >= 3 {
        level.to_owned()
    } else {
        format!(
            "warn,peerage={level},peerage_bittorrent={level},peerage_content={level},peerage_swarm={level}"
        )
    };
    let usual = if level == "error" { level.to_owned() } else { usual };
    let filter = EnvFilter::builder()
        .parse(std::env::var(FILTER_VARIABLE).ok().filter(|text| !text.is_empty()).unwrap_or(usual.clone()))
        .unwrap_or_else(|_| EnvFilter::new(usual));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_writer(std::io::stderr)
        .with_ansi(colour && std::io::stderr().is_terminal());
    // A second start (tests in one process) changes nothing.
    let _ = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
