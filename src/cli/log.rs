//! Where errors and warnings go: standard error for people, the log for engines.
//!
//! An error is printed once on standard error and, with `--log`, appended as exactly one line to the log:
//! containerd shows the last line with `"level":"error"`, podman parses the whole file as one object. A
//! warning goes to the log if there is one, and to standard error otherwise.
//!
//! On a terminal an error has the lines that it is about and its advice below it. Elsewhere it is one line, because what
//! reads it looks at the first line or at the last.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::SystemTime;

use crate::error::{Context, Error, LONGEST_MESSAGE, Result, Stage, bounded, printable};
use crate::state::rfc3339;
use crate::sys::appended::may_append;
use crate::sys::destination::append;

/// How serious a message is, from the most to the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

impl Level {
    /// The word in log lines (logrus's, which engines parse) and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }

    /// The priority of syslog(3) and the journal.
    const fn priority(self) -> u8 {
        match self {
            Level::Error => 3,
            Level::Warning => 4,
            Level::Info => 6,
            Level::Debug => 7,
        }
    }

    /// The level called `name`.
    pub fn named(name: &str) -> Option<Level> {
        match name {
            "warn" => Some(Level::Warning),
            _ => {
                [Level::Error, Level::Warning, Level::Info, Level::Debug].into_iter().find(|level| level.name() == name)
            }
        }
    }
}

/// How a line of a log file looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug)]
enum Sink {
    None,
    File(File),
    Journal(UnixDatagram, String),
    Syslog(UnixDatagram, String),
}

/// The printer of errors and warnings.
#[derive(Debug)]
pub struct Log {
    sink: Sink,
    format: LogFormat,
    level: Level,
    /// Warnings that are told with an error only.
    held: Option<RefCell<Vec<String>>>,
}

impl Log {
    /// A log that is standard error alone.
    pub const fn stderr(format: LogFormat) -> Log {
        Log { sink: Sink::None, format, level: Level::Warning, held: None }
    }

    /// Opens `--log`: `[file:]PATH`, `journald:ID` or `syslog:ID`; shows what is no less serious than `level`.
    pub fn open(destination: Option<&OsStr>, format: LogFormat, level: Level) -> Result<Log> {
        Ok(Log { sink: sink(destination)?, format, level, held: None })
    }

    /// Standard error will be the program's, as an engine has it that reads what its containers write: a warning is no part
    /// of that. It is told where the command fails, and at once on a terminal or where more than warnings is asked for.
    pub fn give_stderr_away(&mut self) {
        let is_log = matches!(self.sink, Sink::None) && self.format == LogFormat::Text;
        // Whether it is a terminal is looked at when there is something to say.
        if is_log && !self.shows(Level::Info) {
            self.held = Some(RefCell::default());
        }
    }

    /// Whether messages of this level are shown.
    pub fn shows(&self, level: Level) -> bool {
        level <= self.level
    }

    /// Reports the error the program ends with, and its advice. `doing` is the command and the container.
    pub fn error(&self, doing: &str, error: &Error) {
        let message = if doing.is_empty() { error.to_string() } else { format!("{doing}: {error}") };
        if !self.json_on_stderr() {
            for warning in self.held.iter().flat_map(RefCell::take) {
                to_stderr(&warning);
            }
            to_stderr(&told(&message, error, Reader::of_stderr()));
        }
        self.record(Level::Error, &message, Some(error));
    }

    /// `--log-format json` without `--log`: standard error is the log.
    fn json_on_stderr(&self) -> bool {
        matches!(self.sink, Sink::None) && self.format == LogFormat::Json
    }

    /// Reports something that went otherwise than asked.
    pub fn message(&self, level: Level, message: &str) {
        if !self.shows(level) {
            return;
        }
        let message = &*bounded(message, LONGEST_MESSAGE);
        if matches!(self.sink, Sink::None) && self.format == LogFormat::Text {
            match (&self.held, level) {
                // With the time, which is what is looked for in them.
                (_, Level::Info | Level::Debug) => {
                    to_stderr(line(self.format, level, message, None, SystemTime::now()).trim_end())
                }
                (Some(held), _) if Reader::of_stderr() == Reader::Program => {
                    held.borrow_mut().push(for_people(level, message))
                }
                _ => to_stderr(&for_people(level, message)),
            }
        }
        self.record(level, message, None);
    }

    fn record(&self, level: Level, message: &str, error: Option<&Error>) {
        let line = || line(self.format, level, message, error, SystemTime::now());
        let sent = match &self.sink {
            Sink::None if self.json_on_stderr() => {
                to_stderr(line().trim_end());
                Ok(())
            }
            Sink::None => Ok(()),
            // It is what was to be read: an error has been told, the rest is told here.
            Sink::File(_) if !may_append() => {
                error.is_none().then(|| to_stderr(&for_people(level, message)));
                Ok(())
            }
            Sink::File(file) => {
                // One write, so that lines of several processes do not mix (O_APPEND).
                (&*file).write_all(line().as_bytes())
            }
            Sink::Journal(socket, id) => socket.send(&journal_record(level, message, id)).map(drop),
            Sink::Syslog(socket, id) => {
                // Facility 1 (user), as crun.
                let record = format!("<{}>{id}: {}", 8 + level.priority(), printable(message));
                socket.send(record.as_bytes()).map(drop)
            }
        };
        if let Err(error) = sent {
            to_stderr(&format!("brisk: warning: write the log: {error}"));
        }
    }
}

fn for_people(level: Level, message: &str) -> String {
    format!("brisk: {}: {}", level.name(), printable(message))
}

/// Who reads standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Somebody at a terminal.
    Person,
    /// A program, which looks at the first line or at the last.
    Program,
}

impl Reader {
    fn of_stderr() -> Reader {
        if std::io::stderr().is_terminal() { Reader::Person } else { Reader::Program }
    }
}

/// An error as standard error gets it.
pub fn told(message: &str, error: &Error, reader: Reader) -> String {
    let mut text = for_people(Level::Error, message);
    let hint = error.hint().map(|hint| bounded(hint, LONGEST_MESSAGE));
    match hint {
        _ if reader == Reader::Person => {
            for line in error.excerpt().into_iter().flat_map(str::lines) {
                text = text + "\n" + &printable(line);
            }
            hint.into_iter().for_each(|hint| text = std::mem::take(&mut text) + "\nhint: " + &printable(&hint));
        }
        Some(hint) => text = text + " (hint: " + &printable(&hint) + ")",
        None => {}
    }
    text
}

/// One line of a log file, with its newline. What is known of an error beside its text has keys of its own: engines match
/// words in `msg`.
pub fn line(format: LogFormat, level: Level, message: &str, error: Option<&Error>, time: SystemTime) -> String {
    let time = rfc3339(time);
    match format {
        LogFormat::Json => {
            let mut line = format!("{{\"level\":\"{}\",\"msg\":{}", level.name(), quoted(message));
            for (key, value) in error.map(fields).unwrap_or_default() {
                line.push_str(&format!(",\"{key}\":{}", quoted(&value)));
            }
            line.push_str(&format!(",\"time\":\"{time}\"}}\n"));
            line
        }
        LogFormat::Text => {
            let mut line = format!("time=\"{time}\" level={} msg={}", level.name(), quoted(message));
            for (key, value) in error.map(fields).unwrap_or_default() {
                line.push_str(&format!(" {key}={}", quoted(&value)));
            }
            line.push('\n');
            line
        }
    }
}

/// What is known of an error.
fn fields(error: &Error) -> Vec<(&'static str, String)> {
    let deed = error.deed();
    let told = |text: &str| bounded(text, LONGEST_MESSAGE).into_owned();
    let fields = [
        ("stage", Some(error.stage().name().to_owned())),
        ("op", deed.map(|(deed, _)| deed.name().to_owned())),
        ("errno", error.root_errno().map(|errno| format!("{errno:?}"))),
        ("object", deed.and_then(|(_, object)| object.map(told))),
        ("hint", error.hint().map(told)),
    ];
    fields.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// A JSON string.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The journal's native protocol: a value with a newline is preceded by its length.
fn journal_record(level: Level, message: &str, id: &str) -> Vec<u8> {
    let mut record = format!("PRIORITY={}\nSYSLOG_IDENTIFIER={id}\nMESSAGE\n", level.priority()).into_bytes();
    record.extend((message.len() as u64).to_le_bytes());
    record.extend(message.as_bytes());
    record.push(b'\n');
    record
}

fn sink(destination: Option<&OsStr>) -> Result<Sink> {
    let Some(destination) = destination.filter(|text| !text.is_empty()) else { return Ok(Sink::None) };
    let named = |prefix: &str| destination.to_str().and_then(|text| text.strip_prefix(prefix));
    if let Some(id) = named("journald:") {
        return Ok(
            socket("/run/systemd/journal/socket").map_or(Sink::None, |socket| Sink::Journal(socket, id.to_owned()))
        );
    }
    if let Some(id) = named("syslog:") {
        return Ok(socket("/dev/log").map_or(Sink::None, |socket| Sink::Syslog(socket, id.to_owned())));
    }
    let bytes = destination.as_bytes();
    let path = Path::new(OsStr::from_bytes(bytes.strip_prefix(b"file:").unwrap_or(bytes)));
    let file = append(path).at(Stage::Args, || format!("--log: open {}", path.display()));
    file.map(|file| Sink::File(file.into())).map_err(Error::of_destination)
}

/// The socket of a log daemon. Where there is none the work goes on, as with crun, and what there is to say is said on
/// standard error.
fn socket(path: &str) -> Option<UnixDatagram> {
    let connected = UnixDatagram::unbound().and_then(|socket| socket.connect(path).map(|()| socket));
    let told =
        |error| to_stderr(&format!("brisk: warning: connect the log to {path}: {error}; standard error is the log"));
    connected.map_err(told).ok()
}

fn to_stderr(line: &str) {
    // One write, so that lines of several processes do not mix. With standard error closed there is nobody left to tell.
    drop(std::io::stderr().write_all(format!("{line}\n").as_bytes()));
}
