//! The commands that look at what is there, which are another program's: it is larger than what a start may cost.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::error::{Context, Error, Result, Stage};
use crate::host::programs::find_program;

/// Its name.
pub const PROGRAM: &str = "brisk-insight";

/// Becomes that program, with the same command line: it is looked for beside this one, and then in PATH. Returns only where
/// it cannot be run.
pub fn execute() -> Result<u8> {
    let own = std::env::current_exe().ok();
    let beside = own.and_then(|own| Some(own.parent()?.join(PROGRAM))).filter(|path| path.is_file());
    let Some(program) = beside.or_else(|| find_program(PROGRAM)) else {
        return Err(Error::new(Stage::Host, format!("{PROGRAM} is neither beside brisk nor in PATH"))
            .with_hint("the commands that look at containers are a program of their own: `make insight` builds it"));
    };
    Err(Command::new(&program).args(std::env::args_os().skip(1)).exec())
        .at(Stage::Host, || format!("run {}", program.display()))
}
