//! Unix sockets: pairs, records, and descriptors in flight (SCM_RIGHTS).

use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

use nix::errno::Errno;

use super::fs::own;
use super::{Result, cvt, done, interrupt, raw};

/// One record between parent and child as it lies in memory. `wire` gives the fields their meaning, the walker of
/// `last_calls` fills in two of them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct WireRecord {
    /// What it says.
    pub kind: u32,
    /// Of a fault: index of the plan's operation.
    pub op: u32,
    /// Of a fault: its errno; else a number that goes with the kind.
    pub value: i32,
    reserved: u32,
    /// Of a fault: more about the object.
    pub detail: [u8; DETAIL],
}

/// Bytes of a record's detail.
pub const DETAIL: usize = 112;
/// Bytes of one record.
pub const RECORD: usize = size_of::<WireRecord>();

/// A pair of connected SEQPACKET sockets, close-on-exec.
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1 as libc::c_int; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `fds` has room for two descriptors.
    done(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) }.into())?;
    Ok((own(fds[0].into()), own(fds[1].into())))
}

/// How long whoever listens may take to accept a connection, or to make room for what is sent: so often such a time.
const PIECES: u32 = 100;
static PIECE: libc::timeval = libc::timeval { tv_sec: 0, tv_usec: 100_000 };

/// One system call that waits for somebody who may not answer, on a socket that lets it wait for one piece; ETIMEDOUT after all of
/// them, EINTR when somebody asks us to end.
fn patiently(mut call: impl FnMut() -> libc::c_long) -> Result<libc::c_long> {
    for _ in 0..PIECES {
        match cvt(call()) {
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => interrupt::look()?,
            result => return result,
        }
    }
    Err(Errno::ETIMEDOUT)
}

fn wait_in_pieces(fd: BorrowedFd<'_>, option: i32) -> Result<()> {
    let size = size_of::<libc::timeval>() as libc::socklen_t;
    // SAFETY: PIECE is a timeval of the size given.
    done(unsafe { raw!(SYS_setsockopt, fd.as_raw_fd(), libc::SOL_SOCKET, option, &raw const PIECE, size) })
}

/// Has [`receive`] and its kin fail with EAGAIN when nothing has come for a tenth of a second.
pub fn receive_in_pieces(fd: BorrowedFd<'_>) -> Result<()> {
    wait_in_pieces(fd, libc::SO_RCVTIMEO)
}

/// The longest path that a socket's address has room for, with the NUL byte behind it.
const ADDRESS: usize = 108;

/// Connects to the stream socket at `path`; a longer one than an address takes is reached through a descriptor of its directory.
/// ETIMEDOUT when nobody accepts for ten seconds: connect(2) waits while the queue is full, and sendmsg(2) while the buffer is, for
/// as long as SO_SNDTIMEO says (socket(7)).
pub fn connect(path: &Path) -> Result<OwnedFd> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() < ADDRESS {
        return connect_short(bytes);
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::ENAMETOOLONG) };
    let dir = super::fs::open_file(parent)?;
    connect_short(super::fs::by_number(dir.as_fd()).join(name).as_os_str().as_bytes())
}

fn connect_short(path: &[u8]) -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = cvt(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) }.into()).map(own)?;
    // SAFETY: sockaddr_un is plain data, for which all zeros is a valid value.
    let mut addr: libc::sockaddr_un = unsafe { MaybeUninit::zeroed().assume_init() };
    addr.sun_family = libc::AF_UNIX as libc::sa_family_t;
    if path.len() >= addr.sun_path.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    for (to, from) in addr.sun_path.iter_mut().zip(path) {
        *to = *from as libc::c_char;
    }
    wait_in_pieces(fd.as_fd(), libc::SO_SNDTIMEO)?;
    let len = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: `addr` is a whole sockaddr_un of the length given.
    patiently(|| unsafe { libc::connect(fd.as_raw_fd(), (&raw const addr).cast(), len) }.into()).map(|_| fd)
}

/// Sends one record; no SIGPIPE when the other side is gone.
pub fn send(fd: BorrowedFd<'_>, record: &[u8]) -> Result<()> {
    loop {
        // SAFETY: `record` is readable for the length given; no address is passed.
        let ret = unsafe {
            raw!(SYS_sendto, fd.as_raw_fd(), record.as_ptr(), record.len(), libc::MSG_NOSIGNAL, ptr::null::<u8>(), 0)
        };
        match cvt(ret) {
            Err(Errno::EINTR) => {}
            result => return result.map(drop),
        }
    }
}

/// How many descriptors a record carries at most: more than there are v1 hierarchies.
pub const MAX_FDS: usize = 28;
const HEADER: usize = size_of::<libc::cmsghdr>();

#[repr(C, align(8))]
struct Control([u8; HEADER + 4 * MAX_FDS]);

/// Sends `payload` with descriptors attached (at most [`MAX_FDS`]).
pub fn send_fds(socket: BorrowedFd<'_>, payload: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
    let mut control = Control([0; HEADER + 4 * MAX_FDS]);
    let len = HEADER + size_of_val(fds);
    if len > control.0.len() {
        return Err(Errno::EINVAL);
    }
    control.0[..8].copy_from_slice(&len.to_ne_bytes());
    control.0[8..12].copy_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
    control.0[12..16].copy_from_slice(&libc::SCM_RIGHTS.to_ne_bytes());
    for (i, fd) in fds.iter().enumerate() {
        control.0[HEADER + 4 * i..HEADER + 4 * i + 4].copy_from_slice(&fd.as_raw_fd().to_ne_bytes());
    }
    let mut iov = libc::iovec { iov_base: payload.as_ptr().cast_mut().cast(), iov_len: payload.len() };
    // SAFETY: msghdr is plain data, for which all zeros is a valid value.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = (HEADER + 4 * fds.len()) as _;
    // SAFETY: `message` points at one iovec over `payload` and at a control buffer of the length given.
    let sent = patiently(|| unsafe { raw!(SYS_sendmsg, socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) })?;
    send_rest(socket, payload.get(sent as usize..).unwrap_or_default())
}

/// What a stream had no room for when the first of it was sent.
fn send_rest(socket: BorrowedFd<'_>, mut rest: &[u8]) -> Result<()> {
    while !rest.is_empty() {
        // SAFETY: `rest` is readable for the length given; no address is passed.
        let sent = patiently(|| unsafe {
            raw!(SYS_sendto, socket.as_raw_fd(), rest.as_ptr(), rest.len(), libc::MSG_NOSIGNAL, ptr::null::<u8>(), 0)
        })?;
        rest = rest.get(sent as usize..).unwrap_or_default();
    }
    Ok(())
}

/// Receives a record; 0 bytes when the other side is gone. A descriptor sent along is returned too.
pub fn receive(socket: BorrowedFd<'_>, buf: &mut [u8]) -> Result<(usize, Option<OwnedFd>)> {
    let mut fd = [None];
    let len = receive_fds(socket, buf, &mut fd)?;
    let [fd] = fd;
    Ok((len, fd))
}

/// [`receive`] with the descriptors put into `fds`; the kernel closes those for which there is no room.
pub fn receive_fds(socket: BorrowedFd<'_>, buf: &mut [u8], fds: &mut [Option<OwnedFd>]) -> Result<usize> {
    let mut control = Control([0; HEADER + 4 * MAX_FDS]);
    let mut iov = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    // SAFETY: msghdr is plain data, for which all zeros is a valid value.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    // Exactly the room: CMSG_SPACE(3) would let one more in on 64-bit machines, of which nobody would know.
    message.msg_controllen = (HEADER + 4 * fds.len().min(MAX_FDS)) as _;
    let len = loop {
        // SAFETY: `message` points at one iovec over `buf` and at a control buffer of the length given.
        match cvt(unsafe { raw!(SYS_recvmsg, socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) }) {
            Err(Errno::EINTR) => {}
            result => break result?,
        }
    };
    let given: usize = message.msg_controllen as _;
    let carries = given >= HEADER + 4
        && control.0[8..12] == libc::SOL_SOCKET.to_ne_bytes()
        && control.0[12..16] == libc::SCM_RIGHTS.to_ne_bytes();
    if carries {
        let mut size = [0; 8];
        size.copy_from_slice(&control.0[..8]);
        let end = usize::from_ne_bytes(size).min(control.0.len());
        for (number, fd) in control.0[HEADER..end.max(HEADER)].as_chunks().0.iter().zip(fds) {
            *fd = Some(own(i32::from_ne_bytes(*number).into()));
        }
    }
    Ok(len as usize)
}

/// Drops the records that are there, with what was sent along; whether there were any.
pub fn drop_received(socket: BorrowedFd<'_>) -> Result<bool> {
    for dropped in 0.. {
        // SAFETY: a buffer of length 0 is not touched, and no address is asked for.
        let received =
            cvt(unsafe { raw!(SYS_recvfrom, socket.as_raw_fd(), 0, 0, libc::MSG_DONTWAIT | libc::MSG_TRUNC, 0, 0) });
        match received {
            Err(Errno::EINTR) => {}
            // The other side is gone.
            Err(Errno::EAGAIN) | Ok(0) => return Ok(dropped != 0),
            received => drop(received?),
        }
    }
    Ok(true)
}

/// Brings the loopback device of this network namespace up (netdevice(7)).
pub fn loopback_up() -> Result<()> {
    // SAFETY: no memory is passed.
    let fd = cvt(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into()).map(own)?;
    // SAFETY: ifreq is plain data, for which all zeros is a valid value.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING | libc::IFF_LOOPBACK) as libc::c_short;
    // SAFETY: `request` is a whole ifreq, as SIOCSIFFLAGS wants.
    done(unsafe { raw!(SYS_ioctl, fd.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    use super::super::process;
    use super::*;

    #[test]
    fn who_reads_a_stream_slowly_gets_all() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        wait_in_pieces(ours.as_fd(), libc::SO_SNDTIMEO).unwrap();
        // For longer than one piece nothing is read from a buffer that is full.
        let mut reader = Command::new("/bin/sh");
        reader.args(["-c", "sleep 0.25; wc -c"]).stdin(OwnedFd::from(theirs)).stdout(Stdio::piped());
        let reader_runs = process::spawn(&mut reader).unwrap();
        drop(reader);
        let payload = vec![7; 4 << 20];
        send_fds(ours.as_fd(), &payload, &[std::io::stderr().as_fd()]).unwrap();
        drop(ours);
        let output = reader_runs.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), payload.len().to_string());
    }
}
