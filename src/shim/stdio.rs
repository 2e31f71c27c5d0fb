//! Standard streams: what a process writes goes to the fifo, file or program that containerd named, and its input comes from a fifo.
//!
//! A process is given pipes, not the fifos: their readers may go away and come back, and a security module would judge a fifo by a
//! path that the container does not have. Nothing is copied before the runtime has succeeded, because until then the streams
//! carry its own messages.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::console::Listener;
use super::fault::{Answer, Fault};
use super::logger::Logger;
use super::options::Options;
use super::os;
use super::os::poll::PollFlags;
use super::reactor::{self, Event, IN, OUT, Task};
use super::runtime::CommandStreams;
use super::shared::Place;

/// What is copied at once: as much as a pipe holds.
const CHUNK: usize = 64 << 10;

thread_local! {
    /// No copy waits while it uses this, so one is enough for all.
    static BUFFER: RefCell<[u8; CHUNK]> = const { RefCell::new([0; CHUNK]) };
}

/// Where a process's streams go, as the request says.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    pub stdin: String,
    pub stdout: String,
    pub stderr: String,
    pub terminal: bool,
}

/// Our ends of the streams, while the runtime has the others.
#[derive(Debug)]
pub enum Prepared {
    Null,
    Terminal(Listener),
    Pipes { stdin: Option<OwnedFd>, stdout: Option<OwnedFd>, stderr: Option<OwnedFd> },
    Logger(Logger),
}

/// The scheme of a stdout URI; a path alone is a fifo's (or a file's that is there).
fn scheme(uri: &str) -> (&str, &str) {
    uri.split_once("://").unwrap_or(("fifo", uri))
}

impl Paths {
    fn is_null(&self) -> bool {
        self.stdin.is_empty() && self.stdout.is_empty() && self.stderr.is_empty()
    }

    /// Opens what the process will be given.
    pub async fn prepare(&self, options: &Options, place: Place<'_>) -> Answer<(Prepared, CommandStreams)> {
        if self.terminal {
            let listener = Listener::new(place.sockets, place.number).map_err(Fault::doing("console socket"))?;
            return Ok((Prepared::Terminal(listener), CommandStreams::default()));
        }
        if self.is_null() {
            let null = || os::open("/dev/null", libc::O_RDWR).map(Some).map_err(Fault::doing("/dev/null"));
            return Ok((Prepared::Null, CommandStreams { stdin: None, stdout: null()?, stderr: null()? }));
        }
        match scheme(&self.stdout) {
            ("fifo" | "file", _) => self.pipes(options).map_err(Fault::doing("failed to create init process I/O")),
            ("binary" | "binary-v2", _) => {
                let (logger, stdout, stderr) = Logger::start(&self.stdout, place).await?;
                Ok((
                    Prepared::Logger(logger),
                    CommandStreams { stdin: None, stdout: Some(stdout), stderr: Some(stderr) },
                ))
            }
            (other, _) => Err(Fault::unknown(format!("unknown STDIO scheme {other}"))),
        }
    }

    fn pipes(&self, options: &Options) -> io::Result<(Prepared, CommandStreams)> {
        let owner = (options.io_uid, options.io_gid);
        let output =
            |path: &str| if path.is_empty() { Ok((None, None)) } else { pipe(owner).map(|(r, w)| (Some(r), Some(w))) };
        let (stdout, stdout_end) = output(&self.stdout)?;
        let (stderr, stderr_end) = output(&self.stderr)?;
        let (stdin_end, stdin) = output(&self.stdin)?;
        for ours in [&stdin, &stdout, &stderr].into_iter().flatten() {
            os::set_nonblocking(ours.as_fd())?;
        }
        let streams = CommandStreams { stdin: stdin_end, stdout: stdout_end, stderr: stderr_end };
        Ok((Prepared::Pipes { stdin, stdout, stderr }, streams))
    }
}

/// A pipe, with the owner that the options name: with user namespaces the process may have to reopen it.
fn pipe((uid, gid): (u32, u32)) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    if (uid, gid) != (0, 0) {
        // Both ends are one inode.
        nix::unistd::fchown(&reader, Some(uid.into()), Some(gid.into()))?;
    }
    Ok((reader, writer))
}

/// A target of output.
#[derive(Debug)]
struct Output {
    writer: OwnedFd,
    /// Of a fifo: its readers may go away and come back without an error for whoever writes.
    keeper: Option<OwnedFd>,
}

impl Output {
    /// A target that is no fifo.
    fn plain(writer: OwnedFd) -> Output {
        Output { writer, keeper: None }
    }

    /// Waits until the reader of a fifo has everything, or has gone, but not for long where he does not read: what is in there stays while
    /// he has it open. Whoever hears of the end may give up reading (containerd's clients do, when they have not even come to open their end).
    async fn taken(mut self) -> Result<(), Errno> {
        const PATIENCE: Duration = Duration::from_secs(2);
        if self.keeper.take().is_none() {
            return Ok(());
        }
        reactor::within(PATIENCE, self.emptied()).await.unwrap_or(Ok(()))
    }

    async fn emptied(&self) -> Result<(), Errno> {
        // A pipe can be waited for to have room, but not to be empty: of one page that is the same. Its room is a power of two, so that some
        // have it with more than a page in them: only those have to be looked at again.
        const PAUSE_MOST: Duration = Duration::from_millis(50);
        let mut pause = Duration::from_millis(1);
        loop {
            let pages = self.shrink()?;
            let ready = os::look(self.writer.as_fd())?;
            if ready.contains(PollFlags::POLLERR) || ready.contains(PollFlags::POLLOUT) && pages == 1 {
                return Ok(());
            }
            if ready.contains(PollFlags::POLLOUT) {
                reactor::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MOST);
            } else {
                reactor::ready(self.writer.as_fd(), OUT).await?;
            }
        }
    }

    /// Takes away what room can be taken; how many pages are left.
    fn shrink(&self) -> Result<i32, Errno> {
        /// As many pages as a pipe may have; more are only had by whoever asks for them.
        const MOST: i32 = 1 << 8;
        let mut pages = 1;
        loop {
            match fcntl(&self.writer, FcntlArg::F_SETPIPE_SZ(pages * 4096)) {
                Err(Errno::EBUSY) if pages < MOST => pages *= 2,
                Err(errno) => return Err(errno),
                Ok(_) => return Ok(pages),
            }
        }
    }
}

/// Opens a target of output; waits for the reader of a fifo, as containerd's own shim does: what is written before he is there
/// would be lost with the writer.
async fn open_output(uri: &str) -> io::Result<Output> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let (scheme, path) = scheme(uri);
    if scheme == "file" {
        use std::os::unix::fs::OpenOptionsExt;
        let parent = Path::new(path).parent().unwrap_or(Path::new("/"));
        std::fs::DirBuilder::new().recursive(true).create(parent)?;
        let mut options = std::fs::OpenOptions::new();
        // Were it a fifo, everything would wait for its reader.
        options.append(true).create(true).mode(0o644).custom_flags(libc::O_NONBLOCK);
        return Ok(Output::plain(options.open(path)?.into()));
    }
    use std::os::unix::fs::FileTypeExt;
    if !std::fs::metadata(path)?.file_type().is_fifo() {
        return Ok(Output::plain(os::open(path, libc::O_WRONLY | libc::O_APPEND | libc::O_NONBLOCK)?));
    }
    let writer = match os::open(path, libc::O_WRONLY | libc::O_NONBLOCK) {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            let late = || io::Error::new(io::ErrorKind::TimedOut, "nobody opens the fifo to read it");
            reactor::within(PATIENCE, once_read(path)).await.ok_or_else(late)??
        }
        writer => writer?,
    };
    Ok(Output { writer, keeper: Some(os::open(path, libc::O_RDONLY | libc::O_NONBLOCK)?) })
}

/// Waits until a fifo is opened to be read. A reader may itself wait for a writer (fifo(7)), so that there has to be one, for which
/// there has to be a reader first: that one goes at once.
async fn once_read(path: &str) -> io::Result<OwnedFd> {
    let opened = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    opened.add_watch(path, AddWatchFlags::IN_OPEN)?;
    let both = os::open(path, libc::O_RDWR | libc::O_NONBLOCK)?;
    let writer = os::open(path, libc::O_WRONLY | libc::O_NONBLOCK)?;
    drop(both);
    // Without a reader it is in error.
    while os::look(writer.as_fd())?.contains(PollFlags::POLLERR) {
        reactor::ready(opened.as_fd(), IN).await?;
        os::drain(opened.as_fd())?;
    }
    Ok(writer)
}

/// The streams of a process that runs.
#[derive(Debug, Default)]
pub struct Attached {
    tasks: Vec<Task>,
    /// The one of them that copies input.
    input: Option<Task>,
    copies: Rc<Copies>,
    /// Keeps the input from ending until the client says so.
    stdin: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    logger: Option<Logger>,
}

/// The output that is still being copied.
#[derive(Debug)]
struct Copies {
    left: Cell<usize>,
    none: Event<()>,
    /// The process has ended: a terminal that others still hold is read until it has nothing.
    ending: Cell<bool>,
    /// How often something was read or written.
    moved: Cell<u64>,
}

impl Default for Copies {
    fn default() -> Copies {
        Copies { left: Cell::new(0), none: Event::new(), ending: Cell::new(false), moved: Cell::new(0) }
    }
}

impl Prepared {
    pub fn console_socket(&self) -> Option<&Path> {
        match self {
            Prepared::Terminal(listener) => Some(listener.path()),
            _ => None,
        }
    }

    /// Begins to copy.
    pub async fn attach(self, paths: &Paths, place: Place<'_>) -> Answer<Attached> {
        let mut attached = Attached::default();
        match self {
            Prepared::Null => {}
            Prepared::Logger(logger) => attached.logger = Some(logger),
            Prepared::Pipes { stdin, stdout, stderr } => {
                let mut target = None;
                if let Some(from) = stdout {
                    let to = Rc::new(open_output(&paths.stdout).await.map_err(Fault::doing(&paths.stdout))?);
                    attached.copy_out(from, Rc::clone(&to), None);
                    target = Some(to);
                }
                if let Some(from) = stderr {
                    // A file is one for both, as with containerd's shim.
                    let shared = target.filter(|_| scheme(&paths.stdout).0 == "file" || paths.stdout == paths.stderr);
                    let (to, own) = match shared {
                        Some(target) => {
                            let own = target.writer.try_clone()?;
                            (target, Some(own))
                        }
                        None => (Rc::new(open_output(&paths.stderr).await.map_err(Fault::doing(&paths.stderr))?), None),
                    };
                    attached.copy_out(from, to, own);
                }
                if let Some(to) = stdin {
                    attached.copy_in(&paths.stdin, to).map_err(Fault::doing(&paths.stdin))?;
                }
            }
            Prepared::Terminal(listener) => {
                let master = listener.terminal().map_err(Fault::doing("failed to retrieve console master"))?;
                attached.copy_terminal(master, paths, place).await?;
            }
        }
        Ok(attached)
    }
}

impl Attached {
    /// Two that wait for one target each have a descriptor of their `own`: only one task may wait for a number.
    fn copy_out(&mut self, from: OwnedFd, to: Rc<Output>, own: Option<OwnedFd>) {
        let copies = Rc::clone(&self.copies);
        copies.left.set(copies.left.get() + 1);
        self.tasks.push(reactor::spawn(async move {
            if let Err(errno) = copy(&from, own.as_ref().unwrap_or(&to.writer), &copies).await {
                os::log("warning", &format!("output is lost: {errno}"));
            }
            drop((from, own));
            // The last of two streams with one target.
            if let Some(output) = Rc::into_inner(to)
                && let Err(errno) = output.taken().await
            {
                os::log("warning", &format!("output may be lost: {errno}"));
            }
            copies.left.set(copies.left.get() - 1);
            if copies.left.get() == 0 {
                copies.none.set(());
            }
        }));
    }

    fn copy_in(&mut self, path: &str, to: OwnedFd) -> io::Result<()> {
        let from = os::open(path, libc::O_RDONLY | libc::O_NONBLOCK)?;
        self.stdin = Some(os::open(path, libc::O_WRONLY | libc::O_NONBLOCK)?);
        let task = reactor::spawn(async move {
            // Whoever does not read his input ends it so: EPIPE is no failure.
            match copy(&from, &to, &Copies::default()).await {
                Ok(()) | Err(Errno::EPIPE) => {}
                Err(errno) => os::log("warning", &format!("input is lost: {errno}")),
            }
        });
        self.input = Some(task);
        self.tasks.push(task);
        Ok(())
    }

    async fn copy_terminal(&mut self, master: OwnedFd, paths: &Paths, place: Place<'_>) -> Answer<()> {
        os::set_nonblocking(master.as_fd())?;
        let input = master.try_clone()?;
        self.terminal = Some(master.try_clone()?);
        let to = match scheme(&paths.stdout) {
            ("binary" | "binary-v2", _) => {
                let (logger, stdout, _stderr) = Logger::start(&paths.stdout, place).await?;
                os::set_nonblocking(stdout.as_fd())?;
                self.logger = Some(logger);
                Output::plain(stdout)
            }
            // Nobody wants it, but somebody has to read it, or the process would wait for ever.
            ("fifo", "") => Output::plain(os::open("/dev/null", libc::O_WRONLY)?),
            _ => open_output(&paths.stdout).await.map_err(Fault::doing(&paths.stdout))?,
        };
        if !paths.stdin.is_empty() {
            self.copy_in(&paths.stdin, input).map_err(Fault::doing(&paths.stdin))?;
        }
        self.copy_out(master, Rc::new(to), None);
        Ok(())
    }

    /// The client has nothing more to say.
    pub fn close_stdin(&mut self) {
        self.stdin.take();
    }

    pub fn resize(&self, rows: u16, columns: u16) -> Answer<()> {
        match &self.terminal {
            Some(terminal) => Ok(os::tty::set_size(terminal.as_fd(), rows, columns)?),
            None => Ok(()),
        }
    }

    /// The process has ended, and takes no input. Only what it wrote is needed until it is deleted, which may be never.
    pub fn ended(&mut self) {
        self.close_stdin();
        self.input.take().into_iter().for_each(reactor::cancel);
        if self.terminal.take().is_some() {
            self.copies.ending.set(true);
            self.tasks.iter().copied().for_each(reactor::call);
        }
    }

    /// Waits until all output has been passed on, but not for ever: others may hold the pipes, and nobody may read.
    pub async fn finish(&self) {
        /// More than a fifo's reader has ([`Output::taken`]).
        const SILENT: Duration = Duration::from_secs(3);
        const MOST: Duration = Duration::from_secs(10);
        let begun = Instant::now();
        while self.copies.left.get() > 0 {
            let before = self.copies.moved.get();
            if reactor::within(SILENT, self.copies.none.wait()).await.is_some() {
                break;
            }
            if self.copies.moved.get() == before || begun.elapsed() >= MOST {
                os::log(
                    "warning",
                    "who still has the output of a deleted process, or does not read it, is not waited for",
                );
                break;
            }
        }
        if let Some(logger) = &self.logger {
            logger.end().await;
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.tasks.iter().copied().for_each(reactor::cancel);
    }
}

/// Copies until the input ends. What cannot be written is lost, once it is clear that waiting does not help: a process must not
/// stand still because its log's disk is full.
async fn copy(from: &OwnedFd, to: &OwnedFd, copies: &Copies) -> Result<(), Errno> {
    let mut lost = None;
    loop {
        let mut rest = Vec::new();
        let read = BUFFER.with_borrow_mut(|buffer| {
            let count = os::read(from.as_fd(), buffer)?;
            match write_some(to, &buffer[..count]) {
                Ok(written) => rest.extend_from_slice(&buffer[written..count]),
                Err(errno) => lost = Some(errno),
            }
            Ok(count)
        });
        match read {
            Ok(0) => break,
            Ok(_) => copies.moved.update(|times| times + 1),
            Err(Errno::EAGAIN) if copies.ending.get() => break,
            Err(Errno::EAGAIN) => {
                reactor::ready(from.as_fd(), IN).await?;
                continue;
            }
            // The last holder of a terminal has closed it.
            Err(Errno::EIO) => break,
            Err(errno) => return Err(errno),
        }
        while !rest.is_empty() && lost.is_none() {
            reactor::ready(to.as_fd(), OUT).await?;
            match write_some(to, &rest) {
                Ok(written) => {
                    rest.drain(..written);
                    copies.moved.update(|times| times + 1);
                }
                Err(errno) => lost = Some(errno),
            }
        }
        if lost == Some(Errno::EPIPE) {
            break;
        }
        // Others have their turn between two chunks.
        reactor::ready(from.as_fd(), IN).await?;
    }
    lost.map_or(Ok(()), Err)
}

/// Writes what fits now.
fn write_some(to: &OwnedFd, bytes: &[u8]) -> Result<usize, Errno> {
    match os::write(to.as_fd(), bytes) {
        Err(Errno::EAGAIN) => Ok(0),
        result => result,
    }
}
