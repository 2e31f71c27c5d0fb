//! rtnetlink(7): requests and answers of one socket. Runs in the parent.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// `struct nlmsghdr`: length, type, flags, sequence number, port.
const HEADER: usize = 16;
/// Dumps come in messages of at most this size to a reader that has this much room (netlink_recvmsg(): the
/// kernel allocates what the reader asks for, up to 32 kB).
const ROOM: usize = 32 * 1024;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::launch) struct NetlinkMessage {
    /// `RTM_*`, `NLMSG_*`.
    pub kind: u16,
    body: Vec<u8>,
}

impl NetlinkMessage {
    /// A message with the fixed part of its type (`ifinfomsg`, `ifaddrmsg`).
    pub(in crate::launch) fn new(kind: u16, fixed: &[u8]) -> NetlinkMessage {
        let mut message = NetlinkMessage { kind, body: fixed.to_vec() };
        message.align();
        message
    }

    /// Adds an attribute.
    pub(in crate::launch) fn attr(mut self, kind: u16, value: &[u8]) -> NetlinkMessage {
        // No attribute here is longer than an address or a name.
        let len = (4 + value.len()) as u16;
        self.body.extend(len.to_ne_bytes());
        self.body.extend(kind.to_ne_bytes());
        self.body.extend(value);
        self.align();
        self
    }

    /// Adds a NUL-terminated text.
    pub(in crate::launch) fn text(self, kind: u16, value: &str) -> NetlinkMessage {
        self.attr(kind, &[value.as_bytes(), &[0]].concat())
    }

    fn align(&mut self) {
        self.body.resize(self.body.len().next_multiple_of(4), 0);
    }

    /// The fixed part, where it is whole.
    pub(in crate::launch) fn fixed<const N: usize>(&self) -> Option<&[u8; N]> {
        self.body.first_chunk()
    }

    /// The attributes behind a fixed part of `fixed` bytes.
    pub(in crate::launch) fn attrs(&self, fixed: usize) -> impl Iterator<Item = (u16, &[u8])> {
        /// NLA_F_NESTED and NLA_F_NET_BYTEORDER.
        const FLAGS: u16 = 0xc000;
        let mut rest = self.body.get(fixed.next_multiple_of(4)..).unwrap_or_default();
        std::iter::from_fn(move || {
            let len = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
            let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?) & !FLAGS;
            let value = rest.get(4..len)?;
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
            Some((kind, value))
        })
    }

    fn bytes(&self, flags: u16, sequence: u32) -> Vec<u8> {
        let len = (HEADER + self.body.len()) as u32;
        let mut bytes = Vec::with_capacity(len as usize);
        bytes.extend(len.to_ne_bytes());
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(&self.body);
        bytes
    }
}

/// Takes a datagram apart: sequence number and message of each.
fn parse(mut rest: &[u8]) -> Vec<(u32, NetlinkMessage)> {
    let mut messages = Vec::new();
    while let Some(header) = rest.first_chunk::<HEADER>() {
        let len = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let sequence = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
        let Some(body) = rest.get(HEADER..len) else { break };
        messages.push((sequence, NetlinkMessage { kind, body: body.to_vec() }));
        rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    messages
}

/// A socket of the network namespace it was opened in, wherever its user is later.
#[derive(Debug)]
pub(in crate::launch) struct Netlink {
    fd: OwnedFd,
    sequence: u32,
}

impl Netlink {
    pub(in crate::launch) fn open() -> nix::Result<Netlink> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
        Ok(Netlink { fd, sequence: 0 })
    }

    /// One request; the messages that answer it before it is acknowledged.
    pub(in crate::launch) fn request(
        &mut self,
        message: &NetlinkMessage,
        flags: libc::c_int,
    ) -> nix::Result<Vec<NetlinkMessage>> {
        self.exchange(message, flags | libc::NLM_F_ACK)
    }

    /// Everything of one kind.
    pub(in crate::launch) fn dump(&mut self, message: &NetlinkMessage) -> nix::Result<Vec<NetlinkMessage>> {
        self.exchange(message, libc::NLM_F_DUMP)
    }

    fn exchange(&mut self, message: &NetlinkMessage, flags: libc::c_int) -> nix::Result<Vec<NetlinkMessage>> {
        const DONE: u16 = libc::NLMSG_DONE as u16;
        const ERROR: u16 = libc::NLMSG_ERROR as u16;
        self.sequence += 1;
        let request = message.bytes((flags | libc::NLM_F_REQUEST) as u16, self.sequence);
        retry(|| send(self.fd.as_raw_fd(), &request, MsgFlags::empty()))?;
        let mut answers = Vec::new();
        let mut buf = vec![0; ROOM];
        loop {
            let len = retry(|| recv(self.fd.as_raw_fd(), &mut buf, MsgFlags::empty()))?;
            for (sequence, answer) in parse(&buf[..len]) {
                if sequence != self.sequence {
                    continue;
                }
                match answer.kind {
                    DONE | ERROR => {
                        // Both begin with a negative errno, or 0.
                        let errno = answer.fixed().map_or(0, |errno| i32::from_ne_bytes(*errno));
                        return if errno == 0 { Ok(answers) } else { Err(Errno::from_raw(-errno)) };
                    }
                    _ => answers.push(answer),
                }
            }
        }
    }
}

fn retry(mut call: impl FnMut() -> nix::Result<usize>) -> nix::Result<usize> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::launch::netdev::netlink::{NetlinkMessage, parse};

    #[test]
    fn what_is_written_is_read_back() {
        let message = NetlinkMessage::new(16, &[1, 2, 3, 4]).text(3, "eth0").attr(5, &[9]);
        let bytes = [message.bytes(1, 7), NetlinkMessage::new(3, &[0; 4]).bytes(0, 8)].concat();
        let found = parse(&bytes);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], (7, message.clone()));
        assert_eq!(found[1].0, 8);
        assert_eq!(message.fixed(), Some(&[1, 2, 3, 4]));
        assert_eq!(message.attrs(4).collect::<Vec<_>>(), [(3, &b"eth0\0"[..]), (5, &[9][..])]);
    }

    #[test]
    fn what_is_cut_short_ends_the_list() {
        let bytes = NetlinkMessage::new(16, &[0; 4]).text(3, "eth0").bytes(1, 7);
        assert_eq!(parse(&bytes[..bytes.len() - 1]), []);
        assert_eq!(parse(&[0; 16]), [], "a length shorter than the header");
        let cut = NetlinkMessage { kind: 16, body: vec![0, 0, 0, 0, 12, 0, 3, 0, 1] };
        assert_eq!(cut.attrs(4).count(), 0);
        let empty = NetlinkMessage { kind: 16, body: vec![0, 0, 0, 0, 0, 0, 3, 0] };
        assert_eq!(empty.attrs(4).count(), 0, "an attribute shorter than its header");
    }
}
