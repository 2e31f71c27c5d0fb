//! An overlay over the root, as annotations and the command line say it. Pure.

use super::size::size;

/// Where what is written goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upper {
    /// A tmpfs of the container's, of this many bytes at the most; gone with the container.
    Tmpfs(Option<i64>),
    /// A directory, which stays.
    Dir(String),
}

impl Upper {
    /// Reads `tmpfs`, `tmpfs:SIZE` or a directory. One that is called tmpfs is `./tmpfs`.
    pub fn parse(text: &str) -> Option<Upper> {
        match text.strip_prefix("tmpfs") {
            Some("") => Some(Upper::Tmpfs(None)),
            Some(rest) if rest.starts_with(':') => {
                size(&rest[1..]).filter(|bytes| *bytes > 0).map(|bytes| Upper::Tmpfs(Some(bytes)))
            }
            _ => Some(Upper::Dir(text.to_owned())).filter(|_| !text.is_empty()),
        }
    }
}

/// An overlay over the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Where what is written goes.
    pub upper: Upper,
    /// Layers below the root, the uppermost first.
    pub lower: Vec<String>,
    /// Whether the owners of files are those of the container's user namespace.
    pub idmap: bool,
}

/// Paths as one text: apart by colons; a backslash takes the meaning of what follows it.
pub fn join(paths: &[String]) -> String {
    paths.iter().map(|path| path.replace('\\', "\\\\").replace(':', "\\:")).collect::<Vec<_>>().join(":")
}

/// The paths of such a text.
pub fn split(text: &str) -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let Some(path) = paths.last_mut() else { break };
        match c {
            ':' => paths.push(String::new()),
            '\\' => path.extend(chars.next()),
            _ => path.push(c),
        }
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_colons_come_back() {
        let paths = ["/a:b", "/c\\", "/d,e f", "\\:"].map(str::to_owned);
        assert_eq!(split(&join(&paths)), paths);
    }

    #[test]
    fn a_tmpfs_is_told_from_a_directory() {
        assert_eq!(Upper::parse("tmpfs"), Some(Upper::Tmpfs(None)));
        assert_eq!(Upper::parse("tmpfs:1.5m"), Some(Upper::Tmpfs(Some(3 << 19))));
        for dir in ["/tmpfs", "./tmpfs", "tmpfs2", "a:b"] {
            assert_eq!(Upper::parse(dir), Some(Upper::Dir(dir.to_owned())));
        }
        for bad in ["", "tmpfs:", "tmpfs:0", "tmpfs:-1", "tmpfs:x"] {
            assert_eq!(Upper::parse(bad), None, "{bad}");
        }
    }
}
