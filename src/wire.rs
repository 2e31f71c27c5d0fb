//! What parent and child say to each other: fixed-size records over a SEQPACKET pair.
//!
//! The child asks at a [`SyncPoint`] and waits for the same point back, or only waits where the parent does its part
//! without knowing how far the child is: the answer is there already, or all the sooner. Or it reports a [`Message::Fault`] and
//! ends. The parent holds the same plan, so an operation's index and an errno are enough to word the error.
//! Used by both processes; allocates nothing.
//!
//! Not trusted: what comes from a process that is in the container's pid namespace already: docs/SECURITY.md says what
//! it can do.

use std::mem::offset_of;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::sys::socket::WireRecord;
use crate::sys::{Result, socket};

/// Bytes of one record.
pub const SIZE: usize = socket::RECORD;
/// Bytes of a fault's detail.
pub const DETAIL_SIZE: usize = socket::DETAIL;
/// Where a record has the number that goes with its kind.
pub const VALUE: usize = offset_of!(WireRecord, value);
const KIND: usize = offset_of!(WireRecord, kind);
const OP: usize = offset_of!(WireRecord, op);
const DETAIL: usize = offset_of!(WireRecord, detail);

/// The points: number, name, and what they are for.
macro_rules! sync_points {
    ($($(#[$doc:meta])* $point:ident = $number:literal, $name:literal;)*) => {
        /// A point that the child tells the parent it has reached; at most of them it waits for the answer.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum SyncPoint {
            $($(#[$doc])* $point = $number,)*
        }

        impl SyncPoint {
            const fn from_number(number: u32) -> Option<SyncPoint> {
                match number {
                    $($number => Some(SyncPoint::$point),)*
                    _ => None,
                }
            }

            /// The name printed in plans and errors.
            pub const fn name(self) -> &'static str {
                match self {
                    $(SyncPoint::$point => $name,)*
                }
            }
        }
    };
}

sync_points! {
    /// The id maps of the child's user namespace have to be written.
    IdMaps = 1, "id maps";
    /// The child must be in its cgroup before it goes on (cgroup namespace, cgroup mounts).
    Cgroup = 2, "cgroup";
    /// Namespaces exist: network devices are moved in, prestart and createRuntime hooks run.
    Hooks = 3, "hooks";
    /// The container is set up; limits are set and the state is written before the child goes on.
    Ready = 4, "ready";
    /// The filter is loaded; its listener (descriptor in `value`) is to be fetched and handed over.
    Listener = 5, "listener";
    /// Nothing is left but the start signal; no answer.
    Parked = 6, "parked";
    /// The launcher's child has this pid (`value`); no answer.
    Launched = 7, "launched";
    /// Mount trees that the parent has cloned after the child, or takes in the child's mount namespace; descriptors come with it.
    Trees = 8, "mount trees";
    /// What the upper layer of the overlay can be measured by is the descriptor that comes with it; no answer.
    Overlay = 9, "overlay";
    /// The container's process has taken its second block; no answer, unless limits are to be set.
    Taken = 10, "taken";
    /// The kernel kills it when the runtime dies, which is there; no answer.
    Bound = 11, "bound to the runtime";
}

/// The descriptors of a template's process while it waits, which are all that it has: the socket from which it takes its
/// second block, the end of it that `start` sends by, and the start fifo.
pub mod waiting {
    #![expect(missing_docs, reason = "the line above")]
    pub const RECEIVER: i32 = 0;
    pub const SENDER: i32 = 1;
    pub const FIFO: i32 = 2;
}

/// The numbers of what comes with the second block, in the order in which it is sent: the lowest that are free.
pub mod received {
    #![expect(missing_docs, reason = "the names say it")]
    pub const BLOCK: i32 = 3;
    pub const STREAMS: [i32; 3] = [4, 5, 6];
    pub const CWD: i32 = 7;
    pub const WIRE: i32 = 8;
    pub const COUNT: usize = 6;
}

/// What a hook said before it failed may follow its fault in the same record, this much of it.
pub const SAID_MAX: usize = 1024;

/// A record that a fault came in, with what follows it.
pub type LongRecord = [u8; SIZE + SAID_MAX];

/// A detail that begins with this byte is all that there is to say, whatever the errno: a hook's number, a space, and how it
/// ended.
pub const HOOK_ENDED: u8 = 1;

/// `kind` of a fault record.
pub const FAULT: u32 = 100;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The sender is at this point.
    Sync(SyncPoint, i32),
    /// Operation `op` of the plan failed.
    Fault(Fault),
}

/// A failed operation of the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Index into the plan's operations.
    pub op: u32,
    /// Why.
    pub errno: Errno,
    /// More about the object: the part of a path, the kernel's own words. NUL-padded.
    pub detail: [u8; DETAIL_SIZE],
}

impl Fault {
    /// A fault without detail.
    pub fn new(op: u32, errno: Errno) -> Self {
        Fault { op, errno, detail: [0; DETAIL_SIZE] }
    }

    /// The detail text.
    pub fn text(&self) -> &[u8] {
        let end = self.detail.iter().position(|&b| b == 0).unwrap_or(self.detail.len());
        &self.detail[..end]
    }
}

/// A message as the bytes of a [`WireRecord`].
pub fn encode(message: &Message) -> [u8; SIZE] {
    let (kind, op, value, detail) = match message {
        Message::Sync(point, value) => (*point as u32, 0, *value, None),
        Message::Fault(fault) => (FAULT, fault.op, fault.errno as i32, Some(&fault.detail)),
    };
    let mut bytes = [0; SIZE];
    bytes[KIND..KIND + 4].copy_from_slice(&kind.to_ne_bytes());
    bytes[OP..OP + 4].copy_from_slice(&op.to_ne_bytes());
    bytes[VALUE..VALUE + 4].copy_from_slice(&value.to_ne_bytes());
    if let Some(detail) = detail {
        bytes[DETAIL..DETAIL + DETAIL_SIZE].copy_from_slice(detail);
    }
    bytes
}

/// The inverse of [`encode`]; EBADMSG for anything else.
pub fn decode(bytes: &[u8]) -> Result<Message> {
    let word =
        |at: usize| -> Result<[u8; 4]> { bytes.get(at..at + 4).and_then(|s| s.try_into().ok()).ok_or(Errno::EBADMSG) };
    let kind = u32::from_ne_bytes(word(KIND)?);
    let value = i32::from_ne_bytes(word(VALUE)?);
    if kind == FAULT {
        let mut detail = [0; DETAIL_SIZE];
        detail.copy_from_slice(bytes.get(DETAIL..DETAIL + DETAIL_SIZE).ok_or(Errno::EBADMSG)?);
        return Ok(Message::Fault(Fault { op: u32::from_ne_bytes(word(OP)?), errno: Errno::from_raw(value), detail }));
    }
    let point = SyncPoint::from_number(kind).ok_or(Errno::EBADMSG)?;
    Ok(Message::Sync(point, value))
}

/// Sends one record. EPIPE when the other side is gone.
pub fn send(wire: BorrowedFd<'_>, message: &Message) -> Result<()> {
    send_bytes(wire, &encode(message))
}

/// [`send`] for a record that is encoded, and may have more behind it.
pub fn send_bytes(wire: BorrowedFd<'_>, record: &[u8]) -> Result<()> {
    gone(socket::send(wire, record))
}

/// A peer that ended without having read everything is told as ECONNRESET, once (unix(7)).
fn gone(sent: Result<()>) -> Result<()> {
    if sent == Err(Errno::ECONNRESET) { Err(Errno::EPIPE) } else { sent }
}

/// Receives one record; `None` when the other side has closed (for a child: it has exec'd or is gone).
pub fn receive(wire: BorrowedFd<'_>) -> Result<Option<Message>> {
    let mut bytes = [0; SIZE];
    match receive_bytes(wire, &mut bytes)?.0 {
        0 => Ok(None),
        len => decode(&bytes[..len]).map(Some),
    }
}

/// [`receive`] as bytes, with what follows a fault, and with a descriptor that came with it.
pub fn receive_bytes(wire: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<(usize, Option<OwnedFd>)> {
    match socket::receive(wire, bytes) {
        // What the peer has sent before it ended comes after the news that it has not read everything.
        Err(Errno::ECONNRESET) => socket::receive(wire, bytes),
        received => received,
    }
}

/// Sends a record with descriptors.
pub fn send_files(wire: BorrowedFd<'_>, point: SyncPoint, files: &[BorrowedFd<'_>]) -> Result<()> {
    gone(socket::send_fds(wire, &encode(&Message::Sync(point, 0)), files))
}

/// What follows a fault.
pub fn said(record: &[u8]) -> &[u8] {
    record.get(SIZE..).unwrap_or_default()
}

/// Waits for a record with descriptors. EPIPE when the parent is gone.
pub fn wait_files(wire: BorrowedFd<'_>, point: SyncPoint, files: &mut [Option<OwnedFd>]) -> Result<()> {
    let mut bytes = [0; SIZE];
    match socket::receive_fds(wire, &mut bytes, files)? {
        0 => Err(Errno::EPIPE),
        n if decode(&bytes[..n])? == Message::Sync(point, 0) => Ok(()),
        _ => Err(Errno::EBADMSG),
    }
}

/// The child's side of a sync point: say it, wait for the answer. EPIPE when the parent is gone.
pub fn ask(wire: BorrowedFd<'_>, point: SyncPoint, value: i32) -> Result<()> {
    send(wire, &Message::Sync(point, value))?;
    wait(wire, point)
}

/// Waits at a point for which the parent answers unasked.
pub fn wait(wire: BorrowedFd<'_>, point: SyncPoint) -> Result<()> {
    match receive(wire)? {
        Some(Message::Sync(answer, _)) if answer == point => Ok(()),
        Some(_) => Err(Errno::EBADMSG),
        None => Err(Errno::EPIPE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_although_an_answer_was_not() {
        use std::os::fd::AsFd;
        let (ours, theirs) = socket::pair().expect("a pair");
        send(ours.as_fd(), &Message::Sync(SyncPoint::Cgroup, 0)).expect("sent");
        let fault = Message::Fault(Fault::new(4, Errno::EINVAL));
        send(theirs.as_fd(), &fault).expect("sent");
        drop(theirs);
        assert_eq!(receive(ours.as_fd()), Ok(Some(fault)));
        assert_eq!(receive(ours.as_fd()), Ok(None));
    }

    #[test]
    fn records_round_trip() {
        let mut fault = Fault::new(14, Errno::EPERM);
        fault.detail[..5].copy_from_slice(b"hello");
        for message in [Message::Sync(SyncPoint::Ready, 42), Message::Fault(fault)] {
            assert_eq!(decode(&encode(&message)), Ok(message));
        }
        assert_eq!(fault.text(), b"hello");
        assert_eq!(decode(&[0; SIZE]), Err(Errno::EBADMSG));
        assert_eq!(decode(&[1, 0]), Err(Errno::EBADMSG));
    }
}
