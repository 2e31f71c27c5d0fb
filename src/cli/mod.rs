//! The command line: argv to values, values to calls of `container`, results to text, errors to one line.
//!
//! The only module that prints. It decides nothing about containers. Tables of commands ([`verbs`]) and flags
//! ([`flags`]) are the single source of the parser, help, manual pages and completions.

pub mod args;
mod check;
mod completion;
mod dispatch;
pub mod features;
pub mod flags;
pub mod log;
mod man;
pub mod output;
pub mod plan;
pub mod scan;
pub mod template;
pub mod tree;
pub mod values;
pub mod verbs;

use std::ffi::OsString;

use args::Request;
use log::{Level, Log};
use scan::Wanted;

use crate::container::environment::Environment;
use crate::container::options;
use crate::error::{Context, Error, Result, Stage};
use crate::state::{Identity, Root};
use crate::sys::process;

/// The version of brisk.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of the runtime specification.
pub const SPEC_VERSION: &str = "1.3.0";
/// The commit brisk was built from; set by the Makefile.
pub const COMMIT: &str = match option_env!("BRISK_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Exit status of errors; what runc uses, for bad arguments too.
const FAILURE: u8 = 1;
/// Exit status of a failed `exec`, as runc: 1 could be the program's own.
const EXEC_FAILURE: u8 = 255;

/// A parsed command line.
#[derive(Debug)]
pub enum Parsed {
    /// Print this and end.
    Text(String),
    /// Do this.
    Request(args::Global, Box<Request>),
}

/// Parses argv without the program's name.
pub fn parse(argv: &[OsString]) -> Result<Parsed> {
    let scan = scan::scan(argv)?;
    match scan.wanted {
        Wanted::Help(about) => Ok(Parsed::Text(tree::help(about))),
        Wanted::Version => {
            Ok(Parsed::Text(format!("brisk version {VERSION}\ncommit: {COMMIT}\nspec: {SPEC_VERSION}\n")))
        }
        Wanted::Verb(verb) => {
            let global = args::global(&scan.global)?;
            let request = args::request(verb, &scan.rest)?;
            Ok(Parsed::Request(global, Box::new(request)))
        }
    }
}

/// The whole program; its exit status.
pub fn main() -> u8 {
    let argv: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (destination, format) = scan::log_flags(&argv);
    let prepared = process::prepare().at(Stage::Host, || "open /dev/null for a closed standard stream");
    let log = match prepared.and_then(|()| Log::open(destination.as_deref(), format.as_deref())) {
        Ok(log) => log,
        Err(error) => {
            Log::stderr().error("", &error);
            return FAILURE;
        }
    };
    let mut doing = Doing { what: String::new(), failure: FAILURE };
    match run(&argv, log, &mut doing) {
        Ok(status) => status,
        Err((log, error)) => {
            log.error(&doing.what, &error);
            doing.failure
        }
    }
}

/// What an error is reported as.
struct Doing {
    what: String,
    failure: u8,
}

fn run(argv: &[OsString], log: Log, doing: &mut Doing) -> std::result::Result<u8, (Log, Error)> {
    let (global, request) = match parse(argv) {
        Ok(Parsed::Text(text)) => return output::print(&text).map(|()| 0).map_err(|error| (log, error)),
        Ok(Parsed::Request(global, request)) => (global, request),
        Err(error) => {
            if scan::scan(argv).is_ok_and(|scan| matches!(scan.wanted, Wanted::Verb(verbs::Verb::Exec))) {
                doing.failure = EXEC_FAILURE;
            }
            return Err((log, error));
        }
    };
    doing.what = dispatch::subject(&request);
    if matches!(*request, Request::Exec(_)) {
        doing.failure = EXEC_FAILURE;
    }
    let log = match global.level.as_deref().map(|name| (name, Level::named(name))) {
        None => log,
        Some((_, Some(level))) => log.at_level(level),
        Some((name, None)) => {
            let error = Error::new(Stage::Args, format!("--log-level {name:?}: must be error, warning, info or debug"));
            return Err((log, error));
        }
    };
    let done = resolve(&global).and_then(|root| {
        let warn = |message: &str| log.message(Level::Warning, message);
        let debug = |message: &str| log.message(Level::Debug, message);
        let debug: Option<&dyn Fn(&str)> = if log.shows(Level::Debug) { Some(&debug) } else { None };
        let (manager, rootless, environment) = (global.manager, global.rootless, Environment::read());
        let global = options::Global { environment, root, manager, rootless, warn: &warn, debug };
        dispatch::dispatch(&global, &request)
    });
    if done.is_ok() && log.shows(Level::Info) {
        log.message(Level::Info, &format!("{}: done", doing.what));
    }
    done.map_err(|error| (log, error))
}

/// The one decision that needs the caller's surroundings.
fn resolve(global: &args::Global) -> Result<Root> {
    match &global.root {
        Some(root) if root.is_absolute() => Root::choose(Some(root), root, &Identity::default()),
        Some(root) => {
            let cwd = std::env::current_dir().at(Stage::Host, || "read the current directory")?;
            Root::choose(Some(root), &cwd, &Identity::default())
        }
        None => Root::choose(None, std::path::Path::new("/"), &Identity::probe()?),
    }
}
