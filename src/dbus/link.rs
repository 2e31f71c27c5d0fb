//! One connection to a service or to a message bus. Runs in the parent; touches one socket.
//!
//! No thread and no waiting without an end: every read and write has the time left until a deadline.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt};
use nix::sys::time::TimeVal;

use crate::dbus::value::Value;
use crate::error::{Context, Error, Result, Stage};
use crate::sys::interrupt;

use crate::dbus::address::{Address, Peer};
use crate::dbus::message::{BusMessage, MethodCall};

/// Who is spoken to, in the words of errors.
#[derive(Clone, Copy, Debug)]
pub struct BusService {
    /// Its name.
    pub name: &'static str,
    /// What it is asked for.
    pub stage: Stage,
    /// What to tell a person when it does not answer in time.
    pub slow: &'static str,
}

impl BusService {
    fn timed_out(self) -> Error {
        Error::errno(self.stage, format!("wait for {}", self.name), Errno::ETIMEDOUT).with_hint(self.slow)
    }

    /// The time left; never zero, which would mean no time-out at all.
    fn left(self, deadline: Instant) -> Result<Duration> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left < Duration::from_micros(1) { Err(self.timed_out()) } else { Ok(left) }
    }

    /// What of that is waited before it is looked whether somebody asks us to end.
    fn piece(self, deadline: Instant) -> Result<Duration> {
        self.left(deadline).map(|left| left.min(interrupt::WAIT))
    }
}

/// A connection.
pub struct Link {
    socket: UnixStream,
    service: BusService,
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
    pub fn into_error(self, service: BusService) -> Error {
        match self {
            Silence::Closed => Error::errno(service.stage, format!("read from {}", service.name), Errno::ECONNRESET),
            Silence::Failed(error) => error,
        }
    }
}

impl Link {
    /// Connects and sends the authentication, whose answer is read when it is needed: the service works
    /// while the caller does something else.
    pub fn open(service: BusService, (address, peer): (&Address, Peer), uid: u32, deadline: Instant) -> Result<Link> {
        let BusService { stage, .. } = service;
        let what = || format!("connect to {}", name(address));
        let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).at(stage, what)?;
        // connect(2) waits when the listener's queue is full; SO_SNDTIMEO is its time-out (socket(7)).
        setsockopt(&fd, sockopt::SendTimeout, &timeval(service.piece(deadline)?)).at(stage, what)?;
        let to = match address {
            Address::Path(path) => UnixAddr::new(path.as_path()),
            Address::Abstract(name) => UnixAddr::new_abstract(name),
        }
        .at(stage, what)?;
        while let Err(errno) = connect(fd.as_raw_fd(), &to) {
            if errno != Errno::EAGAIN {
                return Err(errno).at(stage, what);
            }
            service.left(deadline)?;
            interrupt::look().at(stage, what)?;
        }
        let mut link = Link {
            socket: UnixStream::from(fd),
            service,
            peer,
            inbox: Vec::new(),
            serial: 0,
            greeting: Greeting::Sent,
        };
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
        let BusService { name, stage, .. } = self.service;
        let bad = |why: &str| Silence::Failed(Error::new(stage, format!("read a message from {name}: {why}")));
        loop {
            if let Some(length) = BusMessage::length(&self.inbox).map_err(bad)?
                && let Some(bytes) = self.inbox.get(..length)
            {
                let message = BusMessage::decode(bytes);
                let is_answer = BusMessage::is_answer(bytes);
                self.inbox.drain(..length);
                match message {
                    // On a bus anybody may send anybody a signal, of a kind or with fields that are not known.
                    Err(_) if !is_answer => continue,
                    message => return message.map_err(bad),
                }
            }
            self.read(deadline)?;
        }
    }

    fn authenticated(&mut self, deadline: Instant) -> Result<()> {
        if self.greeting == Greeting::Done {
            return Ok(());
        }
        let BusService { name, stage, .. } = self.service;
        let line = loop {
            if let Some(end) = self.inbox.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.inbox.drain(..end + 2).take(end).collect();
                break String::from_utf8_lossy(&line).into_owned();
            }
            if self.inbox.len() > 4096 {
                return Err(Error::new(stage, format!("authenticate to {name}: the answer is not D-Bus")));
            }
            self.read(deadline).map_err(|silence| silence.into_error(self.service))?;
        };
        if !line.starts_with("OK ") {
            return Err(Error::new(stage, format!("authenticate to {name}: it answered {line:?}")));
        }
        self.greeting = Greeting::Done;
        if self.peer == Peer::Bus {
            // The first message on a bus. Its answer is passed over like every other that nobody waits for.
            self.send(&bus_call("Hello", Vec::new()), deadline)?;
        }
        Ok(())
    }

    /// Asks a bus for a kind of signal. The service's own socket brings all of them unasked.
    pub fn subscribe(&mut self, rule: String, deadline: Instant) -> Result<()> {
        if self.peer == Peer::Bus {
            self.send(&bus_call("AddMatch", vec![Value::Str(rule)]), deadline)?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], deadline: Instant) -> Result<()> {
        // The time-out is that of one write(2), and a reader that takes little at a time gets many.
        let BusService { name, stage, .. } = self.service;
        let mut rest = bytes;
        while !rest.is_empty() {
            let piece = self.service.piece(deadline)?;
            self.socket.set_write_timeout(Some(piece)).at(stage, || "set a time-out")?;
            match self.socket.write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    interrupt::look().at(stage, || format!("write to {name}"))?;
                }
                Err(error) => return Err(error).at(stage, || format!("write to {name}")),
            }
        }
        Ok(())
    }

    fn read(&mut self, deadline: Instant) -> std::result::Result<(), Silence> {
        let BusService { name, stage, .. } = self.service;
        let mut chunk = [0u8; 4096];
        loop {
            let piece = self.service.piece(deadline).map_err(Silence::Failed)?;
            let read = self.socket.set_read_timeout(Some(piece)).and_then(|()| self.socket.read(&mut chunk));
            match read.map_err(|error| (error.kind(), error)) {
                Ok(0) | Err((ErrorKind::ConnectionReset, _)) => return Err(Silence::Closed),
                Ok(length) => {
                    self.inbox.extend(chunk.iter().take(length));
                    return Ok(());
                }
                Err((ErrorKind::Interrupted, _)) => {}
                Err((ErrorKind::WouldBlock | ErrorKind::TimedOut, _)) => {
                    interrupt::look().at(stage, || format!("wait for {name}")).map_err(Silence::Failed)?;
                }
                Err((_, error)) => {
                    return Err(error).at(stage, || format!("read from {name}")).map_err(Silence::Failed);
                }
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

fn timeval(left: Duration) -> TimeVal {
    TimeVal::new(left.as_secs() as _, left.subsec_micros().max(1) as _)
}
