//! Checks of config.json that need nothing but config.json. Reads no file; runs in the parent.

use super::Spec;
use super::process::Process;
use crate::error::Result;

/// Checks a whole config.json.
pub fn validate(spec: &Spec) -> Result<()> {
    let _ = spec;
    Ok(())
}

/// Checks a process: config.json's, or process.json of `exec`.
pub fn validate_process(process: &Process) -> Result<()> {
    let _ = process;
    Ok(())
}
