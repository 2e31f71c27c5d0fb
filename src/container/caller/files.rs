//! The files and sockets a caller names: pid files, pidfd sockets, traces.

use std::ffi::{CStr, CString, OsStr};
use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nix::errno::Errno;

use super::streams::FLUSH;
use crate::container::options::{Create, Global};
use crate::error::{Context, Error, Result, Stage, io_text};
use crate::launch::{self, Trace};
use crate::spec::Spec;
use crate::spec::annotations;
use crate::sys::fs::RegularFile;
use crate::sys::poll::{self, PollFlags};
use crate::sys::{self, fs, process, socket, unnamed};

/// Who is told of a process: looked up before anything is done, so that what cannot be told is an error in time.
#[derive(Default)]
pub(in crate::container) struct Receivers<'a> {
    pid_file: Option<PidFile<'a>>,
    sockets: Vec<PidfdSocket>,
    written: Option<i32>,
}

/// A file that a pid is written to, whole: whoever watches for it never reads a part.
struct PidFile<'a> {
    path: &'a Path,
    /// None until it is looked up again.
    destination: Option<Destination>,
}

impl<'a> PidFile<'a> {
    fn find(path: &'a Path) -> Result<PidFile<'a>> {
        let what = || format!("write the pid file {}", path.display());
        let destination = Destination::writable(path).at(Stage::State, what).map_err(explained)?;
        Ok(PidFile { path, destination: Some(destination) })
    }

    /// Lets a directory go, which would be open over the clone: what is, is closed by the child, and by how many calls that
    /// depends on chance. A fifo stays: whoever reads it would take that for the end.
    fn let_go(&mut self) {
        self.destination.take_if(|destination| matches!(destination, Destination::Name(..)));
    }

    fn write(&mut self, pid: i32) -> Result<()> {
        let what = || format!("write the pid file {}", self.path.display());
        let destination =
            self.destination.take().map_or_else(|| Destination::open(self.path), Ok).at(Stage::State, what)?;
        destination.write(pid.to_string().as_bytes()).at(Stage::State, what)
    }
}

/// A socket that a pidfd is sent to, with this beside it.
struct PidfdSocket {
    path: PathBuf,
    payload: &'static [u8],
    /// None until it is connected to.
    socket: Option<OwnedFd>,
}

impl PidfdSocket {
    /// One that is there. Whether somebody listens is found out when he is told.
    fn find(path: &Path, payload: &'static [u8]) -> Result<PidfdSocket> {
        let what = || format!("connect to {}", path.display());
        let found = std::fs::metadata(path).at(Stage::State, what)?;
        if !found.file_type().is_socket() {
            return Err(Error::errno(Stage::State, what(), Errno::ECONNREFUSED));
        }
        Ok(PidfdSocket { path: path.to_owned(), payload, socket: None })
    }

    fn connect(&mut self) -> Result<()> {
        self.socket = Some(launch::connect(&self.path, Stage::State)?);
        Ok(())
    }

    fn tell(&mut self, pidfd: BorrowedFd<'_>) -> Result<()> {
        let socket = self.socket.take().map_or_else(|| launch::connect(&self.path, Stage::State), Ok)?;
        socket::send_fds(socket.as_fd(), self.payload, &[pidfd])
            .at(Stage::State, || format!("send the pidfd to {}", self.path.display()))
    }
}

impl<'a> Receivers<'a> {
    /// Looks up those of a process that begins in a container which is there: it may run before they are told, so the sockets are
    /// connected to.
    pub fn find(pid_file: Option<&'a Path>, pidfd_socket: Option<&Path>) -> Result<Receivers<'a>> {
        let mut receivers = Receivers::named(pid_file, pidfd_socket)?;
        receivers.sockets.iter_mut().try_for_each(PidfdSocket::connect)?;
        Ok(receivers)
    }

    /// Looks up those that runc's options name.
    fn named(pid_file: Option<&'a Path>, pidfd_socket: Option<&Path>) -> Result<Receivers<'a>> {
        let socket = pidfd_socket.map(|path| PidfdSocket::find(path, b"pidfd"));
        Ok(Receivers {
            pid_file: pid_file.map(PidFile::find).transpose()?,
            sockets: socket.transpose()?.into_iter().collect(),
            written: None,
        })
    }

    /// Looks up those of a new container, which is there to be deleted while one of them keeps us waiting. crun's annotation, which
    /// goes before the environment, may name one more.
    pub fn of_container(global: &Global, args: &'a Create, spec: &Spec) -> Result<Receivers<'a>> {
        let mut receivers = Receivers::named(args.pid_file.as_deref(), args.pidfd_socket.as_deref())?;
        receivers.pid_file.iter_mut().for_each(PidFile::let_go);
        let annotation = annotations::value(&spec.instructions, annotations::PIDFD_RECEIVER).map(Path::new);
        if let Some(path) = annotation.or(global.environment.pidfd_receiver.as_deref()) {
            receivers.sockets.insert(0, PidfdSocket::find(path, b" ")?);
        }
        Ok(receivers)
    }

    /// Tells them.
    pub fn tell(&mut self, pid: i32, pidfd: BorrowedFd<'_>) -> Result<()> {
        self.tell_pid(pid)?;
        self.sockets.iter_mut().try_for_each(|socket| socket.tell(pidfd))
    }

    /// Writes the pid file.
    pub fn tell_pid(&mut self, pid: i32) -> Result<()> {
        if let Some(file) = &mut self.pid_file {
            file.write(pid)?;
            self.written = Some(pid);
        }
        Ok(())
    }

    /// Takes back the pid file of a process that is not what was asked for after all: nobody may take the number, which is free
    /// again, for it.
    pub fn withdraw(&self, global: &Global) {
        if let (Some(file), Some(pid)) = (&self.pid_file, self.written) {
            withdraw_pid(global, file.path, pid);
        }
    }
}

/// Takes back the pid file of a process that has ended, though it was to run on. A file with another number is somebody else's.
pub(in crate::container) fn withdraw_pid(global: &Global, path: &Path, pid: i32) {
    // What it was written to may be a fifo.
    if !std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file()) {
        return;
    }
    let ours = pid.to_string();
    let read =
        RegularFile::find(path).and_then(|file| file.map_or(Ok(Vec::new()), |file| file.read(ours.len() as u64 + 1)));
    let gone = match read {
        Ok(text) if text == ours.as_bytes() => std::fs::remove_file(path),
        Ok(_) => Ok(()),
        Err(errno) => Err(errno.into()),
    };
    match gone {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            (global.warn)(&format!("remove the pid file {}: {}", path.display(), io_text(&error)));
        }
        _ => {}
    }
}

/// Writes a file whole, or not at all.
fn write(path: &Path, text: &[u8], kind: &str) -> Result<()> {
    let what = || format!("write the {kind} {}", path.display());
    Destination::open(path).and_then(|destination| destination.write(text)).at(Stage::State, what).map_err(explained)
}

/// A file that will be written: looked up once, so that nobody who may change the path's directories meanwhile can have it
/// written elsewhere.
#[derive(Debug)]
pub(in crate::container) enum Destination {
    /// A name in this directory. It is replaced as a whole, a link as well: never through one that somebody else has put there.
    Name(OwnedFd, CString),
    /// A fifo or a device, which is written to: a new file in its place would be nothing to whoever uses it.
    Stream(OwnedFd),
}

impl Destination {
    /// Looks it up.
    pub fn open(path: &Path) -> sys::Result<Destination> {
        let slash = path.as_os_str().as_bytes().ends_with(b"/");
        let name = path.file_name().filter(|_| !slash).ok_or(Errno::EISDIR)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(|_| Errno::EINVAL);
        let dir = fs::open(fs::CWD, &text(dir.as_os_str())?, libc::O_PATH | libc::O_DIRECTORY, 0)?;
        let name = text(name)?;
        match fs::stat_at(dir.as_fd(), &name) {
            Err(Errno::ENOENT) => Ok(Destination::Name(dir, name)),
            Err(errno) => Err(errno),
            Ok(stat) => match fs::kind(&stat) {
                libc::S_IFREG | libc::S_IFLNK => Ok(Destination::Name(dir, name)),
                libc::S_IFDIR => Err(Errno::EISDIR),
                _ => stream(dir.as_fd(), &name).map(Destination::Stream),
            },
        }
    }

    /// Looks up one that can be written as far as that is known before.
    pub fn writable(path: &Path) -> sys::Result<Destination> {
        let found = Destination::open(path)?;
        if let Destination::Name(dir, _) = &found {
            fs::access(dir.as_fd(), c"", libc::W_OK | libc::X_OK)?;
        }
        Ok(found)
    }

    /// Whether it is a link, which would be replaced.
    pub fn is_link(&self) -> bool {
        match self {
            Destination::Name(dir, name) => {
                fs::stat_at(dir.as_fd(), name).is_ok_and(|stat| fs::kind(&stat) == libc::S_IFLNK)
            }
            Destination::Stream(_) => false,
        }
    }

    /// Writes it; to somebody who does not read only for some time.
    pub fn write(&self, text: &[u8]) -> sys::Result<()> {
        let (dir, name) = match self {
            Destination::Stream(file) => return write_patiently(file.as_fd(), text),
            Destination::Name(dir, name) => (dir.as_fd(), name),
        };
        if unnamed::write(dir, name, text).is_ok() {
            return Ok(());
        }
        // Something has the name, which only a rename replaces, or the file system gives every file one.
        // Nobody else's: a brisk in another pid namespace may have our number, and write to the same directory now.
        // Without the name in it, which may be as long as a name can be.
        let temporary = format!(".brisk.{:016x}.{}", process::monotonic_ns(), process::getpid());
        let temporary = CString::new(temporary).map_err(|_| Errno::EINVAL)?;
        let file = fs::open(dir, &temporary, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL, 0o666)?;
        let written = fs::write_all(file.as_fd(), text).and_then(|()| fs::rename(dir, &temporary, name));
        written.inspect_err(|_| {
            // The error is what counts; this is only tidy.
            let _ = fs::unlink(dir, &temporary, 0);
        })
    }
}

/// Opens a fifo, or a device that loses or shows what is written to it. Neither to open it nor to write to it waits for anybody.
///
/// A container that writes to the directory can have put any other device of the host's there, a disk among them; and to
/// open some is an order to them already.
fn stream(dir: BorrowedFd<'_>, name: &CStr) -> sys::Result<OwnedFd> {
    let found = fs::open(dir, name, libc::O_PATH | libc::O_NOFOLLOW, 0)?;
    let stat = fs::stat(found.as_fd())?;
    match fs::kind(&stat) {
        libc::S_IFIFO => {}
        // null, zero, full, and terminals (Documentation/admin-guide/devices.txt).
        libc::S_IFCHR
            if matches!(
                (libc::major(stat.st_rdev), libc::minor(stat.st_rdev)),
                (1, 3 | 5 | 7) | (4 | 5 | 136..=143, _)
            ) => {}
        // A socket cannot be opened.
        libc::S_IFSOCK => return Err(Errno::ENXIO),
        _ => return Err(Errno::EPERM),
    }
    fs::reopen(found.as_fd(), libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY)
}

/// What there is to say of an error of [`Destination`].
pub(in crate::container) fn explained(error: Error) -> Error {
    match error.root_errno() {
        Some(Errno::EPERM) => error.with_hint("of devices only terminals, null, zero and full are written to"),
        _ => error,
    }
}

/// Writes to whoever reads, for [`FLUSH`] at the most.
fn write_patiently(to: BorrowedFd<'_>, mut text: &[u8]) -> sys::Result<()> {
    let end = Instant::now() + FLUSH;
    while !text.is_empty() {
        if !poll::one(to, PollFlags::POLLOUT, Some(end))? {
            return Err(Errno::ETIMEDOUT);
        }
        // What poll(2) promises of a pipe that can be written (pipe(7)): an inherited one waits for more.
        match fs::write(to, &text[..text.len().min(libc::PIPE_BUF)]) {
            Ok(len) => text = &text[len..],
            Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Writes the timeline, where one was asked for. What it is about is done: that cannot fail any more.
pub(in crate::container) fn write_trace(global: &Global, path: Option<&Path>, trace: Option<Trace>) {
    if let (Some(path), Some(mut trace)) = (path, trace)
        && let Err(error) = write(path, trace.to_json().to_string().as_bytes(), "trace")
    {
        (global.warn)(&error.to_string());
    }
}
