//! The command line. One definition per flag gives the parser, the help texts, the man pages and the completions.
//!
//! Each command is a module with its `Args` and a function that runs them; [`main`] parses, runs and turns the result into
//! an exit status. What needs a node asks [`session`] for one, here or in the daemon.

mod config;
mod contact;
mod flags;
mod follow;
mod generate;
mod get;
mod hash;
mod id;
mod inspect;
mod list;
mod manage;
mod session;
mod share;
mod stdin;
mod target;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::Loaded;
use crate::errors::{BAD_USAGE, exit_status, problem};
use crate::logs::{self, LogFormat};
use crate::model::Problem;
use crate::quit::Quit;
use crate::ui::{OutputError, Ui};

/// Share files and folders with anybody, get them from everybody who has them.
///
/// `peerage share PATH` prints a link, `peerage get LINK` fetches what it names. Files stay where they are, every byte
/// is verified, and everybody who downloads serves what is verified already. The BitTorrent programs of the world take part.
#[derive(Debug, Parser)]
#[command(
    name = "peerage",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Print one JSON object a line on stdout instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Never use colours; the environment variable NO_COLOR does the same
    #[arg(long, global = true)]
    no_color: bool,
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Log more to stderr; repeat for more still. PEERAGE_LOG takes a filter such as peerage=debug
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// How the log looks
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    log_format: LogFormat,
    /// Read this configuration file instead of the usual one
    #[arg(long, global = true, value_name = "FILE", env = "PEERAGE_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Keep what must be remembered, and find the daemon, in this folder
    #[arg(long, global = true, value_name = "DIR", env = "PEERAGE_DATA_DIR", hide_env_values = true)]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Share(share::Share),
    Get(get::Get),
    Up(up::Up),
    Down(up::Down),
    Ls(list::Ls),
    Show(list::Show),
    Peers(list::Peers),
    Pause(manage::Pause),
    Resume(manage::Resume),
    Remove(manage::Remove),
    Verify(manage::Verify),
    Limit(manage::Limit),
    Hash(hash::HashPath),
    Inspect(inspect::Inspect),
    Id(id::Id),
    Contact(contact::ContactCommand),
    Config(config::ConfigCommand),
    Completions(generate::Completions),
    Man(generate::Man),
}

/// What every command gets.
#[derive(Debug)]
struct App {
    ui: Ui,
    loaded: Loaded,
    quit: Quit,
    /// The global flags, to be handed to a daemon that is started.
    global: Global,
}

/// Runs the program with the arguments of the process.
pub fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(refusal) => return refused(&refusal),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(refusal) => return refused(&refusal),
    };
    let ui = Ui::new(cli.global.json, cli.global.quiet, cli.global.no_color);
    let status = match start(cli, ui) {
        Ok(status) => status,
        Err(error) if is_closed_pipe(&error) => 0,
        Err(error) => {
            ui.error(&problem(&error));
            exit_status(&error)
        }
    };
    ExitCode::from(status)
}

/// The definition of the command line.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Help and version are data; a mistake is told as JSON to a program that asked for JSON.
fn refused(refusal: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|arg| arg == "--json");
    if refusal.use_stderr() && json {
        let text = refusal.render().to_string();
        // Its first paragraph: which arguments are wrong stands in lines of their own.
        let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let message = lines.join(" ");
        let ui = Ui::new(true, false, true);
        ui.error(&Problem::new("usage", message.trim_start_matches("error: ")).hint("try --help"));
    } else {
        // Nothing can be done about a closed stdout.
        let _ = refusal.print();
    }
    ExitCode::from(if refusal.use_stderr() { BAD_USAGE } else { 0 })
}

fn start(cli: Cli, ui: Ui) -> Result<u8> {
    let daemon = matches!(cli.command, Command::Up(_));
    logs::start(cli.global.log_format, cli.global.verbose, daemon, ui.colour);
    // Decided here, once, for all of TLS; a second choice would be a mistake of this program.
    let _ = rustls::crypto::ring::default_provider().install_default();
    raise_open_files();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    let ended = runtime.block_on(Box::pin(run(cli, ui, daemon)));
    // Readers of stdin and the like may hang: nothing waits for them.
    runtime.shutdown_background();
    ended
}

/// Asks for as many open files as the system allows: shells begin with few, for the sake of programs that know no better.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

async fn run(cli: Cli, ui: Ui, daemon: bool) -> Result<u8> {
    let Cli { global, command } = cli;
    if let Command::Config(args) = command {
        return config::run(args, &global, ui);
    }
    let quit = Quit::listen(daemon).context("listen for signals")?;
    let loaded = load(&global)?;
    let app = App { ui, loaded, quit, global };
    match command {
        Command::Share(args) => share::run(app, args).await,
        Command::Get(args) => get::run(app, args).await,
        Command::Up(args) => up::run(app, args).await,
        Command::Hash(args) => hash::run(app, args).await,
        // The others leave nothing behind when they end at once.
        command => app.quit.unless(brief(&app, command)).await.unwrap_or_else(|| Ok(app.quit.status())),
    }
}

/// Commands that ask and answer.
async fn brief(app: &App, command: Command) -> Result<u8> {
    match command {
        Command::Share(_) | Command::Get(_) | Command::Up(_) | Command::Hash(_) => {
            unreachable!("it is no brief command")
        }
        Command::Down(_) => up::down(app).await,
        Command::Ls(args) => list::ls(app, args).await,
        Command::Show(args) => list::show(app, args).await,
        Command::Peers(args) => list::peers(app, args).await,
        Command::Pause(args) => manage::pause(app, args).await,
        Command::Resume(args) => manage::resume(app, args).await,
        Command::Remove(args) => manage::remove(app, args).await,
        Command::Verify(args) => manage::verify(app, args).await,
        Command::Limit(args) => manage::limit(app, args).await,
        Command::Inspect(args) => inspect::run(app, args).await,
        Command::Id(args) => id::run(app, &args),
        Command::Contact(args) => contact::run(app, args),
        Command::Completions(args) => generate::completions(app, &args),
        Command::Man(args) => generate::man(app, &args),
        Command::Config(args) => config::run(args, &app.global, app.ui),
    }
}

/// The configuration, with what the global flags change.
fn load(global: &Global) -> Result<Loaded> {
    let mut loaded = Loaded::read(global.config.as_deref())?;
    if let Some(data_dir) = &global.data_dir {
        loaded.config.data_dir.clone_from(data_dir);
        loaded.by_flag("data_dir");
    }
    Ok(loaded)
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<OutputError>().is_some_and(OutputError::is_closed_pipe))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn as_many_files_may_be_open_as_the_system_allows() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(64), ..before }).unwrap();
        raise_open_files();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    }
}
