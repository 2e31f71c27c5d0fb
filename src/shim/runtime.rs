//! Calls of the OCI runtime: brisk, runc or crun, with the words that runc understands, as containerd's own shim says them.
//!
//! Each is a process of its own, killed with the shim: a container that is created after its shim has died would belong to nobody.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use super::fault::{Answer, Fault};
use super::options::Options;
use super::os;
use super::reactor::{self, Event};
use super::reaper::{self, Ended};

/// Where runtimes keep their state, as under containerd's own shim.
const ROOT: &str = "/run/containerd/runc";
/// How much of what a runtime says is kept.
const SAID: usize = 16 << 10;
/// How much of its log is read.
const LOGGED: usize = 64 << 10;
/// How long a call of our own may take.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// A process or container that has gone says so in one of these ways (runc, crun and the kernel).
const GONE: [&str; 3] = ["os: process already finished", "container not running", "no such process"];

/// The runtime of one container.
#[derive(Clone, Debug)]
pub struct Runtime {
    program: String,
    root: PathBuf,
    log: PathBuf,
    bundle: PathBuf,
    systemd_cgroup: bool,
}

/// Standard streams for a call. Where all are missing, what the runtime says is kept for the error.
#[derive(Debug, Default)]
pub struct CommandStreams {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// Which processes of a container a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Its first one.
    First,
    All,
}

/// A call that did not succeed.
#[derive(Debug)]
pub struct Failure {
    /// How it ended, or why it could not be started.
    how: String,
    /// What it said on its standard streams.
    said: String,
    /// The last error of its log.
    logged: Result<Option<String>, String>,
    /// By a signal: it may have done what it was called for.
    killed: bool,
}

impl Failure {
    fn not_begun(how: String) -> Failure {
        Failure { how, said: String::new(), logged: Ok(None), killed: false }
    }

    pub fn says(&self, text: &str) -> bool {
        self.said.contains(text)
    }

    /// The error for the client where only what was said tells why.
    pub fn into_fault(self) -> Fault {
        Fault::unknown(self.text())
    }

    fn text(&self) -> String {
        if self.said.is_empty() { self.how.clone() } else { format!("{}: {}", self.how, self.said) }
    }
}

/// The last error of a log of JSON lines.
fn last_error(log: &[u8]) -> serde_json::Result<Option<String>> {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let mut last = None;
    for line in serde_json::Deserializer::from_slice(log).into_iter::<Line>() {
        let line = line?;
        if line.level == "error" {
            last = Some(line.msg.trim().to_owned());
        }
    }
    Ok(last.filter(|message| !message.is_empty()))
}

/// The runtime to use where none is named: `containerd-shim-NAME-v2` is NAME's.
pub fn default_program(shim: &OsStr) -> String {
    let name = Path::new(shim).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let middle = name.strip_prefix("containerd-shim-").and_then(|rest| rest.rsplit_once('-'));
    middle.map_or("brisk", |(name, _version)| name).to_owned()
}

impl Runtime {
    pub fn new(options: &Options, default: &str, bundle: &Path, namespace: &str) -> Runtime {
        let named = |name: &str, default: &str| if name.is_empty() { default.to_owned() } else { name.to_owned() };
        Runtime {
            program: named(&options.binary_name, default),
            root: Path::new(&named(&options.root, ROOT)).join(namespace),
            log: bundle.join("log.json"),
            bundle: bundle.to_owned(),
            systemd_cgroup: options.systemd_cgroup,
        }
    }

    fn command(&self, words: &[&OsStr], log: BorrowedFd<'_>) -> Command {
        let mut command = Command::new(&self.program);
        let log = format!("/proc/{}/fd/{}", os::getpid(), log.as_raw_fd());
        command.arg("--root").arg(&self.root).args(["--log", &log, "--log-format", "json"]);
        if self.systemd_cgroup {
            command.arg("--systemd-cgroup");
        }
        command.args(words);
        // The shim may outlive the bundle that it was started in.
        command.current_dir(if self.bundle.is_dir() { &self.bundle } else { Path::new("/") });
        // NOTIFY_SOCKET changes what runc does; the sockets that systemd passed to containerd did not come this far.
        for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"] {
            command.env_remove(name);
        }
        os::die_with_parent(&mut command);
        command
    }

    /// Runs it to its end, and kills it where it is `late`. Its standard streams are those given, or, when there are none, kept and returned.
    pub async fn run(&self, words: &[&OsStr], streams: CommandStreams, late: &Event<()>) -> Result<String, Failure> {
        let failed = |how: io::Error| Failure::not_begun(format!("{}: {how}", self.program));
        // Of its own: others may be at work, and their errors are not its.
        let log = os::memfd(c"runtime-log").map_err(|errno| failed(errno.into()))?;
        let mut command = self.command(words, log.as_fd());
        let keep = streams.stdout.is_none() && streams.stderr.is_none();
        let said = os::memfd(c"runtime").map_err(|errno| failed(errno.into()))?;
        let stream = |stream: Option<OwnedFd>| -> io::Result<Stdio> {
            match stream {
                Some(stream) => Ok(stream.into()),
                None if keep => said.try_clone().map(Stdio::from),
                None => Ok(Stdio::null()),
            }
        };
        command.stdin(streams.stdin.map_or_else(Stdio::null, Stdio::from));
        command.stdout(stream(streams.stdout).map_err(failed)?);
        command.stderr(stream(streams.stderr).map_err(failed)?);
        let child = os::spawn(&mut command).map_err(|error| Failure::not_begun(self.not_run(&error)))?;
        // Closes our copies of the streams: the pipe of a container that is gone must end.
        drop(command);
        let Ended { status, .. } = reaper::end_of(child.id().cast_signed(), late).await;
        let said = String::from_utf8_lossy(&os::contents(said.as_fd(), SAID)).into_owned();
        let logged = os::contents(log.as_fd(), LOGGED);
        self.keep(&logged);
        if status == 0 {
            return Ok(said);
        }
        let how = if status > 128 { format!("signal: {}", status - 128) } else { format!("exit status {status}") };
        Err(Failure {
            how,
            said: said.trim().to_owned(),
            logged: last_error(&logged).map_err(|error| error.to_string()),
            killed: status > 128,
        })
    }

    /// Whether it has anything under this id: runc, crun and brisk have a directory of that name for each container.
    pub fn has(&self, id: &str) -> bool {
        self.root.join(id).exists()
    }

    /// Why the program did not even begin, in the words of containerd's shim (Go's os/exec).
    fn not_run(&self, error: &io::Error) -> String {
        let program = &self.program;
        if error.kind() == io::ErrorKind::NotFound && !program.contains('/') {
            return format!("exec: {program:?}: executable file not found in $PATH");
        }
        format!("exec: {program:?}: {error}")
    }

    /// A call with words only.
    pub async fn call(&self, words: &[&str], late: &Event<()>) -> Result<String, Failure> {
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        self.run(&words, CommandStreams::default(), late).await
    }

    /// A call of our own, for which no client gives a time.
    pub async fn tidy(&self, words: &[&str]) -> Result<String, Failure> {
        let late = Event::new();
        reactor::told(PATIENCE, || late.set(()), self.call(words, &late)).await
    }

    /// Makes the container `wanted` by a verb. A runtime that is killed, since the client's time is over for one, may have done so
    /// before: what it says afterwards of the container counts, so that what is believed of it is so.
    pub async fn change(&self, id: &str, verb: &str, wanted: &str, late: &Event<()>) -> Answer<()> {
        let Err(failure) = self.call(&[verb, id], late).await else { return Ok(()) };
        if failure.killed {
            if verb == "pause"
                && let Err(failure) = self.tidy(&["resume", id]).await
            {
                // Of what was cut short some may stand still, which then nobody could resume.
                os::log("warning", &self.fault("resume what may be paused", &failure).message);
            }
            match self.status(id).await {
                Ok(status) if status == wanted => return Ok(()),
                Ok(_) => {}
                Err(fault) => os::log("warning", &format!("{id} after a killed {verb}: {}", fault.message)),
            }
        }
        Err(self.fault(&format!("OCI runtime {verb} failed"), &failure))
    }

    /// What the container is doing, as the runtime sees it.
    async fn status(&self, id: &str) -> Answer<String> {
        #[derive(Deserialize)]
        struct StatePart {
            status: String,
        }
        let said =
            self.tidy(&["state", id]).await.map_err(|failure| self.fault("OCI runtime state failed", &failure))?;
        let state: StatePart = serde_json::from_str(&said).map_err(Fault::doing("the runtime's state"))?;
        Ok(state.status)
    }

    /// Where people look for it, and containerd's own shim has it.
    fn keep(&self, logged: &[u8]) {
        if logged.is_empty() {
            return;
        }
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&self.log);
        if let Err(error) = file.and_then(|mut file| file.write_all(logged)) {
            os::log("warning", &format!("{}: {error}", self.log.display()));
        }
    }

    /// The error for the client: the last one of its log, or what there is instead.
    pub fn fault(&self, what: &str, failure: &Failure) -> Fault {
        let text = failure.text();
        Fault::unknown(match &failure.logged {
            Ok(Some(message)) => format!("{what}: {message}"),
            Ok(None) => format!("{what}: {text}"),
            Err(error) => format!("{what}: unable to retrieve OCI runtime error ({error}): {text}"),
        })
    }

    /// Sends a signal to the container.
    pub async fn kill(&self, id: &str, signal: u32, whom: Whom, late: &Event<()>) -> Answer<()> {
        let signal = signal.to_string();
        let words = match whom {
            Whom::First => vec!["kill", id, &signal],
            Whom::All => vec!["kill", "--all", id, &signal],
        };
        let Err(failure) = self.call(&words, late).await else { return Ok(()) };
        let text = failure.text();
        let lower = text.to_lowercase();
        if GONE.iter().any(|gone| lower.contains(gone)) {
            return Err(Fault::not_found("process already finished"));
        }
        if failure.says("does not exist") {
            return Err(Fault::not_found("no such container"));
        }
        Err(Fault::unknown(format!("unknown error after kill: {text}")))
    }

    /// Deletes the container; one that the runtime does not know is deleted. (A checkpoint deletes what it ends.)
    pub async fn delete(&self, id: &str, late: &Event<()>) -> Answer<()> {
        let Err(failure) = self.call(&["delete", id], late).await else { return Ok(()) };
        if failure.says("does not exist") {
            return Ok(());
        }
        Err(self.fault("failed to delete task", &failure))
    }

    /// Kills and deletes it, waiting in the shim's `delete` command, which has no loop.
    pub fn delete_by_force(&self, id: &str) -> io::Result<()> {
        let words = ["delete", "--force", id].map(OsStr::new);
        let log = os::memfd(c"runtime-log")?;
        let output = os::output(&mut self.command(&words, log.as_fd()))?;
        self.keep(&os::contents(log.as_fd(), LOGGED));
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(io::Error::other(format!("{}: {}", output.status, String::from_utf8_lossy(&said).trim())))
    }

    /// What `features` says, if the runtime has that command.
    pub fn features(program: &str) -> io::Result<Option<Vec<u8>>> {
        let output = os::output(Command::new(program).arg("features"))?;
        let valid = output.status.success() && serde_json::from_slice::<serde::de::IgnoredAny>(&output.stdout).is_ok();
        Ok(valid.then_some(output.stdout))
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    #[test]
    fn the_shim_is_named_after_its_runtime() {
        let of = |name: &str| super::default_program(OsStr::new(name));
        assert_eq!(of("/usr/bin/containerd-shim-brisk-v2"), "brisk");
        assert_eq!(of("containerd-shim-runc-v2"), "runc");
        assert_eq!(of("/x/containerd-shim-my-run-v2"), "my-run");
        assert_eq!(of("/x/shim"), "brisk");
    }
}
