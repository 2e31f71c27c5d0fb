//! The commands that look at what is there, which are another program's: it is larger than what a start may cost.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;

use crate::error::{Context, Error, Result, Stage};
use crate::sys::arguments;
use crate::sys::process::{close_again, geteuid};

/// Its name.
pub const PROGRAM: &str = "brisk-insight";

/// Becomes that program, with the same command line. It is looked for beside this one only: PATH may name a directory of
/// somebody else's, and who has put this one into a directory of everybody's may not be the only one to put something there.
/// Returns only where it cannot be run.
pub fn execute() -> Result<u8> {
    let own = std::env::current_exe().at(Stage::Host, || "find where brisk is")?;
    let program = own.with_file_name(PROGRAM);
    let what = || format!("run {}", program.display());
    if !program.exists() {
        return Err(Error::new(Stage::Host, format!("{PROGRAM} is not beside brisk ({})", own.display()))
            .with_hint("the commands that look at containers are a program of their own: `make insight` builds it"));
    }
    may_be_run(&program)?;
    close_again().at(Stage::Host, what)?;
    let mut command = Command::new(&program);
    // Its own name is ours, for what it has us do.
    command.arg0(own).args(arguments::all().into_iter().skip(1));
    Err(command.exec()).at(Stage::Host, what)
}

/// The brisk that has executed this program, as [`execute`] does.
pub fn caller() -> Result<PathBuf> {
    let own = arguments::all().into_iter().next().map(PathBuf::from).filter(|path| path.is_absolute());
    let own = own
        .ok_or_else(|| Error::new(Stage::Args, format!("{PROGRAM} was not called by brisk")).with_hint("call brisk"))?;
    may_be_run(&own).map(|()| own)
}

/// Whether a program is nobody's who could not have put this one there.
fn may_be_run(program: &Path) -> Result<()> {
    let what = || format!("run {}", program.display());
    let found = std::fs::metadata(program).at(Stage::Host, what)?;
    // Of a brisk that was installed by its user the other one is, too.
    let own = std::fs::metadata("/proc/self/exe").map(|own| own.uid()).unwrap_or_default();
    if ![0, own, geteuid()].contains(&found.uid()) || found.mode() & 0o002 != 0 {
        return Err(Error::errno(Stage::Host, what(), Errno::EPERM)
            .with_hint("it belongs to somebody else, or anybody may write to it"));
    }
    Ok(())
}
