//! sd_notify(3): readiness of the container's program is told to whoever supervises us.
//!
//! The host's socket never gets into the container. The container gets a directory with one of ours, read-only,
//! and of what arrives there only `READY=1` is passed on, in our words. `start`, or `run`, listens until then.

use std::ffi::OsString;
use std::fs::Permissions;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use crate::container::options::Global;
use crate::error::{Context, Error, Result, Stage};
use crate::spec::Spec;
use crate::spec::mounts::Mount;
use crate::spec::process::Process;
use crate::state::{Dir, NOTIFY};
use crate::sys::pidfd::ProcessHandle;
use crate::sys::poll::{self, PollFd, PollFlags};
use crate::sys::{descriptor, fs, socket};

/// Where the directory is in the container, as with runc.
const PLACE: &str = "/run/notify";
const SOCKET: &str = "notify.sock";
/// How long the supervisor may take to read.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a send may wait for who has had room a moment before.
const PIECE: Duration = Duration::from_millis(100);

/// The directory on the host that becomes [`PLACE`], where somebody wants to be told.
pub(in crate::container) fn directory(global: &Global, id: &str) -> Option<PathBuf> {
    global.environment.notify_socket.as_ref()?;
    Some(global.root.path().join(id).join(NOTIFY.to_string_lossy().as_ref()))
}

/// Gives the container its socket's place, when somebody wants to be told.
pub(in crate::container) fn offer(global: &Global, id: &str, spec: &mut Spec) {
    let (Some(directory), Some(process)) = (directory(global, id), &mut spec.process) else { return };
    tell(process);
    spec.mounts.push(Mount {
        destination: PLACE.into(),
        kind: Some("bind".into()),
        source: Some(directory.to_string_lossy().into_owned()),
        options: ["bind", "ro", "nosuid", "nodev", "noexec"].map(str::to_owned).into(),
        ..Mount::default()
    });
}

/// Tells the program where the container has its socket.
pub(in crate::container) fn tell(process: &mut Process) {
    process.env.retain(|variable| !variable.starts_with(b"NOTIFY_SOCKET="));
    process.env.push(format!("NOTIFY_SOCKET={PLACE}/{SOCKET}").into());
}

/// Makes the directory that is mounted.
pub(in crate::container) fn prepare(global: &Global, dir: &Dir) -> Result<()> {
    if global.environment.notify_socket.is_none() {
        return Ok(());
    }
    fs::mkdir(dir.fd(), NOTIFY, 0o755).at(Stage::State, || "make the directory of the notify socket")
}

/// The container's socket, listened to.
pub(in crate::container) struct Notify {
    socket: UnixDatagram,
    supervisor: OsString,
}

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::container) enum Heard {
    /// The program is ready, and the supervisor knows.
    Ready,
    /// Something else.
    Nothing,
}

impl Notify {
    /// Listens, where there is a supervisor and the container was created with a socket. Before the program runs.
    pub(in crate::container) fn open(global: &Global, dir: &Dir) -> Result<Option<Notify>> {
        let what = || "listen on the container's notify socket";
        let Some(supervisor) = global.environment.notify_socket.clone() else { return Ok(None) };
        let place = match fs::open(dir.fd(), NOTIFY, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0) {
            Err(Errno::ENOENT) => return Ok(None),
            result => result.at(Stage::State, what)?,
        };
        // A socket's address is short, a path is not.
        let path = fs::by_number(place.as_fd()).join(SOCKET);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            result => result.at(Stage::State, what)?,
        }
        let socket = UnixDatagram::bind(&path).at(Stage::State, what)?;
        socket.set_nonblocking(true).at(Stage::State, what)?;
        // The program may be any user of the container.
        std::fs::set_permissions(&path, Permissions::from_mode(0o777)).at(Stage::State, what)?;
        Ok(Some(Notify { socket, supervisor }))
    }

    /// To be polled for input.
    pub(in crate::container) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads one message; when it says that the program is ready, the supervisor is told. Of a `survivor`, which outlives the
    /// command that was called, it is told the number, too, and has read that when we return.
    pub(in crate::container) fn hear(&self, survivor: Option<i32>, warn: &dyn Fn(&str)) -> Result<Heard> {
        let mut text = [0; 4096];
        let len = match self.socket.recv(&mut text) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(Heard::Nothing),
            result => result.at(Stage::State, || "read the container's notify socket")?,
        };
        if !text[..len].split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
            return Ok(Heard::Nothing);
        }
        let what = || self.telling();
        let more = survivor.map(|pid| format!("\nMAINPID={pid}")).unwrap_or_default();
        self.connected()?.send(format!("READY=1{more}").as_bytes()).at(Stage::State, what)?;
        if survivor.is_some() {
            // The program runs, and the supervisor will hear of it: no reason to fail.
            self.barrier().unwrap_or_else(|error| warn(&error.to_string()));
        }
        Ok(Heard::Ready)
    }

    fn telling(&self) -> String {
        format!("tell NOTIFY_SOCKET {}", self.supervisor.to_string_lossy())
    }

    fn connected(&self) -> Result<UnixDatagram> {
        let what = || self.telling();
        let address = match self.supervisor.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            path => SocketAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(path))),
        };
        let host = UnixDatagram::unbound().at(Stage::State, what)?;
        host.connect_addr(&address.at(Stage::State, what)?).at(Stage::State, what)?;
        // A supervisor that does not read does not keep us.
        host.set_write_timeout(Some(PIECE)).at(Stage::State, what)?;
        match poll::one(host.as_fd(), PollFlags::POLLOUT, poll::within(PATIENCE)).at(Stage::State, what)? {
            false => Err(Error::errno(Stage::State, what(), Errno::ETIMEDOUT)),
            true => Ok(host),
        }
    }

    /// Waits until the supervisor has read what we have said: afterwards it could not tell whose words they were, because
    /// we are gone (sd_notify_barrier(3)). One that knows no barriers lets the descriptor go all the same.
    fn barrier(&self) -> Result<()> {
        let what = || format!("{}: wait until it has heard", self.telling());
        let (reader, writer) = descriptor::pipe().at(Stage::State, what)?;
        socket::send_fds(self.connected()?.as_fd(), b"BARRIER=1", &[writer.as_fd()]).at(Stage::State, what)?;
        drop(writer);
        match poll::one(reader.as_fd(), PollFlags::POLLIN, poll::within(PATIENCE)).at(Stage::State, what)? {
            false => Err(Error::errno(Stage::State, what(), Errno::ETIMEDOUT)),
            true => Ok(()),
        }
    }

    /// Waits until the program is ready, or has ended; the supervisor is told its process id, for it outlives us.
    pub(in crate::container) fn wait(&self, process: &ProcessHandle, warn: &dyn Fn(&str)) -> Result<()> {
        loop {
            let mut polled =
                [PollFd::new(self.fd(), PollFlags::POLLIN), PollFd::new(process.pidfd.as_fd(), PollFlags::POLLIN)];
            poll::any(&mut polled, None).at(Stage::State, || "wait for the container's notify socket")?;
            let ended = polled[1].any() == Some(true);
            // What was sent just before the end counts.
            if self.hear(Some(process.pid), warn)? == Heard::Ready || ended {
                return Ok(());
            }
        }
    }
}
