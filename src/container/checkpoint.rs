//! `checkpoint` and `restore`.

use super::options::{Checkpoint, Global, Restore};
use crate::error::{Error, Result, Stage};

/// Saves a running container.
pub fn checkpoint(_global: &Global, _args: &Checkpoint) -> Result<()> {
    Err(Error::new(Stage::Criu, "checkpoint is not supported yet"))
}

/// Brings a saved container back; its exit status.
pub fn restore(_global: &Global, _args: &Restore) -> Result<u8> {
    Err(Error::new(Stage::Criu, "restore is not supported yet"))
}
