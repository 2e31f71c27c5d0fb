//! The one error type: which stage failed, on what, and why.
//!
//! Decides nothing and touches nothing; library code returns these and never prints them. `cli::main_of` prints
//! the chain once, on standard error and in the log (see [`Error::hint`] for the advice it adds).
//!
//! The modules, in the order of the work: `kinds` is what failed and what was being done, `hints` the advice that follows from both, `nearest` the
//! word that was meant, `shown` how a text is shown that may be anybody's, `width` how much room it takes, and `origins` who has said what
//! an error is about.

mod hints;
mod kinds;
mod nearest;
mod origins;
mod shown;
mod width;

use std::fmt;

use nix::errno::Errno;

use crate::sys::errno;

pub use hints::OWN_ROOT;
pub use kinds::{Deed, Stage};
pub use nearest::nearest;
pub use origins::{Origins, SaidBy};
pub use shown::{LONGEST_MESSAGE, LONGEST_NAME, bounded, is_unseen, printable, shell_word};
pub use width::{fitting, fitting_end, width};

/// What lies below an [`Error`].
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("{}", errno_text(*.0))]
    Errno(Errno),
    #[error("{}", io_text(.0))]
    Io(std::io::Error),
    #[error("{}", json_text(.0))]
    Json(serde_json::Error),
    #[error("{NUL} at line {line} column {column}")]
    Nul { line: usize, column: usize },
    #[error("{ASKED_TO_END}: {0}")]
    AskedToEnd(&'static str),
    #[error("{0}")]
    Error(Box<Error>),
}

/// Why a wait has failed that somebody has ended by a signal.
const ASKED_TO_END: &str = "asked to end";

/// A longer one nobody reads to its end.
const LONGEST_LIST: usize = 240;

/// What no string may have that ends up as one of C.
const NUL: &str = "NUL byte in a string";

/// A failed operation: its stage, what was done to which object, and the cause.
#[derive(Debug)]
pub struct Error {
    stage: Stage,
    deed: Option<Deed>,
    object: Option<Box<str>>,
    field: Option<Box<ErrorField>>,
    what: Box<str>,
    cause: Option<Cause>,
    /// What `what` tells in words already.
    told: Option<Errno>,
    hint: Option<Box<str>>,
    excerpt: Option<Box<str>>,
}

/// What an error is about in config.json.
#[derive(Debug)]
struct ErrorField {
    /// Its path, as `mounts[2].options`.
    path: Box<str>,
    /// The flag or other file that has put it there, and how much of the path leads to what that has put.
    said_by: Option<(Box<str>, usize)>,
}

/// The result of everything that is not a bare system call.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that is its own cause. `what` is lower case, with no full stop.
    pub fn new(stage: Stage, what: impl Into<String>) -> Self {
        let (deed, object, field, cause, told, hint, excerpt) = (None, None, None, None, None, None, None);
        let what = what.into().into_boxed_str();
        Error { stage, deed, object, field, what, cause, told, hint, excerpt }
    }

    /// An error of a value in config.json, which stands at `field`: its path, as `mounts[2].options`, or what of that is
    /// known here ([`Below::below`] has the rest).
    pub fn of_field(stage: Stage, field: impl Into<String>, what: impl Into<String>) -> Self {
        Error::of_value(stage, what).at_field(field)
    }

    /// An error of a value in config.json whose place the caller knows, who says it by [`Below::below`].
    pub fn of_value(stage: Stage, what: impl Into<String>) -> Self {
        Error { deed: Some(Deed::ReadConfig), ..Error::new(stage, what) }
    }

    /// This error as one of the value at `field` in config.json, if that says anything.
    #[must_use]
    pub fn at_field(mut self, field: impl Into<String>) -> Self {
        let path = field.into().into_boxed_str();
        self.field = (!path.is_empty()).then(|| Box::new(ErrorField { path, said_by: None }));
        self
    }

    /// An error of a string with a NUL byte in it, at this place in a text.
    pub fn nul(stage: Stage, what: impl Into<String>, line: usize, column: usize) -> Self {
        Error { cause: Some(Cause::Nul { line, column }), ..Error::new(stage, what) }
    }

    /// An error caused by a failed system call.
    pub fn errno(stage: Stage, what: impl Into<String>, errno: Errno) -> Self {
        Error { cause: Some(Cause::Errno(errno)), ..Error::new(stage, what) }
    }

    /// This error with the errno that its words have told.
    #[must_use]
    pub fn told(mut self, errno: Errno) -> Self {
        self.told = Some(errno);
        self
    }

    /// This error in the words of the signal, if one has come, by which somebody ended the wait that failed.
    #[must_use]
    pub fn asked_to_end(mut self, signal: Option<&'static str>) -> Self {
        let ended = self.root_errno() == Some(Errno::EINTR);
        self.cause = match (self.cause, signal) {
            (Some(Cause::Error(inner)), _) => Some(Cause::Error(Box::new(inner.asked_to_end(signal)))),
            (Some(_), Some(signal)) if ended => Some(Cause::AskedToEnd(signal)),
            (cause, _) => cause,
        };
        self
    }

    /// This error with a piece of advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Box<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With what there is to say of a file that the caller names and that is not written to ([`crate::sys::destination`]).
    #[must_use]
    pub fn of_destination(self) -> Self {
        match self.root_errno() {
            Some(Errno::EOPNOTSUPP) => self.with_hint("of devices only terminals, null, zero and full are written to"),
            // Nothing need be there.
            Some(Errno::EEXIST) => self.of_what_is_read("brisk reads files of this name", Errno::EEXIST),
            Some(Errno::EMLINK) => self.of_what_is_read("it is a hard link to what brisk reads", Errno::EMLINK),
            Some(Errno::ETXTBSY) => self.with_hint("it is the file that --log names"),
            Some(Errno::ELOOP) => self.with_hint("it is a link: name what it leads to"),
            _ => self,
        }
    }

    fn of_what_is_read(self, why: &str, errno: Errno) -> Self {
        let what = format!("{}: {why}", self.what).into_boxed_str();
        Error { what, cause: None, ..self }.told(errno).with_hint("what is read is not written over")
    }

    /// This error with the word that may have been meant for the one that was typed; where none is near and nothing else is
    /// advised, with all that there are, if they are few.
    #[must_use]
    pub fn meant<'a>(self, typed: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        if let Some(near) = nearest(typed, known.iter().copied()) {
            return self.with_hint(format!("did you mean {near}?"));
        }
        let all = known.join(", ");
        if self.hint.is_some() || all.len() > LONGEST_LIST {
            return self;
        }
        self.with_hint(format!("there are {all}"))
    }

    /// This error as one of something that was done to an object; both are fields of log records, and advice is looked
    /// for by what was done.
    #[must_use]
    pub fn doing(mut self, deed: Deed, object: impl Into<String>) -> Self {
        self.deed = Some(deed);
        self.object = Some(object.into().into_boxed_str()).filter(|object| !object.is_empty());
        self
    }

    /// What was being done, and to what: the innermost error that says so.
    pub fn deed(&self) -> Option<(Deed, Option<&str>)> {
        let (deed, object) = self.chain().filter_map(|error| Some((error.deed?, error.object.as_deref()))).last()?;
        Some((deed, if deed == Deed::ReadConfig { self.field().or(object) } else { object }))
    }

    /// This error and those below it.
    fn chain(&self) -> impl Iterator<Item = &Error> {
        std::iter::successors(Some(self), |error| match &error.cause {
            Some(Cause::Error(inner)) => Some(inner),
            _ => None,
        })
    }

    fn innermost(&self) -> &Error {
        self.chain().last().unwrap_or(self)
    }

    /// The field of config.json that it is about, where that is known.
    pub fn field(&self) -> Option<&str> {
        self.chain().find_map(|error| Some(&*error.field.as_ref()?.path))
    }

    /// What is wrong, without the stage, the file, and the position in a text: for who says those himself.
    pub fn words(&self) -> String {
        let Error { what, cause, .. } = self.innermost();
        match cause {
            Some(Cause::Json(error)) => json_words(error).0,
            Some(Cause::Nul { .. }) => NUL.to_owned(),
            Some(cause) => format!("{what}: {cause}"),
            None => what.to_string(),
        }
    }

    /// Whether a key of an object was there twice.
    pub fn is_of_repeated_key(&self) -> bool {
        matches!(&self.innermost().cause, Some(Cause::Json(error)) if json_words(error).0.starts_with("duplicate field "))
    }

    /// This error with the lines of a text that it is about, each with a newline.
    #[must_use]
    pub fn with_excerpt(mut self, excerpt: String) -> Self {
        self.excerpt = Some(excerpt.into_boxed_str());
        self
    }

    /// Lines of a text that the error is about.
    pub fn excerpt(&self) -> Option<&str> {
        self.chain().find_map(|error| error.excerpt.as_deref())
    }

    /// The stage that failed.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The errno at the bottom of the chain, where there is one.
    pub fn root_errno(&self) -> Option<Errno> {
        let Error { cause, told, .. } = self.innermost();
        match cause {
            Some(Cause::Errno(errno)) => Some(*errno),
            Some(Cause::Io(error)) => error.raw_os_error().map(Errno::from_raw),
            Some(Cause::AskedToEnd(_)) => Some(Errno::EINTR),
            Some(Cause::Json(_) | Cause::Nul { .. } | Cause::Error(_)) | None => *told,
        }
    }

    /// Advice for the person who reads the error, if there is any.
    pub fn hint(&self) -> Option<&str> {
        let own = self.chain().find_map(|error| error.hint.as_deref());
        own.or_else(|| {
            let errno = self.root_errno()?;
            self.chain().filter_map(|error| hints::find(error.stage, error.deed, errno)).last()
        })
    }
}

/// [`errno::text`], but for a wait that a signal has ended: nothing else fails so (`sys::interrupt`), and which signal it was
/// [`Error::asked_to_end`] knows.
pub fn errno_text(errno: Errno) -> String {
    if errno == Errno::EINTR { ASKED_TO_END.to_owned() } else { errno::text(errno) }
}

/// The text of an error of std, in the words of [`errno_text`].
pub fn io_text(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |raw| errno_text(Errno::from_raw(raw)))
}

fn json_text(error: &serde_json::Error) -> String {
    let (words, position) = json_words(error);
    words + &position
}

/// The parser's text in the words of JSON, and the position: whoever wrote the document knows lists and objects, and no types of
/// ours.
fn json_words(error: &serde_json::Error) -> (String, String) {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    let (text, position) = match text.strip_suffix(&position) {
        Some(text) => (text, position),
        None => (&*text, String::new()),
    };
    let Some((found, expected)) = text.rsplit_once(", expected ") else { return (text.to_owned(), position) };
    let expected = match expected {
        "a sequence" => "a list",
        "a map" => "an object",
        "a boolean" => "true or false",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u8" | "u64" | "usize" => "a whole number from 0",
        other if other.starts_with("struct ") => "an object",
        other => other,
    };
    let found = match found {
        "invalid type: map" => "invalid type: object",
        "invalid type: sequence" => "invalid type: list",
        other => other,
    };
    let found = found.replacen("invalid type: floating point `", "invalid type: number `", 1);
    (format!("{}, expected {expected}", bounded(&found, LONGEST_NAME)), position)
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.tell(&mut text)?;
        f.write_str(&bounded(&text, LONGEST_MESSAGE))
    }
}

impl Error {
    /// All of it.
    fn tell(&self, f: &mut impl fmt::Write) -> fmt::Result {
        write!(f, "{}: ", self.stage.name())?;
        // Whatever the words are: the field is among them.
        if let Some(ErrorField { path, said_by }) = self.field.as_deref() {
            let untold = !self.what.contains(&**path);
            match said_by.as_ref().map(|(who, length)| (who, path[*length..].strip_prefix('.'))) {
                Some((who, Some(within))) if untold => write!(f, "{who}: {within}: ")?,
                Some((who, _)) => write!(f, "{who}: ")?,
                None if untold => write!(f, "{path}: ")?,
                None => {}
            }
        }
        write!(f, "{}", self.what)?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Turns the error of a lower layer into an [`Error`].
pub trait Context<T> {
    /// Names the stage and the operation; `what` is only evaluated on failure.
    fn at<S: Into<String>>(self, stage: Stage, what: impl FnOnce() -> S) -> Result<T>;
}

/// Says what was being done ([`Error::doing`]); `object` is only evaluated on failure.
pub trait Doing {
    /// Names it.
    #[must_use]
    fn doing<S: Into<String>>(self, deed: Deed, object: impl FnOnce() -> S) -> Self;
}

impl<T> Doing for Result<T> {
    fn doing<S: Into<String>>(self, deed: Deed, object: impl FnOnce() -> S) -> Self {
        self.map_err(|error| error.doing(deed, object()))
    }
}

/// Says where a value of config.json is.
pub trait Below {
    /// What an error says of a field is one of a field below this one; what says nothing of any is of this one.
    #[must_use]
    fn below<S: Into<String>>(self, above: impl FnOnce() -> S) -> Self;
}

impl<T> Below for Result<T> {
    fn below<S: Into<String>>(self, above: impl FnOnce() -> S) -> Self {
        self.map_err(|error| match (error.field(), error.deed()) {
            (Some(field), _) => {
                let dot = if field.starts_with('[') { "" } else { "." };
                let field = format!("{}{dot}{field}", above().into());
                error.at_field(field)
            }
            (None, None | Some((Deed::ReadConfig, None))) => {
                Error { deed: Some(Deed::ReadConfig), ..error }.at_field(above())
            }
            // Of the host, not of a value.
            (None, Some(_)) => error,
        })
    }
}

macro_rules! context {
    ($source:ty, $cause:ident, $wrap:expr) => {
        impl<T> Context<T> for std::result::Result<T, $source> {
            fn at<S: Into<String>>(self, stage: Stage, what: impl FnOnce() -> S) -> Result<T> {
                self.map_err(|error| Error { cause: Some(Cause::$cause($wrap(error))), ..Error::new(stage, what()) })
            }
        }
    };
}

context!(Errno, Errno, std::convert::identity);
context!(std::io::Error, Io, std::convert::identity);
context!(serde_json::Error, Json, std::convert::identity);
context!(Error, Error, Box::new);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_printed_once_in_lower_case() {
        let low: Result<()> = Err(Errno::ENOENT).at(Stage::Cgroup, || "open memory.max");
        let high = low.at(Stage::State, || "create web1").unwrap_err();
        assert_eq!(high.to_string(), "state: create web1: cgroup: open memory.max: no such file or directory");
        assert_eq!(high.root_errno(), Some(Errno::ENOENT));
    }

    #[test]
    fn a_known_errno_has_advice() {
        let error = Error::errno(Stage::Namespace, "clone3 (user, pid)", Errno::EPERM).doing(Deed::Clone, "");
        assert!(error.hint().unwrap().contains("unprivileged_userns_clone"));
        assert!(Error::new(Stage::Args, "x").hint().is_none());
    }
}
