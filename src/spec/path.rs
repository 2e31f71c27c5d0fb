//! Paths by their text alone, whatever links there are.

/// The path without `.`, `..` and doubled slashes, relative to the root; `..` ends at the root.
pub fn clean(path: &str) -> String {
    parts(path.split('/')).join("/")
}

/// [`clean`] for a path that need not be UTF-8.
pub fn clean_bytes(path: &[u8]) -> Vec<u8> {
    parts(path.split(|byte| *byte == b'/')).join(&b'/')
}

fn parts<'a, T: AsRef<[u8]> + ?Sized>(path: impl Iterator<Item = &'a T>) -> Vec<&'a T> {
    let mut parts = Vec::new();
    for part in path {
        match part.as_ref() {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    parts
}
