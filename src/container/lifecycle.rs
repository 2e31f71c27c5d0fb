//! The verbs that start processes.

use super::options::{Checkpoint, Create, Exec, Global, Restore, Run, Start};
use crate::error::{Error, Result, Stage};
use crate::state::Record;

fn missing(verb: &str) -> Error {
    Error::new(Stage::Args, format!("{verb} is not part of this build"))
}

/// Makes a container that waits for `start`.
pub fn create(_global: &Global, _args: &Create) -> Result<()> {
    Err(missing("create"))
}

/// Runs the program of a created container.
pub fn start(_global: &Global, _args: &Start) -> Result<()> {
    Err(missing("start"))
}

/// Creates and starts a container; its exit status.
pub fn run(_global: &Global, _args: &Run) -> Result<u8> {
    Err(missing("run"))
}

/// Runs one more process; its exit status.
pub fn exec(_global: &Global, _args: &Exec) -> Result<u8> {
    Err(missing("exec"))
}

/// Saves a running container.
pub fn checkpoint(_global: &Global, _args: &Checkpoint) -> Result<()> {
    Err(missing("checkpoint"))
}

/// Brings a saved container back; its exit status.
pub fn restore(_global: &Global, _args: &Restore) -> Result<u8> {
    Err(missing("restore"))
}

/// Runs the poststop hooks of a container that was deleted; `config` is its config.json.
pub fn poststop(_global: &Global, _record: &Record, _config: &[u8]) -> Result<()> {
    Err(missing("poststop"))
}
