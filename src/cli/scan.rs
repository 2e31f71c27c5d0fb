//! argv: the flags before the command, the command, and every value put where its row says.
//!
//! The parser takes what the peers' parsers take: `-long` (Go's flag package; go-runc writes `-no-subreaper`),
//! `--switch=true` and `--switch=false` (Go), `-?` and `--usage` (argp), values that start with a dash
//! (`--cpu-quota -1`), and a command line that belongs to another program after the container's name (`exec`,
//! `ps`).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::args::GlobalFlags;
use super::flags::{self, AFTER, Flag, FlagValue, GLOBAL, Row};
use super::verbs::{Arity, Request, VERBS, Verb};
use super::{elsewhere, help, version};
use crate::container::{job, signal};
use crate::error::{Error, Result, Stage, nearest};

/// Exit status where there is no command.
const FAILURE: u8 = 1;

/// What a bundle is named by.
const BUNDLE: &str = "bundle";

/// What has its own exit status for that.
const EXIT_CODES: &str = "exit-codes";

/// A parsed command line.
#[derive(Debug)]
pub enum Parsed {
    /// Print this and end.
    Text(String),
    /// Do this.
    Request(GlobalFlags, Box<Request>),
}

/// A command line up to its command.
#[derive(Debug)]
pub struct Head<'a> {
    /// What the flags before the command say; all of them that can be read, whatever is wrong with the others: an
    /// error is reported where `--log` says.
    pub global: GlobalFlags,
    command: Option<&'a OsStr>,
    asks_help: bool,
    wrong: Option<Error>,
    tokens: &'a [OsString],
}

/// Reads argv without the program's name up to the command.
pub fn head(argv: &[OsString]) -> Head<'_> {
    let mut global = GlobalFlags::default();
    let mut walk =
        TokenWalk { tokens: argv, verb: None, table: &[GLOBAL], into: &mut global, asks_help: false, bare: false };
    let mut wrong = None;
    let command = loop {
        match walk.flags() {
            Ok(command) => break command,
            Err(error) => wrong = wrong.or(Some(error)),
        }
    };
    let (asks_help, tokens) = (walk.asks_help, walk.tokens);
    Head { global, command, asks_help, wrong, tokens }
}

/// What of argv stands before the command, for another brisk that is to have the same.
pub fn before_the_command(argv: &[OsString]) -> &[OsString] {
    let left = head(argv).tokens.len();
    argv.get(..argv.len().saturating_sub(left + 1)).unwrap_or_default()
}

impl Head<'_> {
    /// The command, where there is one of that name.
    pub fn verb(&self) -> Option<Verb> {
        self.command.and_then(OsStr::to_str).and_then(Verb::named)
    }

    /// The exit status where something of the command line is wrong: what it asks of brisk's own failures holds for that, too.
    pub fn failure_status(&self) -> u8 {
        let Some(verb) = self.verb() else { return FAILURE };
        let takes = || flags::of(Some(verb)).any(|flag| flag.long == EXIT_CODES);
        let mut ours = self.tokens.iter().take_while(|token| *token != "--");
        if ours.any(|token| token.to_str().and_then(|token| token.strip_prefix("--")) == Some(EXIT_CODES)) && takes() {
            return job::FAILURE;
        }
        verb.failure_status()
    }

    /// Reads what follows.
    pub fn parse(self) -> Result<Parsed> {
        if let Some(error) = self.wrong {
            return Err(error);
        }
        if self.global.version && !self.asks_help {
            return Ok(Parsed::Text(version::text()));
        }
        let Some(name) = self.command.filter(|_| !self.asks_help) else {
            return Ok(Parsed::Text(help::text(None)));
        };
        if name == "help" || name == "h" {
            let about = self.tokens.first().map(|name| named(name)).transpose()?;
            return Ok(Parsed::Text(help::text(about)));
        }
        let verb = named(name)?;
        let mut request = (verb.row().blank)();
        let mut walk = TokenWalk {
            tokens: self.tokens,
            verb: Some(verb),
            table: AFTER,
            into: &mut request,
            asks_help: false,
            bare: false,
        };
        let mut arguments = Vec::new();
        // How many stand before `--`.
        let mut before = 0;
        while let Some(argument) = walk.flags()? {
            before += usize::from(!walk.bare);
            arguments.push(argument);
            if verb.passes_the_rest_on() {
                arguments.extend(walk.tokens.iter().map(OsString::as_os_str));
                break;
            }
        }
        if walk.asks_help {
            return Ok(Parsed::Text(help::text(Some(verb))));
        }
        assign(verb, &arguments, before, &mut request)?;
        if request.lacks_a_pool() {
            return Err(help::missing(verb, "NAME"));
        }
        request.check()?;
        Ok(Parsed::Request(self.global, Box::new(request)))
    }
}

/// Puts the positional arguments where they belong.
fn assign(verb: Verb, given: &[&OsStr], before: usize, request: &mut Request) -> Result<()> {
    let mut given = given.iter().enumerate();
    for positional in verb.row().positionals {
        let most = match positional.arity {
            Arity::One if before == 0 && request.names_itself() => 0,
            Arity::One | Arity::Optional => 1,
            Arity::Several | Arity::Any | Arity::Remainder => usize::MAX,
            Arity::Command if given.clone().next().is_some_and(|(at, _)| at < before) => 0,
            Arity::Command => usize::MAX,
        };
        let mut missing = matches!(positional.arity, Arity::One | Arity::Several) && most > 0;
        for (_, value) in given.by_ref().take(most) {
            missing = false;
            (positional.put)(request, value).map_err(|wanted| invalid(positional.name, value, &wanted))?;
        }
        if missing {
            return Err(help::missing(verb, positional.name));
        }
    }
    given.next().map_or(Ok(()), |(_, extra)| {
        let takes_command = verb.row().positionals.iter().any(|positional| positional.arity == Arity::Command);
        let takes_bundle = || flags::of(Some(verb)).any(|flag| flag.long == BUNDLE);
        let advice = match takes_command {
            true if takes_bundle() => "a program comes after --, a bundle is named by --bundle; ",
            true => "a program comes after --; ",
            false => "",
        };
        let hint = format!("{advice}usage: {}", help::usage(verb));
        Err(Error::new(Stage::Args, format!("unexpected argument: {extra:?}")).with_hint(hint))
    })
}

/// The one sentence about a value that cannot be read.
fn invalid(name: &str, value: &OsStr, wanted: &str) -> Error {
    Error::new(Stage::Args, format!("invalid value {value:?} for {name}: must be {wanted}"))
}

fn named(name: &OsStr) -> Result<Verb> {
    const LISTED: &str = "`brisk help` lists the commands";
    name.to_str().and_then(Verb::named).ok_or_else(|| {
        let typed = name.to_string_lossy();
        let known = VERBS.iter().filter(|row| row.listed()).map(|row| row.name);
        let near = || elsewhere::command(&typed).or_else(|| nearest(&typed, known));
        let hint = match elsewhere::of_engine(&typed) {
            Some(advice) => advice.to_owned(),
            None => near().map_or(LISTED.to_owned(), |near| format!("did you mean {near}? {LISTED}")),
        };
        Error::new(Stage::Args, format!("unknown command {name:?}: No help topic for '{}'", name.display()))
            .with_hint(hint)
    })
}

/// A walk over tokens, whose values go into `T`.
struct TokenWalk<'a, 'o, T: 'static> {
    tokens: &'a [OsString],
    verb: Option<Verb>,
    table: &'static [&'static [Row<T>]],
    into: &'o mut T,
    asks_help: bool,
    /// `--` was seen: dashes mean nothing any more.
    bare: bool,
}

impl<'a, T> TokenWalk<'a, '_, T> {
    /// Reads flags up to the next positional argument and returns it.
    fn flags(&mut self) -> Result<Option<&'a OsStr>> {
        while let Some((token, rest)) = self.tokens.split_first() {
            self.tokens = rest;
            match token.as_bytes() {
                _ if self.bare => return Ok(Some(token)),
                b"--" => self.bare = true,
                b"-" => return Ok(Some(token)),
                b"-?" | b"--usage" | b"--help" | b"-h" | b"-help" => self.asks_help = true,
                [b'-', b'-', long @ ..] => self.long(token, long)?,
                [b'-', letters @ ..] if self.find_long(split_value(letters).0).is_some() => {
                    self.long(token, letters)?
                }
                [b'-', letters @ ..] => self.letters(token, letters)?,
                _ => return Ok(Some(token)),
            }
        }
        Ok(None)
    }

    fn rows(&self) -> impl Iterator<Item = &'static Row<T>> + use<T> {
        let verb = self.verb;
        self.table.iter().copied().flatten().filter(move |row| verb.is_none_or(|verb| row.verbs.contains(&verb)))
    }

    fn find_long(&self, name: &[u8]) -> Option<&'static Row<T>> {
        self.rows().find(|row| row.flag.long.as_bytes() == name)
    }

    fn long(&mut self, token: &OsStr, text: &[u8]) -> Result<()> {
        let (name, value) = split_value(text);
        match self.find_long(name) {
            Some(row) => self.take(row, value),
            None => Err(self.unknown(token, name)),
        }
    }

    fn letters(&mut self, token: &OsStr, letters: &[u8]) -> Result<()> {
        for (at, letter) in letters.iter().enumerate() {
            let letter = if self.verb.is_none() && *letter == b'V' { b'v' } else { *letter };
            let Some(row) = self.rows().find(|row| row.flag.short == Some(char::from(letter))) else {
                return Err(self.unknown(token, letters));
            };
            let attached = &letters[at + 1..];
            match row.flag.value {
                FlagValue::Switch | FlagValue::Maybe(_) if attached.first() != Some(&b'=') => self.take(row, None)?,
                _ => {
                    let attached = attached.strip_prefix(b"=").unwrap_or(attached);
                    return self.take(row, (!attached.is_empty()).then_some(attached));
                }
            }
        }
        Ok(())
    }

    /// Puts one value where it belongs; a missing one is the next token.
    fn take(&mut self, row: &'static Row<T>, value: Option<&[u8]>) -> Result<()> {
        let flag = &row.flag;
        let value = match (flag.value, value) {
            (_, Some(text)) => OsStr::from_bytes(text),
            (FlagValue::Switch | FlagValue::Maybe(_), None) => OsStr::new("true"),
            (FlagValue::One(name) | FlagValue::Many(name) | FlagValue::Word(name, _), None) => {
                let Some((next, rest)) = self.tokens.split_first() else { return Err(self.lacks_value(flag, name)) };
                self.tokens = rest;
                next
            }
        };
        let empty = value.is_empty() && self.verb.is_some_and(Verb::is_of_brisk);
        let put = if empty { Err("something".into()) } else { (row.put)(self.into, value) };
        put.map_err(|wanted| invalid(&format!("--{}", flag.long), value, &wanted))
    }

    /// In Go's words: Podman and CRI-O look for them to know whether `restore --lsm-mount-context` is taken.
    fn lacks_value(&self, flag: &Flag, name: &str) -> Error {
        Error::new(Stage::Args, format!("flag needs an argument: --{} {name}", flag.long))
    }

    fn unknown(&self, token: &OsStr, name: &[u8]) -> Error {
        let name = String::from_utf8_lossy(split_value(name).0);
        let hint = match self.verb {
            Some(Verb::Kill) if signal::parse(&name).is_ok() => {
                format!("the signal is named after the container: brisk kill ID {name}")
            }
            Some(verb) if GLOBAL.iter().any(|row| row.flag.long == name) => {
                format!("it is taken before the command: brisk --{name} … {}", verb.row().name)
            }
            Some(verb) => {
                let meant = elsewhere::flag(verb, &name).or_else(|| self.near(&name));
                let listed = format!("`brisk {} --help` lists its flags", verb.row().name);
                meant.map_or(listed.clone(), |meant| {
                    format!("{meant}{}{listed}", if meant.ends_with('?') { " " } else { "; " })
                })
            }
            None if AFTER.iter().copied().flatten().any(|row| row.flag.long == name) => {
                "it is taken after the command: see `brisk help COMMAND`".to_owned()
            }
            None => {
                let meant = self.near(&name).map_or(String::new(), |meant| meant + " ");
                format!("{meant}`brisk help` lists the flags before the command")
            }
        };
        Error::new(Stage::Args, format!("unknown flag {token:?}")).with_hint(hint)
    }

    /// The flag that a misspelled one may have been meant for.
    fn near(&self, name: &str) -> Option<String> {
        let known = self.rows().filter(|row| row.flag.listed).map(|row| row.flag.long);
        Some(format!("did you mean --{}?", nearest(name, known)?))
    }
}

fn split_value(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == b'=') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}
