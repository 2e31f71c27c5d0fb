//! One connection to a systemd manager or to a message bus. Runs in the parent; touches one socket.
//!
//! No thread and no waiting without an end: every read and write has the time left until a deadline.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;

use crate::dbus::value::Value;
use crate::error::{Context, Error, Result, Stage};

use crate::dbus::address::{Address, Peer};
use crate::dbus::message::{BusMessage, MethodCall};

/// A connection.
pub struct Link {
    socket: UnixStream,
    peer: Peer,
    inbox: Vec<u8>,
    serial: u32,
    greeting: Greeting,
}

/// How far the authentication is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Greeting {
    /// Sent; nothing was read yet.
    Sent,
    /// The other end agreed.
    Done,
}

/// Why nothing came.
pub enum Silence {
    /// The other end closed the connection.
    Closed,
    /// Anything else, time-out included.
    Failed(Error),
}

impl Silence {
    /// What a failed call was: one that could not be sent because the other end had closed is answered by nobody.
    pub fn of(error: Error) -> Silence {
        match error.root_errno() {
            Some(Errno::EPIPE | Errno::ECONNRESET) => Silence::Closed,
            _ => Silence::Failed(error),
        }
    }

    /// As an error, for callers to whom a closed connection is one.
    pub fn into_error(self) -> Error {
        match self {
            Silence::Closed => Error::errno(Stage::Cgroup, "read from systemd", Errno::ECONNRESET),
            Silence::Failed(error) => error,
        }
    }
}

impl Link {
    /// Connects and sends the authentication, whose answer is read when it is needed: systemd works
    /// while the caller does something else.
    pub fn open(address: &Address, peer: Peer, uid: u32, deadline: Instant) -> Result<Link> {
        let what = || format!("connect to {}", name(address));
        let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).at(Stage::Cgroup, what)?;
        // connect(2) waits when the listener's queue is full; SO_SNDTIMEO is its time-out (socket(7)).
        let left = left(deadline)?;
        setsockopt(&fd, sockopt::SendTimeout, &timeval(left)).at(Stage::Cgroup, what)?;
        let to = match address {
            Address::Path(path) => UnixAddr::new(path.as_path()),
            Address::Abstract(name) => UnixAddr::new_abstract(name),
        }
        .at(Stage::Cgroup, what)?;
        connect(fd.as_raw_fd(), &to).at(Stage::Cgroup, what)?;
        let mut link = Link { socket: stream(fd), peer, inbox: Vec::new(), serial: 0, greeting: Greeting::Sent };
        link.write(greeting(uid).as_bytes(), deadline)?;
        Ok(link)
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Sends a call and returns its serial.
    pub fn send(&mut self, call: &MethodCall<'_>, deadline: Instant) -> Result<u32> {
        // The reply to BEGIN must be seen first: sd-bus as a server does not look at a message that came
        // along with it until more bytes arrive.
        self.authenticated(deadline)?;
        self.serial += 1;
        let bytes = call.encode(self.serial);
        self.write(&bytes, deadline)?;
        Ok(self.serial)
    }

    /// The next message.
    pub fn next(&mut self, deadline: Instant) -> std::result::Result<BusMessage, Silence> {
        let bad = |why: &str| Silence::Failed(Error::new(Stage::Cgroup, format!("read a message from systemd: {why}")));
        loop {
            if let Some(length) = BusMessage::length(&self.inbox).map_err(bad)?
                && let Some(bytes) = self.inbox.get(..length)
            {
                let message = BusMessage::decode(bytes).map_err(bad)?;
                self.inbox.drain(..length);
                return Ok(message);
            }
            self.read(deadline)?;
        }
    }

    fn authenticated(&mut self, deadline: Instant) -> Result<()> {
        if self.greeting == Greeting::Done {
            return Ok(());
        }
        let line = loop {
            if let Some(end) = self.inbox.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.inbox.drain(..end + 2).take(end).collect();
                break String::from_utf8_lossy(&line).into_owned();
            }
            if self.inbox.len() > 4096 {
                return Err(Error::new(Stage::Cgroup, "authenticate to systemd: the answer is not D-Bus"));
            }
            self.read(deadline).map_err(Silence::into_error)?;
        };
        if !line.starts_with("OK ") {
            return Err(Error::new(Stage::Cgroup, format!("authenticate to systemd: it answered {line:?}")));
        }
        self.greeting = Greeting::Done;
        if self.peer == Peer::Bus {
            // The first message on a bus. Its answer is passed over like every other that nobody waits for.
            self.send(&bus_call("Hello", Vec::new()), deadline)?;
        }
        Ok(())
    }

    /// Asks a bus for a kind of signal. A manager's own socket brings all of them unasked.
    pub fn subscribe(&mut self, rule: String, deadline: Instant) -> Result<()> {
        if self.peer == Peer::Bus {
            self.send(&bus_call("AddMatch", vec![Value::Str(rule)]), deadline)?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], deadline: Instant) -> Result<()> {
        // The time-out is that of one write(2), and a reader that takes little at a time gets many.
        let mut rest = bytes;
        while !rest.is_empty() {
            let left = left(deadline)?;
            self.socket.set_write_timeout(Some(left)).at(Stage::Cgroup, || "set a time-out")?;
            match self.socket.write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).at(Stage::Cgroup, || "write to systemd"),
            }
        }
        Ok(())
    }

    fn read(&mut self, deadline: Instant) -> std::result::Result<(), Silence> {
        let failed = |error: std::io::Error| {
            Silence::Failed(match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => timed_out(),
                _ => Err::<(), _>(error).at(Stage::Cgroup, || "read from systemd").err().unwrap_or_else(timed_out),
            })
        };
        let mut chunk = [0u8; 4096];
        loop {
            let left = left(deadline).map_err(Silence::Failed)?;
            self.socket.set_read_timeout(Some(left)).map_err(failed)?;
            match self.socket.read(&mut chunk) {
                Ok(0) => return Err(Silence::Closed),
                Ok(length) => {
                    self.inbox.extend(chunk.iter().take(length));
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(Silence::Closed),
                Err(error) => return Err(failed(error)),
            }
        }
    }
}

/// The whole of the client's side: EXTERNAL says "as the kernel told you", with the uid in hexadecimal text.
pub fn greeting(uid: u32) -> String {
    let hex: String = uid.to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
    format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n")
}

fn bus_call(member: &str, body: Vec<Value>) -> MethodCall<'_> {
    let name = "org.freedesktop.DBus";
    MethodCall { destination: Some(name), path: "/org/freedesktop/DBus", interface: name, member, body }
}

fn name(address: &Address) -> String {
    match address {
        Address::Path(path) => path.display().to_string(),
        Address::Abstract(name) => format!("@{}", String::from_utf8_lossy(name)),
    }
}

fn stream(fd: OwnedFd) -> UnixStream {
    UnixStream::from(fd)
}

fn timed_out() -> Error {
    Error::errno(Stage::Cgroup, "wait for systemd", Errno::ETIMEDOUT)
        .with_hint("systemd is busy or hung: see `systemctl list-jobs` and its log")
}

/// The time left; never zero, which would mean no time-out at all.
fn left(deadline: Instant) -> Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left < Duration::from_micros(1) { Err(timed_out()) } else { Ok(left) }
}

fn timeval(left: Duration) -> TimeVal {
    TimeVal::new(left.as_secs() as _, left.subsec_micros().max(1) as _)
}
