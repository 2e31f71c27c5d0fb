//! The command line: argv to values, values to calls of `container`, results to text, errors to one line.
//!
//! The only module that prints. It decides nothing about containers. Tables of commands ([`verbs`]) and flags
//! ([`flags`]) are the single source of the parser, help, manual pages and completions.
//!
//! The modules, in the order of the work: `args` and the options of `container` are what a command is told; `scan` reads argv by
//! the tables (`elsewhere`: what they are called in engines), `put` a value by the type of its field (`narrow`: not all of them), `validate` all of them together (`apart`: their files); `log` is where errors and
//! warnings go; `dispatch` calls the verb, and `output`, `list` (with `filter`), `plan`, `check`, `features`, `version`, `help`,
//! `man` (of `manual`) and `completion` print; `insight` executes the program that has the rest.

pub mod apart;
pub mod args;
mod check;
pub mod completion;
mod dispatch;
mod elsewhere;
pub mod features;
pub mod filter;
pub mod flags;
mod help;
pub mod insight;
mod list;
pub mod log;
pub mod man;
pub mod manual;
mod narrow;
pub mod output;
pub mod plan;
pub mod put;
pub mod scan;
mod validate;
pub mod verbs;
mod version;

use std::ffi::OsString;

use log::{Level, Log};
use verbs::Request;

pub use scan::Parsed;
pub use version::VERSION;

use crate::container::environment::Environment;
use crate::container::options;
use crate::error::{Context, Error, Result, Stage};
use crate::state::{Caller, StateRoot};
use crate::sys::process::{self, Exit};
use crate::sys::{arguments, interrupt};

/// Parses argv without the program's name.
pub fn parse(argv: &[OsString]) -> Result<Parsed> {
    scan::head(argv).parse()
}

/// The whole program; its exit status.
pub fn main() -> u8 {
    main_of(dispatch::dispatch)
}

/// What does a command; the exit status.
pub type Dispatch = fn(&options::Global, &Request) -> Result<u8>;

/// A program with this command line, which does what `dispatch` says; its exit status.
pub fn main_of(dispatch: Dispatch) -> u8 {
    let argv: Vec<OsString> = arguments::all().into_iter().skip(1).collect();
    let head = scan::head(&argv);
    let global: &args::GlobalFlags = &head.global;
    let prepared = process::prepare().at(Stage::Host, || "open /dev/null for a closed standard stream");
    let opened = prepared
        .and_then(|()| refuse_setuid())
        .and_then(|()| Log::open(global.log_destination().as_deref(), global.log_format, global.level()));
    let verb = head.verb();
    let mut doing = ErrorReport {
        subject: verb.map_or_else(String::new, |verb| verb.row().name.to_owned()),
        failure: head.failure_status(),
    };
    let mut log = match opened {
        Ok(log) => log,
        Err(error) => {
            Log::stderr(global.log_format).error(&doing.subject, &error);
            return doing.failure;
        }
    };
    match run(head, &mut log, &mut doing, dispatch) {
        Ok(status) => status,
        Err(error) => {
            log.error(&doing.subject, &error.asked_to_end(interrupt::words()));
            // As a shell shows the signal's own action.
            interrupt::by().map_or(doing.failure, |signal| Exit::Signal(signal).status() as u8)
        }
    }
}

/// How an error is reported.
struct ErrorReport {
    /// The command and the container.
    subject: String,
    /// The exit status.
    failure: u8,
}

/// Whoever may run it could have every file of the host as a volume.
fn refuse_setuid() -> Result<()> {
    if process::is_setuid() {
        return Err(Error::new(Stage::Host, "brisk has another user's rights than its caller's").with_hint(
            "`chmod ug-s` and `setcap -r` brisk: whoever could run it so would be root; without, brisk is rootless",
        ));
    }
    Ok(())
}

/// `doing` gets what an error is reported as, as soon as it is known.
fn run(head: scan::Head<'_>, log: &mut Log, doing: &mut ErrorReport, dispatch: Dispatch) -> Result<u8> {
    let (global, request) = match head.parse()? {
        Parsed::Text(text) => return output::print(&text).map(|()| 0),
        Parsed::Request(global, request) => (global, request),
    };
    let args::GlobalFlags {
        tolerance,
        trust_annotations,
        // `resolve`.
        root: _,
        // `GlobalFlags::cgroups`.
        systemd_cgroup: _,
        cgroup_manager: _,
        // Before the command is parsed, by `main_of`: `GlobalFlags::log_destination`, `GlobalFlags::level`, and `main_of` itself.
        log: _,
        systemd_log: _,
        log_level: _,
        debug: _,
        log_format: _,
        // `Head::parse`.
        version: _,
    } = &global;
    *doing = ErrorReport { subject: request.subject(), failure: request.failure_status() };
    if request.gives_stderr_away() {
        log.give_stderr_away();
    }
    let log = &*log;
    let warn = |message: &str| log.message(Level::Warning, message);
    let debug = |message: &str| log.message(Level::Debug, message);
    let debug: Option<&dyn Fn(&str)> = if log.shows(Level::Debug) { Some(&debug) } else { None };
    let root = resolve(&global)?;
    let (cgroups, tolerance) = (global.cgroups(), *tolerance);
    let environment = Environment::read();
    let trust_annotations = trust_annotations.clone();
    let global = options::Global { environment, root, cgroups, tolerance, trust_annotations, warn: &warn, debug };
    let status = dispatch(&global, &request)?;
    if log.shows(Level::Info) {
        log.message(Level::Info, &format!("{}: done", doing.subject));
    }
    Ok(status)
}

/// The one decision that needs the caller's surroundings.
fn resolve(global: &args::GlobalFlags) -> Result<StateRoot> {
    match &global.root {
        Some(root) if root.is_absolute() => StateRoot::choose(Some(root), root, &Caller::default()),
        Some(root) => {
            let cwd = std::env::current_dir().at(Stage::Host, || "read the current directory")?;
            StateRoot::choose(Some(root), &cwd, &Caller::default())
        }
        None => StateRoot::choose(None, std::path::Path::new("/"), &Caller::probe()?),
    }
}
