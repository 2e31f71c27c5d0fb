//! A file that a caller names, to be written as a whole.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::fs::RegularFile;
use super::poll::{self, PollFlags};
use super::{Result, appended, fs, process, unnamed};

/// How long whoever reads a stream may take before the rest is lost.
pub const FLUSH: Duration = Duration::from_secs(3);

/// What brisk itself reads is called so, wherever it is: a bundle, the state of a container or a pool, an overlay's holder, and its settings.
const READ: [&str; 8] = [
    "config.json",
    "config.json.unready",
    "state.json",
    "pool.json",
    "exec.fifo",
    "end.fifo",
    ".brisk-holder",
    "trusted-annotations",
];

/// Whether a file may not be written because it is called as one that brisk reads: a slip would cost a bundle, or leave a container
/// that nothing can end. Where they are need not be known for that. crun's state has a name that files of others have, too: it is looked at.
pub fn is_read(path: &Path) -> bool {
    let has = |name: &str| path.file_name().is_some_and(|own| own == name);
    let is_of_crun = || {
        let text = RegularFile::find(path).and_then(|file| file.map_or(Ok(Vec::new()), |file| file.read(1 << 16)));
        text.is_ok_and(|text| contains(&text, CRUN_KEY))
    };
    READ.iter().any(|read| has(read)) || has("status") && is_of_crun()
}

/// What every `status` of crun's has in it.
const CRUN_KEY: &[u8] = b"\"process-start-time\"";
/// And every configuration, every state of brisk's and of runc's, and every pool. In a line of a log the quotes would be escaped.
const KEYS: [&[u8]; 4] = [CRUN_KEY, b"\"ociVersion\"", b"\"init_process_pid\"", b"\"trustAnnotations\""];

fn contains(text: &[u8], key: &[u8]) -> bool {
    text.windows(key.len()).any(|word| word == key)
}

/// Whether it is one of those that brisk reads, by what is in it. One that we may not read is not.
fn reads_as_read(path: &CStr) -> bool {
    let mut text = vec![0; 1 << 20];
    let file = fs::open(fs::CWD, path, libc::O_RDONLY | libc::O_NONBLOCK, 0);
    let len = file.and_then(|file| fs::read(file.as_fd(), &mut text)).unwrap_or(0);
    KEYS.iter().any(|key| contains(&text[..len], key))
}

/// Opens a file that every message of this program is appended to, without waiting for anybody. EEXIST: it is, by whatever links,
/// called as what brisk reads; EMLINK: it has several names, and what brisk reads in it. A link is followed: the path is the caller's own,
/// and /dev/stderr is one. What is read under another name is not appended to once that is known ([`refuse_appended`]).
pub fn append(path: &Path) -> Result<OwnedFd> {
    if is_read(path) {
        return Err(Errno::EEXIST);
    }
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_NONBLOCK;
    let path_text = fs::c_path(path)?;
    let file = fs::open(fs::CWD, &path_text, flags, 0o644)?;
    let mut name = [0; libc::PATH_MAX as usize];
    // Without proc only what it is called is known.
    if fs::path_of(file.as_fd(), &mut name).is_ok_and(|real| is_read(Path::new(OsStr::from_bytes(real)))) {
        return Err(Errno::EEXIST);
    }
    let stat = fs::stat(file.as_fd())?;
    if fs::kind(&stat) == libc::S_IFREG {
        // A hard link to such a file says nothing of that, but that there is another name: a backup of logs may have made that.
        if stat.st_nlink > 1 && reads_as_read(&path_text) {
            return Err(Errno::EMLINK);
        }
        appended::is(&stat);
    }
    Ok(file)
}

/// For whoever reads a file that a caller or a state names: ETXTBSY where it is the one that messages are appended to, which from
/// here on gets none.
pub fn refuse_appended(file: BorrowedFd<'_>) -> Result<()> {
    if appended::is_known() { appended::refuse(&fs::stat(file)?) } else { Ok(()) }
}

/// A file that will be written: looked up once, so that nobody who may change the path's directories meanwhile can have it
/// written elsewhere.
#[derive(Debug)]
pub enum Destination {
    /// A name in this directory. It is replaced as a whole, a link as well: never through one that somebody else has put there.
    Name(OwnedFd, CString),
    /// A fifo or a device, which is written to: a new file in its place would be nothing to whoever uses it.
    Stream(OwnedFd),
}

impl Destination {
    /// Looks it up. EEXIST: it is called as what brisk reads; ETXTBSY: messages are appended to it.
    pub fn open(path: &Path) -> Result<Destination> {
        if path.as_os_str().is_empty() {
            return Err(Errno::ENOENT);
        }
        let slash = path.as_os_str().as_bytes().ends_with(b"/");
        let name = path.file_name().filter(|_| !slash).ok_or(Errno::EISDIR)?;
        if is_read(path) {
            return Err(Errno::EEXIST);
        }
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let dir = fs::open(fs::CWD, &fs::c_path(dir)?, libc::O_PATH | libc::O_DIRECTORY, 0)?;
        let name = fs::c_path(Path::new(name))?;
        match fs::stat_at(dir.as_fd(), &name) {
            Err(Errno::ENOENT) => Ok(Destination::Name(dir, name)),
            Err(errno) => Err(errno),
            // It would have the name, and what is appended from then on none.
            Ok(stat) if appended::is_it(&stat) => Err(Errno::ETXTBSY),
            Ok(stat) => match fs::kind(&stat) {
                libc::S_IFREG | libc::S_IFLNK => Ok(Destination::Name(dir, name)),
                libc::S_IFDIR => Err(Errno::EISDIR),
                _ => stream(dir.as_fd(), &name).map(Destination::Stream),
            },
        }
    }

    /// Looks up one that can be written as far as that is known before.
    pub fn writable(path: &Path) -> Result<Destination> {
        let found = Destination::open(path)?;
        if let Destination::Name(dir, _) = &found {
            fs::access(dir.as_fd(), c"", libc::W_OK | libc::X_OK)?;
        }
        Ok(found)
    }

    /// [`Destination::writable`], and no link, which would be replaced: ELOOP, as of `O_NOFOLLOW`.
    pub fn writable_but_link(path: &Path) -> Result<Destination> {
        let found = Destination::writable(path)?;
        match &found {
            Destination::Name(dir, name) if is_link(dir.as_fd(), name) => Err(Errno::ELOOP),
            _ => Ok(found),
        }
    }

    /// What has the name now; none where nothing has. EINVAL where it is no regular file, and ELOOP of a link: whoever writes to the
    /// directory can have put one there since it was looked up.
    pub fn read(&self, most: u64) -> Result<Option<Vec<u8>>> {
        let Destination::Name(dir, name) = self else { return Err(Errno::EINVAL) };
        match RegularFile::open(dir.as_fd(), name) {
            Err(Errno::ENOENT) => Ok(None),
            found => found?.ok_or(Errno::EINVAL)?.read(most).map(Some),
        }
    }

    /// Whether both are one name, or names of one file.
    pub fn is(&self, other: &Destination) -> bool {
        let one_name = match (self, other) {
            (Destination::Name(dir, name), Destination::Name(other_dir, other_name)) if name == other_name => {
                let inode = |dir: &OwnedFd| fs::stat(dir.as_fd()).map(|stat| (stat.st_dev, stat.st_ino));
                inode(dir).is_ok_and(|here| inode(other_dir) == Ok(here))
            }
            _ => false,
        };
        one_name || self.kept().is_some_and(|file| other.kept() == Some(file))
    }

    /// The file that has the name now, or the fifo; none where there is none. See [`kept`].
    pub fn kept(&self) -> Option<(u64, u64)> {
        match self {
            Destination::Name(dir, name) => fs::stat_at(dir.as_fd(), name),
            Destination::Stream(file) => fs::stat(file.as_fd()),
        }
        .ok()
        .and_then(|stat| kept(&stat))
    }

    /// Writes it; to somebody who does not read only for some time.
    pub fn write(&self, text: &[u8]) -> Result<()> {
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

/// Which file this is, by device and inode, where there would be one text in it instead of two that were written there: no device, which
/// keeps nothing or is looked at while it is written to.
pub fn kept(stat: &libc::stat) -> Option<(u64, u64)> {
    (fs::kind(stat) != libc::S_IFCHR).then_some((stat.st_dev, stat.st_ino))
}

fn is_link(dir: BorrowedFd<'_>, name: &CStr) -> bool {
    fs::stat_at(dir, name).is_ok_and(|stat| fs::kind(&stat) == libc::S_IFLNK)
}

/// Opens a fifo, or a device that loses or shows what is written to it. Neither to open it nor to write to it waits for anybody.
///
/// A container that writes to the directory can have put any other device of the host's there, a disk among them; and to
/// open some is an order to them already.
fn stream(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
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
        _ => return Err(Errno::EOPNOTSUPP),
    }
    fs::reopen(found.as_fd(), libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY)
}

/// Writes to whoever reads, for [`FLUSH`] at the most.
fn write_patiently(to: BorrowedFd<'_>, mut text: &[u8]) -> Result<()> {
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
