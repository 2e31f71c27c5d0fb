//! How far something reaches: a word of mounts and cgroups alike.

/// How far something reaches in a tree of mounts or cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The one that is named.
    One,
    /// The one that is named, and all below it.
    Tree,
}

impl Reach {
    /// The flag of open_tree(2) and mount_setattr(2).
    pub const fn flag(self) -> u32 {
        if matches!(self, Reach::Tree) { libc::AT_RECURSIVE as u32 } else { 0 }
    }
}
