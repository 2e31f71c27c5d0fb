//! Writes limits: as a transaction into a running container, plainly into a new one.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use crate::error::{Deed, Error, Result, Stage};
use crate::plan::cgroup::files::{self, Shape};
use crate::plan::cgroup::{WhenMissing, Write};
use crate::sys;

use super::file::{self, FileAccess, read_all};
use super::handle::{Cgroup, position_with};
use super::member::Member;

/// Whether old values are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// Old values, so that they can be put back.
    Old,
    /// The whole cgroup goes when a write fails.
    Nothing,
}

/// What [`Cgroup::apply`] changed, for [`Cgroup::put_back`].
#[derive(Debug)]
pub struct Applied(Vec<Undo>);

impl Applied {
    /// The writes that say what was there before, the newest first: of two to one file the last is the original.
    pub fn before(&self) -> Vec<Write> {
        let write = |undo: &Undo| Write {
            controller: files::controller_of(&undo.file).to_owned(),
            file: undo.file.clone(),
            value: undo.value.clone(),
            missing: WhenMissing::Skip,
        };
        self.0.iter().rev().map(write).collect()
    }
}

/// A value to put back.
#[derive(Debug)]
struct Undo {
    index: usize,
    file: String,
    value: String,
}

/// The file that was written last: lines for the same file (one per device) go through one descriptor.
struct Last {
    index: usize,
    file: String,
    fd: OwnedFd,
}

struct Writer<'a> {
    members: &'a [Member],
    keep: Keep,
    undo: Vec<Undo>,
    last: Option<Last>,
}

impl Cgroup {
    /// Writes all of `writes`, or none: when one is refused the earlier ones are put back and the error
    /// names file and value.
    pub fn apply(&self, writes: &[Write]) -> Result<Applied> {
        let mut writer = Writer { members: &self.members, keep: Keep::Old, undo: Vec::new(), last: None };
        let result = writer.all(writes);
        let undo = std::mem::take(&mut writer.undo);
        let Err(error) = result else { return Ok(Applied(undo)) };
        match writer.put_back(undo) {
            Ok(()) => Err(error),
            Err(second) => Err(Error::new(Stage::Cgroup, format!("{error}; and then not all was put back: {second}"))),
        }
    }

    /// Takes back what an [`apply`](Cgroup::apply) that succeeded has changed.
    pub fn put_back(&self, applied: Applied) -> Result<()> {
        Writer { members: &self.members, keep: Keep::Nothing, undo: Vec::new(), last: None }.put_back(applied.0)
    }

    /// Writes limits that hold already once more, where somebody else may have written meanwhile.
    pub fn apply_again(&self, writes: &[Write]) -> Result<()> {
        self.apply_new(writes)
    }

    /// Writes the limits of a cgroup that is removed if one is refused.
    pub(in crate::cgroup) fn apply_new(&self, writes: &[Write]) -> Result<()> {
        Writer { members: &self.members, keep: Keep::Nothing, undo: Vec::new(), last: None }.all(writes)
    }
}

fn failed(member: &Member, file: &str, value: &str, errno: Errno) -> Error {
    let what = format!("write {} to {}/{file}", value.escape_debug(), member.path());
    let error = Error::errno(Stage::Cgroup, what, errno).doing(Deed::WriteLimit, format!("{}/{file}", member.path()));
    let refused = matches!(errno, Errno::EINVAL | Errno::ERANGE | Errno::EACCES | Errno::ENOSPC);
    match files::find(file).and_then(|file| file.advice).filter(|_| refused) {
        Some(advice) => error.with_hint(advice),
        None => error,
    }
}

impl Writer<'_> {
    /// Makes the writes in order. Some depend on each other in an order that only the old values tell (memory before
    /// memory+swap or after, period before quota or after): the kernel refuses those with EINVAL or EBUSY, and
    /// they are tried again after the others, as long as that gets any further.
    fn all(&mut self, writes: &[Write]) -> Result<()> {
        let mut pending: Vec<&Write> = writes.iter().collect();
        loop {
            let mut refused = Vec::new();
            let before = pending.len();
            for write in pending {
                match self.write_one(write) {
                    Ok(()) => {}
                    Err((Errno::EINVAL | Errno::EBUSY, error)) => refused.push((write, error)),
                    Err((_, error)) => return Err(error),
                }
            }
            let again = refused.len();
            pending = refused.iter().map(|(write, _)| *write).collect();
            match refused.into_iter().next() {
                None => return Ok(()),
                Some((_, error)) if again == before => return Err(error),
                Some(_) => {}
            }
        }
    }

    fn write_one(&mut self, write: &Write) -> std::result::Result<(), (Errno, Error)> {
        let Some(index) = position_with(self.members, &write.controller) else {
            if write.missing == WhenMissing::Skip {
                return Ok(());
            }
            let what = format!(
                "cannot set {} to {}: the container has no cgroup with the {} controller",
                write.file, write.value, write.controller
            );
            return Err((Errno::ENOENT, Error::new(Stage::Cgroup, what)));
        };
        let outcome = self.write(index, &write.file, &write.value);
        let (file, value, outcome) = match (outcome, &write.missing) {
            (Err(Errno::ENOENT), WhenMissing::Skip) => return Ok(()),
            (Err(Errno::ENOENT), WhenMissing::Instead { file, value }) => (file, value, self.write(index, file, value)),
            (outcome, _) => (&write.file, &write.value, outcome),
        };
        match (outcome, self.members.get(index)) {
            (Err(errno), Some(member)) => Err((errno, failed(member, file, value, errno))),
            _ => Ok(()),
        }
    }

    fn write(&mut self, index: usize, file: &str, value: &str) -> sys::Result<()> {
        if !self.last.as_ref().is_some_and(|last| last.index == index && last.file == file) {
            let member = self.members.get(index).ok_or(Errno::ENOENT)?;
            let fd = match self.keep {
                Keep::Nothing => member.open(file, FileAccess::Write)?,
                // Some files cannot be read, and by an ordinary user not even opened so.
                Keep::Old => member.open(file, FileAccess::ReadWrite).or_else(|errno| match errno {
                    Errno::EACCES | Errno::EPERM => member.open(file, FileAccess::Write),
                    errno => Err(errno),
                })?,
            };
            self.last = Some(Last { index, file: file.to_owned(), fd });
        }
        let last = self.last.as_ref().ok_or(Errno::EBADF)?;
        let old = match self.keep {
            Keep::Old => read_all(last.fd.as_fd()).ok().and_then(|text| restoring(file, &text, value)),
            Keep::Nothing => None,
        };
        file::write(last.fd.as_fd(), value)?;
        self.undo.extend(old.map(|value| Undo { index, file: file.to_owned(), value }));
        Ok(())
    }

    /// Puts old values back, the newest first, with the same patience about their order.
    fn put_back(&mut self, undo: Vec<Undo>) -> Result<()> {
        self.keep = Keep::Nothing;
        let mut pending: Vec<Undo> = undo.into_iter().rev().collect();
        loop {
            let before = pending.len();
            let mut first = None;
            pending.retain(|undo| match self.write(undo.index, &undo.file, &undo.value) {
                Ok(()) => false,
                Err(errno) => {
                    let error = self.members.get(undo.index).map(|m| failed(m, &undo.file, &undo.value, errno));
                    first = first.take().or(error);
                    true
                }
            });
            match first {
                None => return Ok(()),
                Some(error) if pending.len() == before => return Err(error),
                Some(_) => {}
            }
        }
    }
}

/// What to write to `file` so that it again says `old` where `new` changed it. `None`: nothing can undo it.
pub(in crate::cgroup) fn restoring(file: &str, old: &str, new: &str) -> Option<String> {
    let shape = files::find(file).map_or(Shape::Plain, |file| file.shape);
    let key = new.split_ascii_whitespace().next().filter(|_| new.contains(' '));
    match (shape, key) {
        (Shape::Line(name), _) => {
            old.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned)
        }
        (Shape::Keyed(unset), Some(key)) => {
            let line = old.lines().find(|line| line.split_ascii_whitespace().next() == Some(key));
            Some(line.map_or_else(|| format!("{key} {unset}"), |line| line.trim().to_owned()))
        }
        (Shape::Plain | Shape::Keyed(_), _) => {
            // A file with per-device lines that was written as a whole: its `default N` line.
            if let Some(default) = old.lines().find_map(|line| line.strip_prefix("default ")) {
                return Some(default.trim().to_owned());
            }
            // An empty write never reaches the kernel; a newline clears the list.
            Some(if old.trim().is_empty() { "\n".to_owned() } else { old.trim().to_owned() })
        }
    }
}
