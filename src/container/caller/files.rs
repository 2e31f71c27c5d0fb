//! The files and sockets a caller names: pid files, pidfd sockets, traces.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::container::environment::PIDFD_RECEIVER;
use crate::container::options::{Create, Global};
use crate::error::{Context, Error, Result, Stage, io_text};
use crate::launch::{self, Trace};
use crate::spec::Spec;
use crate::spec::annotations;
use crate::sys::destination::Destination;
use crate::sys::fs::RegularFile;
use crate::sys::pidfd::ProcessHandle;
use crate::sys::socket;

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
        let what = || format!("--pid-file {}", path.display());
        let destination = Destination::writable(path).at(Stage::State, what).map_err(Error::of_destination)?;
        Ok(PidFile { path, destination: Some(destination) })
    }

    /// Lets a directory go, which would be open over the clone: what is, is closed by the child, and by how many calls that
    /// depends on chance. A fifo stays: whoever reads it would take that for the end.
    fn let_go(&mut self) {
        self.destination.take_if(|destination| matches!(destination, Destination::Name(..)));
    }

    fn write(&mut self, pid: i32) -> Result<()> {
        let what = || format!("--pid-file {}", self.path.display());
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
    fn find(said_by: &str, path: &Path, payload: &'static [u8]) -> Result<PidfdSocket> {
        let what = || format!("{said_by}: connect to {}", path.display());
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
        let socket = pidfd_socket.map(|path| PidfdSocket::find("--pidfd-socket", path, b"pidfd"));
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
        let annotation = annotations::value(&spec.instructions, annotations::PIDFD_RECEIVER)
            .map(|path| (annotations::PIDFD_RECEIVER, Path::new(path)));
        let environment = || Some((PIDFD_RECEIVER, global.environment.pidfd_receiver.as_deref()?));
        if let Some((said_by, path)) = annotation.or_else(environment) {
            receivers.sockets.insert(0, PidfdSocket::find(said_by, path, b" ")?);
        }
        Ok(receivers)
    }

    /// Tells them.
    pub fn tell(&mut self, process: &ProcessHandle) -> Result<()> {
        self.tell_pid(process.pid)?;
        self.sockets.iter_mut().try_for_each(|socket| socket.tell(process.pidfd.as_fd()))
    }

    /// Writes the pid file.
    pub fn tell_pid(&mut self, pid: i32) -> Result<()> {
        if let Some(file) = &mut self.pid_file {
            file.write(pid)?;
            self.written = Some(pid);
        }
        Ok(())
    }

    /// Whether the pid file is written, where there is one.
    pub fn were_told(&self) -> bool {
        self.pid_file.is_none() || self.written.is_some()
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
fn write(path: &Path, text: &[u8], flag: &str) -> Result<()> {
    let what = || format!("{flag} {}", path.display());
    let destination = Destination::writable_but_link(path);
    destination.and_then(|destination| destination.write(text)).at(Stage::State, what).map_err(Error::of_destination)
}

/// Writes the timeline, where one was asked for. What it is about is done: that cannot fail any more.
pub(in crate::container) fn write_trace(global: &Global, path: Option<&Path>, trace: Option<Trace>) {
    if let (Some(path), Some(mut trace)) = (path, trace)
        && let Err(error) = write(path, trace.to_json().to_string().as_bytes(), "--trace")
    {
        let hint = error.hint().map_or_else(String::new, |hint| format!(" (hint: {hint})"));
        (global.warn)(&format!("{error}{hint}"));
    }
}
