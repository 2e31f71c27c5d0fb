//! Small files of proc and sysfs, whose size nobody knows before they are read.

use std::fs::File;
use std::io::{Read, Result};
use std::path::Path;

use crate::sys::fs::open_file;

/// Reads a whole file with few calls: std's own functions begin with reads of 32 bytes where the size is 0.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let mut file = File::from(open_file(path)?);
    let mut text = vec![0; 4096];
    let mut filled = 0;
    loop {
        match file.read(&mut text[filled..])? {
            0 => break,
            more => filled += more,
        }
        if filled == text.len() {
            text.resize(4 * filled, 0);
        }
    }
    text.truncate(filled);
    Ok(text)
}

/// Reads a file that the kernel writes as one record, as it does those of a process and of sysctl (`single_open`), not
/// those that are lists (mountinfo): what does not fill the buffer is all of it.
pub fn read_record(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let mut file = File::from(open_file(path)?);
    let mut text = vec![0; 4096];
    let filled = file.read(&mut text)?;
    text.truncate(filled);
    if filled == 4096 {
        file.read_to_end(&mut text)?;
    }
    Ok(text)
}

/// [`read_record`] as text.
pub fn read_record_text(path: impl AsRef<Path>) -> Result<String> {
    text(read_record(path)?)
}

/// [`read`] as text.
pub fn read_text(path: impl AsRef<Path>) -> Result<String> {
    text(read(path)?)
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| std::io::ErrorKind::InvalidData.into())
}

/// Whether a file of a process was not there, or went away between open and read (ESRCH).
pub(super) fn is_gone(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// What spaces part in a file of the kernel.
pub fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}
