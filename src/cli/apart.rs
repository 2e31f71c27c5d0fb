//! Files that a command writes, of which none may be another one of them, or one that it reads: a text would be lost without a word.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::error::{Error, Result, Stage};
use crate::state::identity;

/// Where a text is going to be written.
pub trait Written {
    /// Whether both are one name, or names of one file.
    fn is(&self, other: &Self) -> bool;
    /// The file that is there now, by device and inode; none where there is none, or a device, which keeps nothing.
    fn kept(&self) -> Option<(u64, u64)>;
}

/// One that is looked up later, by whoever writes it: its name is replaced, a link as well.
impl Written for Path {
    fn is(&self, other: &Self) -> bool {
        let here = Path::new(".");
        let dir = |path: &Path| identity(path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(here));
        let one_name =
            self.file_name() == other.file_name() && dir(self).is_some_and(|dir_of| dir(other) == Some(dir_of));
        one_name && !is_device(self) || self.kept().is_some_and(|file| other.kept() == Some(file))
    }

    fn kept(&self) -> Option<(u64, u64)> {
        let found = self.symlink_metadata().ok().filter(|found| !found.file_type().is_char_device());
        found.map(|found| (found.dev(), found.ino()))
    }
}

fn is_device(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.file_type().is_char_device())
}

/// Refuses files of which one would be lost: two texts in one, or one in the place of what is read. Each has what it is called.
pub fn each_its_own<W: Written + ?Sized>(written: &[(&str, &W)], read: &[(&str, &Path)]) -> Result<()> {
    for (at, (name, file)) in written.iter().enumerate() {
        if let Some((other, _)) = written[..at].iter().find(|(_, other)| file.is(other)) {
            return Err(Error::new(Stage::Args, format!("{other} and {name} are one file")));
        }
        // What is read may be a link, which would be replaced, or what that leads to.
        let is_read = |path: &Path| file.kept().is_some_and(|file| [path.kept(), identity(path)].contains(&Some(file)));
        if let Some((other, path)) = read.iter().find(|(_, path)| is_read(path)) {
            return Err(Error::new(Stage::Args, format!("{name} is {other}, {}", path.display()))
                .with_hint("what is read is not written over"));
        }
    }
    Ok(())
}
