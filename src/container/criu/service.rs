//! One `criu swrk` and the talk with it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::opts::Opts;
use super::protobuf::{self, FieldValue, Received};
use crate::error::{Context, Error, Result, Stage, io_text};
use crate::host::programs::find_program;
use crate::spec::process::Process;
use crate::sys::fs::RegularFile;
use crate::sys::poll::{self, PollFlags};
use crate::sys::{descriptor, fs, interrupt, pidfd, process, socket};

/// `criu_req_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    Dump = 1,
    Restore = 2,
    PreDump = 4,
    Notify = 6,
    FeatureCheck = 9,
}

impl RequestKind {
    const fn name(self) -> &'static str {
        match self {
            RequestKind::Dump => "dump",
            RequestKind::Restore => "restore",
            RequestKind::PreDump => "pre-dump",
            RequestKind::Notify => "notify",
            RequestKind::FeatureCheck => "feature check",
        }
    }
}

/// Something CRIU tells while it works; it waits for the answer.
#[derive(Debug)]
pub struct Notice {
    /// What happens.
    pub script: String,
    /// The restored first process, where it is known.
    pub pid: i32,
    /// The terminal's master, of `orphan-pts-master`.
    pub fd: Option<OwnedFd>,
}

/// A feature of the kernel, by its number in `criu_features`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CriuFeature {
    TrackedMemory = 1,
    LazyPages = 2,
}

/// A running service. Ends when it is dropped.
pub struct Service {
    child: Child,
    socket: Option<OwnedFd>,
    errors: OwnedFd,
}

/// How long CRIU may take to undo what it has done when somebody has enough of waiting; then it does so on its own.
const PATIENCE: Duration = Duration::from_secs(5);

/// How much of what CRIU said an error quotes.
const QUOTED: usize = 1024;

impl Service {
    /// Starts it to bring a process back. The standard input is ours: there it looks for the terminal of `--shell-job`.
    pub fn restoring(process: Option<&Process>) -> Result<Service> {
        Service::spawn(Stdio::inherit(), process)
    }

    /// Starts it.
    pub fn start() -> Result<Service> {
        Service::spawn(Stdio::null(), None)
    }

    fn spawn(input: Stdio, restored: Option<&Process>) -> Result<Service> {
        let (ours, theirs) = socket::pair().at(Stage::Criu, || "make a socket pair")?;
        let errors = fs::memfd(c"brisk-criu-stderr").at(Stage::Criu, || "make a memory file")?;
        let copy = errors.try_clone().at(Stage::Criu, || "copy a descriptor")?;
        inherit(&theirs)?;
        let missing = || Error::new(Stage::Criu, "criu: executable file not found in $PATH").with_hint("install CRIU");
        let mut command = Command::new(find_program("criu").ok_or_else(missing)?);
        command.arg("swrk").arg(theirs.as_raw_fd().to_string()).stdin(input).stdout(Stdio::null()).stderr(copy);
        // CRIU before 3.19 does not save no_new_privs. What it restores has what it has itself.
        if restored.is_some_and(|process| process.no_new_privileges) {
            process::never_gains(&mut command);
        }
        let child = process::spawn(&mut command).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => missing(),
            _ => Error::new(Stage::Criu, format!("start criu: {}", io_text(&error))),
        })?;
        Ok(Service { child, socket: Some(ours), errors })
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Refuses when the kernel cannot do what will be needed.
    pub fn require(feature: CriuFeature) -> Result<()> {
        let mut service = Service::start()?;
        let wanted = FieldValue::Message(vec![(feature as u32, true.into())]);
        let request = [(1, FieldValue::from(RequestKind::FeatureCheck as i32)), (5, wanted)];
        let answer = service.talk(RequestKind::FeatureCheck, &request, &mut |_| Ok(()))?;
        let found = protobuf::decode(&answer)?;
        let features = found.iter().find(|(field, _)| *field == 8).map(|(_, block)| protobuf::decode(block.block()));
        let there = features.transpose()?.unwrap_or_default();
        if there.iter().any(|(field, value)| *field == feature as u32 && value.number() != 0) {
            return Ok(());
        }
        let name = match feature {
            CriuFeature::TrackedMemory => "tracking of changed memory (--pre-dump)",
            CriuFeature::LazyPages => "restoring memory when it is touched (--lazy-pages)",
        };
        Err(Error::new(Stage::Criu, format!("criu or the kernel lacks {name}")))
    }

    /// One request, to its end. A notice that fails makes CRIU undo what it has done, but for those at the end of a restore
    /// (`pre-resume`, `post-resume`), where it goes on.
    pub fn call(&mut self, kind: RequestKind, opts: &Opts, notice: &mut dyn FnMut(Notice) -> Result<()>) -> Result<()> {
        self.talk(kind, &[(1, FieldValue::from(kind as i32)), (2, opts.message())], notice).map(drop)
    }

    fn talk(
        &mut self,
        kind: RequestKind,
        request: &[(u32, FieldValue)],
        notice: &mut dyn FnMut(Notice) -> Result<()>,
    ) -> Result<Vec<u8>> {
        self.send(request)?;
        let mut refused = None;
        loop {
            let mut buffer = vec![0; 64 * 1024];
            let socket = self.socket.as_ref().ok_or_else(|| Error::new(Stage::Criu, "the service has ended"))?;
            poll::one(socket.as_fd(), PollFlags::POLLIN, None).at(Stage::Criu, || "wait for criu")?;
            let (len, fd) = socket::receive(socket.as_fd(), &mut buffer).unwrap_or((0, None));
            buffer.truncate(len);
            if len == 0 {
                return Err(refused.unwrap_or_else(|| self.died(kind)));
            }
            let answer = Answer::parse(&protobuf::decode(&buffer)?);
            if answer.kind == RequestKind::Notify as i64 && answer.success {
                let outcome = notice(Notice { script: answer.script, pid: answer.pid, fd });
                let accepted = outcome.is_ok();
                self.send(&[(1, FieldValue::from(RequestKind::Notify as i32)), (3, accepted.into())])?;
                refused = outcome.err().or(refused);
                continue;
            }
            return match (refused, answer.success) {
                (Some(error), _) => Err(error),
                (None, true) => Ok(buffer),
                (None, false) => Err(self.failed(kind, &answer)),
            };
        }
    }

    fn send(&mut self, message: &[(u32, FieldValue)]) -> Result<()> {
        let Some(socket) = &self.socket else { return Err(Error::new(Stage::Criu, "the service has ended")) };
        match socket::send(socket.as_fd(), &protobuf::encode(message)) {
            // What it has to say is still to be read.
            Err(nix::errno::Errno::EPIPE) => Ok(()),
            result => result.at(Stage::Criu, || "send a request to criu"),
        }
    }

    fn failed(&self, kind: RequestKind, answer: &Answer) -> Error {
        let mut what = format!("criu failed: type {} errno {}", kind.name(), answer.errno);
        for said in [answer.message.trim().to_owned(), self.said()] {
            if !said.is_empty() {
                what.push_str(": ");
                what.push_str(&said);
            }
        }
        Error::new(Stage::Criu, what)
    }

    /// The error of a CRIU that ended without an answer.
    fn died(&mut self, kind: RequestKind) -> Error {
        self.socket = None;
        let how = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let said = self.said();
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        Error::new(Stage::Criu, format!("criu ended before the {} was done ({how}){said}", kind.name()))
            .with_hint("`criu check` tells whether this version of CRIU can work with this kernel")
    }

    /// The errors on its standard error, on one line.
    fn said(&self) -> String {
        let mut buffer = [0; QUOTED];
        let len = fs::pread(self.errors.as_fd(), &mut buffer, 0).unwrap_or(0);
        one_line(&String::from_utf8_lossy(&buffer[..len]))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // CRIU ends when nobody is there to talk to.
        self.socket = None;
        let may_hang = interrupt::by().is_some().then(|| pidfd::open(self.pid()).ok()).flatten();
        let hangs = |pidfd: OwnedFd| poll::one(pidfd.as_fd(), PollFlags::POLLIN, poll::within(PATIENCE)) != Ok(true);
        if !may_hang.is_some_and(hangs) {
            // How it has ended does not matter any more.
            let _ = self.child.wait();
        }
    }
}

/// What an answer says.
#[derive(Default)]
struct Answer {
    kind: i64,
    success: bool,
    errno: i64,
    message: String,
    script: String,
    pid: i32,
}

impl Answer {
    fn parse(fields: &[(u32, Received<'_>)]) -> Answer {
        let mut answer = Answer::default();
        for (field, value) in fields {
            match field {
                1 => answer.kind = value.number(),
                2 => answer.success = value.number() != 0,
                5 => {
                    for (field, value) in protobuf::decode(value.block()).unwrap_or_default() {
                        match field {
                            1 => answer.script = value.text(),
                            2 => answer.pid = value.number() as i32,
                            _ => {}
                        }
                    }
                }
                7 => answer.errno = value.number(),
                9 => answer.message = value.text(),
                _ => {}
            }
        }
        answer
    }
}

/// A descriptor of ours that the next program gets under the same number.
pub fn inherit(fd: &OwnedFd) -> Result<()> {
    descriptor::set_cloexec(fd.as_raw_fd(), 0).at(Stage::Criu, || "pass a descriptor on")
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// CRIU's log. Whoever made the directory of the images may have put anything of that name there.
fn log_text(path: &Path) -> Option<Vec<u8>> {
    const LONGEST: u64 = 16 << 20;
    RegularFile::find(path).ok()??.read(LONGEST).ok()
}

/// The error with the first errors of CRIU's log, and where to read on.
pub fn with_log(error: Error, dir: &Path, log: &str) -> Error {
    let path = dir.join(log);
    if error.stage() != Stage::Criu {
        return error;
    }
    let Some(text) = log_text(&path) else { return error };
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("Error")).take(4).collect();
    if lines.is_empty() {
        return error;
    }
    let hint = error.hint().map(str::to_owned);
    let quoted: String = one_line(&lines.join("\n")).chars().take(QUOTED).collect();
    let text = error.to_string();
    let text = text.strip_prefix("criu: ").unwrap_or(&text);
    let error = Error::new(Stage::Criu, format!("{text} ({}: {quoted})", path.display()));
    hint.into_iter().fold(error, Error::with_hint)
}
