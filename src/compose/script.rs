//! The first line of a script (execve(2), "Interpreter scripts").
//!
//! Not trusted: the file.

/// Longer than the kernel reads of it (BINPRM_BUF_SIZE).
pub const LINE_MAX: usize = 256;

/// The words after `#!` of a file that begins with these bytes; `None` where it is no script.
pub fn words(head: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Some(line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()))
}
