//! A member becomes a container of its own: one rename, with the member's lock held from before it until the program runs.
//!
//! Whoever is killed between leaves a member that the next one takes, or a container that waits with a free lock, which
//! nobody starts any more and `pool fill` deletes. Neither is ever started by two: the rename is made by one, and a start
//! takes the lock.

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::inherited::first_other;
use super::store::{Definition, Pool, fits, open_end};
use crate::container::lookup::Container;
use crate::container::options::Global;
use crate::error::{Context, Result, Stage};
use crate::state::{Attendance, END, Lock, ProcessId, Wait};
use crate::sys::{fs, process};

/// A member that is ours.
pub(super) struct Claim {
    pub container: Container,
    pub lock: Lock,
    /// Where its keeper will say how it ended.
    pub end: OwnedFd,
}

/// What there was to claim.
#[derive(Default)]
pub(super) struct Claimed {
    pub claim: Option<Claim>,
    /// Whether a member was passed over that does not fit any more.
    pub stale: bool,
    /// What the caller has otherwise than the members.
    pub other: Option<String>,
}

/// Takes a member that nobody else takes and that fits, and calls it `id`.
pub(super) fn claim(
    global: &Global,
    pool: &Pool,
    definition: &Definition,
    id: &str,
    attended: Option<Attendance>,
) -> Result<Claimed> {
    let other = first_other(&definition.inherited, global)?;
    if other.is_some() {
        return Ok(Claimed { other, ..Claimed::default() });
    }
    let mut names = pool.members()?;
    if !names.is_empty() {
        // Several that come at once do not all try the same one first.
        let first = process::getpid().unsigned_abs() as usize % names.len();
        names.rotate_left(first);
    }
    let mut claimed = Claimed::default();
    for name in names {
        let (dir, lock) = match pool.hold(&name, Wait::No) {
            Err(error) if error.root_errno() == Some(Errno::EAGAIN) => continue,
            held => match held? {
                Some(held) => held,
                None => continue,
            },
        };
        // What cannot be looked at is no member; whoever fills the pool says what is wrong with it.
        let found = dir.find_record().ok().flatten().map(|record| Container { dir, record });
        if let Some(container) = found.filter(|container| fits(definition, container).unwrap_or(false)) {
            claimed.claim = Some(take(global, container, lock, id, attended)?);
            break;
        }
        claimed.stale = true;
    }
    Ok(claimed)
}

fn take(
    global: &Global,
    mut container: Container,
    lock: Lock,
    id: &str,
    attended: Option<Attendance>,
) -> Result<Claim> {
    let record = &mut container.record;
    id.clone_into(&mut record.id);
    record.creator = ProcessId::own()?;
    record.attended = attended;
    // First: at no moment has it a name that its record does not know.
    container.dir.save(&container.record)?;
    container.dir.move_to(&global.root, id)?;
    let what = || "take end.fifo";
    let end = open_end(&container.dir).at(Stage::State, what)?;
    fs::unlink(container.dir.fd(), END, 0).at(Stage::State, what)?;
    Ok(Claim { container, lock, end })
}
