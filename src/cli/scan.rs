//! argv: which command it is, and every flag and positional argument by its name in the tables.
//!
//! It takes what the peers' parsers take: `-long` (Go's flag package; go-runc writes `-no-subreaper`),
//! `--switch=true` and `--switch=false` (Go), `-?` and `--usage` (argp), values that start with a dash
//! (`--cpu-quota -1`), and a command line that belongs to another program after the container's name (`exec`,
//! `ps`). clap takes none of these, and to build its parser of one command is a twentieth of an `exec`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::flags::{self, Flag, Value};
use super::verbs::{Arity, VERBS, Verb};
use crate::error::{Error, Result, Stage};

/// What argv asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Text about a command, or about all of them.
    Help(Option<Verb>),
    /// The version.
    Version,
    /// A command.
    Verb(Verb),
}

/// argv in order.
#[derive(Debug)]
pub struct Scan {
    /// What is asked for.
    pub wanted: Wanted,
    /// Flags before the command.
    pub global: Given,
    /// Flags and positional arguments after it.
    pub rest: Given,
}

/// What was given, by the names of the tables, in order. Values of switches are empty.
#[derive(Debug, Default)]
pub struct Given(Vec<(&'static str, OsString)>);

impl Given {
    /// Whether it was given at all.
    pub fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// Every value of it.
    pub fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &OsStr> {
        debug_assert!(
            flags::FLAGS.iter().map(|flag| flag.long).chain(positional_names()).any(|known| known == name),
            "{name} is in no table"
        );
        self.0.iter().filter(move |(given, _)| *given == name).map(|(_, value)| value.as_os_str())
    }

    /// The value that counts: the last.
    pub fn last(&self, name: &str) -> Option<&OsStr> {
        self.all(name).next_back()
    }
}

fn positional_names() -> impl Iterator<Item = &'static str> {
    VERBS.iter().flat_map(|row| row.positionals).map(|positional| positional.name)
}

/// Reads argv without the program's name.
pub fn scan(argv: &[OsString]) -> Result<Scan> {
    let mut walk = Walk::new(argv, None);
    let verb = walk.flags()?;
    let asks_help = walk.asks_help;
    let tokens = walk.tokens;
    let global = walk.out;
    if !asks_help && global.has("version") {
        return Ok(Scan { wanted: Wanted::Version, global, rest: Given::default() });
    }
    let Some(name) = verb.filter(|_| !asks_help) else {
        return Ok(Scan { wanted: Wanted::Help(None), global, rest: Given::default() });
    };
    if name == "help" || name == "h" {
        let about = tokens.first().map(|name| named(name)).transpose()?;
        return Ok(Scan { wanted: Wanted::Help(about), global, rest: Given::default() });
    }
    let verb = named(&name)?;
    let mut walk = Walk::new(tokens, Some(verb));
    let mut positionals = Vec::new();
    while let Some(positional) = walk.flags()? {
        positionals.push(positional);
        if verb.passes_the_rest_on() {
            positionals.extend(walk.tokens.iter().cloned());
            break;
        }
    }
    if walk.asks_help {
        return Ok(Scan { wanted: Wanted::Help(Some(verb)), global, rest: Given::default() });
    }
    let mut rest = walk.out;
    place(verb, positionals, &mut rest)?;
    Ok(Scan { wanted: Wanted::Verb(verb), global, rest })
}

/// Where to report an error, even of a command line that makes no sense: the values of `--log` (or what
/// `--systemd-log` means) and `--log-format` before the command.
pub fn log_flags(argv: &[OsString]) -> (Option<OsString>, Option<OsString>) {
    let mut walk = Walk::new(argv, None);
    // `scan` reports what is wrong; here every flag that can be read counts, before and after the mistake.
    while walk.flags().is_err() {}
    let last = |name: &str| walk.out.last(name).map(OsStr::to_owned);
    let journal = walk.out.has("systemd-log");
    (last("log").or_else(|| journal.then(|| "journald:brisk".into())), last("log-format"))
}

/// Gives the positional arguments their names.
fn place(verb: Verb, given: Vec<OsString>, out: &mut Given) -> Result<()> {
    let mut given = given.into_iter();
    for positional in verb.row().positionals {
        let before = out.0.len();
        let most = match positional.arity {
            Arity::One | Arity::Optional => 1,
            Arity::Several | Arity::Rest => usize::MAX,
        };
        out.0.extend(given.by_ref().take(most).map(|value| (positional.name, value)));
        if out.0.len() == before && matches!(positional.arity, Arity::One | Arity::Several) {
            return Err(misplaced(format!("missing argument: {}", positional.name)));
        }
    }
    given.next().map_or(Ok(()), |extra| Err(misplaced(format!("unexpected argument: {extra:?}"))))
}

fn misplaced(what: String) -> Error {
    Error::new(Stage::Args, what).with_hint("--help lists the flags and arguments of a command")
}

fn named(name: &OsStr) -> Result<Verb> {
    name.to_str().and_then(Verb::named).ok_or_else(|| {
        Error::new(Stage::Args, format!("unknown command {name:?}")).with_hint("brisk help lists the commands")
    })
}

struct Walk<'a> {
    tokens: &'a [OsString],
    scope: Option<Verb>,
    out: Given,
    asks_help: bool,
    /// `--` was seen: dashes mean nothing any more.
    only_positionals: bool,
}

impl<'a> Walk<'a> {
    fn new(tokens: &'a [OsString], scope: Option<Verb>) -> Self {
        Walk { tokens, scope, out: Given::default(), asks_help: false, only_positionals: false }
    }
}

impl Walk<'_> {
    /// Reads flags up to the next positional argument and returns it.
    fn flags(&mut self) -> Result<Option<OsString>> {
        while let Some((token, rest)) = self.tokens.split_first() {
            self.tokens = rest;
            let bytes = token.as_bytes();
            match bytes {
                _ if self.only_positionals => return Ok(Some(token.clone())),
                b"--" => self.only_positionals = true,
                b"-" => return Ok(Some(token.clone())),
                b"-?" | b"--usage" | b"--help" | b"-h" | b"-help" => self.asks_help = true,
                [b'-', b'-', long @ ..] => self.long(token, long)?,
                [b'-', letters @ ..] if self.find_long(split_value(letters).0).is_some() => {
                    self.long(token, letters)?
                }
                [b'-', letters @ ..] => self.letters(token, letters)?,
                _ => return Ok(Some(token.clone())),
            }
        }
        Ok(None)
    }

    fn find_long(&self, name: &[u8]) -> Option<&'static Flag> {
        flags::of(self.scope).find(|flag| flag.long.as_bytes() == name)
    }

    fn long(&mut self, token: &OsStr, text: &[u8]) -> Result<()> {
        let (name, value) = split_value(text);
        let Some(flag) = self.find_long(name) else {
            return Err(unknown(token));
        };
        self.take(flag, value)
    }

    fn letters(&mut self, token: &OsStr, letters: &[u8]) -> Result<()> {
        for (at, letter) in letters.iter().enumerate() {
            let letter = if self.scope.is_none() && *letter == b'V' { b'v' } else { *letter };
            let Some(flag) = flags::of(self.scope).find(|flag| flag.short == Some(char::from(letter))) else {
                return Err(unknown(token));
            };
            let attached = &letters[at + 1..];
            match flag.value {
                Value::Switch | Value::Maybe(_) if attached.first() != Some(&b'=') => self.take(flag, None)?,
                _ => {
                    let attached = attached.strip_prefix(b"=").unwrap_or(attached);
                    return self.take(flag, (!attached.is_empty()).then_some(attached));
                }
            }
        }
        Ok(())
    }

    /// Notes one flag; a missing value is the next token.
    fn take(&mut self, flag: &'static Flag, value: Option<&[u8]>) -> Result<()> {
        let value = match (flag.value, value) {
            (Value::Switch | Value::Maybe(_), None) => OsString::new(),
            (Value::Switch, Some(text)) => match go_bool(text) {
                Some(true) => OsString::new(),
                Some(false) => {
                    self.out.0.retain(|(name, _)| *name != flag.long);
                    return Ok(());
                }
                None => return Err(Error::new(Stage::Args, format!("--{}: neither true nor false", flag.long))),
            },
            (_, Some(text)) => OsStr::from_bytes(text).to_owned(),
            (Value::One(name) | Value::Many(name), None) => {
                let Some((next, rest)) = self.tokens.split_first() else {
                    return Err(Error::new(Stage::Args, format!("--{} needs a value: {name}", flag.long)));
                };
                self.tokens = rest;
                next.clone()
            }
        };
        self.out.0.push((flag.long, value));
        Ok(())
    }
}

fn unknown(token: &OsStr) -> Error {
    Error::new(Stage::Args, format!("unknown flag {token:?}")).with_hint("--help lists the flags of a command")
}

fn split_value(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == b'=') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// The spellings Go's `strconv.ParseBool` takes.
pub fn go_bool(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False" => Some(false),
        _ => None,
    }
}
