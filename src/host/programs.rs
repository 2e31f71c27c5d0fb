//! Programs of the host that brisk runs: criu, ps, newuidmap and newgidmap. Reads only; runs in the parent.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The program of this name in PATH, as execvp(3) would find it, but in no directory that depends on where we are: a
/// bundle, or a directory of somebody else's.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    find_in(&path, name)
}

fn find_in(path: &OsStr, name: &str) -> Option<PathBuf> {
    let absolute = std::env::split_paths(path).filter(|dir| dir.is_absolute());
    absolute.map(|dir| dir.join(name)).find(|file| is_program(file))
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_not_looked_for_where_we_happen_to_be() {
        assert!(find_in(OsStr::new("/nowhere:/bin"), "sh").is_some());
        for path in ["", ".", ":", ".:", "..", "bin"] {
            let here: Vec<_> = std::env::split_paths(path).collect();
            assert!(here.iter().all(|dir| !dir.is_absolute()), "{here:?}");
            assert_eq!(find_in(OsStr::new(path), "Cargo.toml"), None, "{path:?}");
        }
        assert_eq!(find_in(OsStr::new("../../../../../../../../../../../../bin"), "sh"), None);
    }
}
