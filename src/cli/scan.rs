//! argv: the flags before the command, the command, and every value put where its row says.
//!
//! The parser takes what the peers' parsers take: `-long` (Go's flag package; go-runc writes `-no-subreaper`),
//! `--switch=true` and `--switch=false` (Go), `-?` and `--usage` (argp), values that start with a dash
//! (`--cpu-quota -1`), and a command line that belongs to another program after the container's name (`exec`,
//! `ps`).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::args::{GlobalFlags, SpecArgs};
use super::flags::{AFTER, Flag, FlagValue, GLOBAL, Row};
use super::verbs::{Arity, Request, VERBS, Verb};
use super::{help, version};
use crate::container::options::{Create, Exec, Run};
use crate::container::outline::{Outline, OverlayChoice};
use crate::error::{Error, Result, Stage, nearest};
use crate::state::check_id;

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

impl Head<'_> {
    /// The command, where there is one of that name.
    pub fn verb(&self) -> Option<Verb> {
        self.command.and_then(OsStr::to_str).and_then(Verb::named)
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
        check(&request)?;
        Ok(Parsed::Request(self.global, Box::new(request)))
    }
}

/// Puts the positional arguments where they belong.
fn assign(verb: Verb, given: &[&OsStr], before: usize, request: &mut Request) -> Result<()> {
    let mut given = given.iter().enumerate();
    for positional in verb.row().positionals {
        let most = match positional.arity {
            Arity::One | Arity::Optional => 1,
            Arity::Several | Arity::Remainder => usize::MAX,
            Arity::Command if given.clone().next().is_some_and(|(at, _)| at < before) => 0,
            Arity::Command => usize::MAX,
        };
        let mut missing = matches!(positional.arity, Arity::One | Arity::Several);
        for (_, value) in given.by_ref().take(most) {
            missing = false;
            (positional.put)(request, value).map_err(|wanted| invalid(positional.name, value, &wanted))?;
        }
        if missing {
            return Err(misplaced(verb, format!("missing argument: {}", positional.name)));
        }
    }
    given.next().map_or(Ok(()), |(_, extra)| Err(misplaced(verb, format!("unexpected argument: {extra:?}"))))
}

fn misplaced(verb: Verb, what: String) -> Error {
    Error::new(Stage::Args, what).with_hint(format!("usage: {}", help::usage(verb)))
}

/// The one sentence about a value that cannot be read.
fn invalid(name: &str, value: &OsStr, wanted: &str) -> Error {
    Error::new(Stage::Args, format!("invalid value {value:?} for {name}: must be {wanted}"))
}

fn named(name: &OsStr) -> Result<Verb> {
    name.to_str().and_then(Verb::named).ok_or_else(|| {
        let known = VERBS.iter().filter(|row| row.listed()).map(|row| row.name);
        let hint = match nearest(&name.to_string_lossy(), known) {
            Some(near) => format!("did you mean {near}? `brisk help` lists the commands"),
            None => "`brisk help` lists the commands".to_owned(),
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
        (row.put)(self.into, value).map_err(|wanted| invalid(&format!("--{}", flag.long), value, &wanted))
    }

    /// In Go's words: Podman and CRI-O look for them to know whether `restore --lsm-mount-context` is taken.
    fn lacks_value(&self, flag: &Flag, name: &str) -> Error {
        Error::new(Stage::Args, format!("flag needs an argument: --{} {name}", flag.long))
    }

    fn unknown(&self, token: &OsStr, name: &[u8]) -> Error {
        let known = self.rows().filter(|row| row.flag.listed).map(|row| row.flag.long);
        let mut hint = match nearest(&String::from_utf8_lossy(name), known) {
            Some(near) => format!("did you mean --{near}? "),
            None => String::new(),
        };
        let typed = |row: &&Row<Request>| row.flag.long.as_bytes() == name;
        let after = self.verb.is_none() && AFTER.iter().copied().flatten().any(|row| typed(&row));
        let before = self.verb.is_some() && GLOBAL.iter().any(|row| row.flag.long.as_bytes() == name);
        hint += &match self.verb {
            None if after => "it is taken after the command: see `brisk help COMMAND`".to_owned(),
            Some(verb) if before => format!(
                "it is taken before the command: brisk --{} … {}",
                String::from_utf8_lossy(name),
                verb.row().name
            ),
            None => "`brisk help` lists the flags before the command".to_owned(),
            Some(verb) => format!("`brisk {} --help` lists its flags", verb.row().name),
        };
        Error::new(Stage::Args, format!("unknown flag {token:?}")).with_hint(hint)
    }
}

fn split_value(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == b'=') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// What only all of the values together can tell.
fn check(request: &Request) -> Result<()> {
    if !request.is_by_expression() {
        request.ids().into_iter().try_for_each(check_id)?;
    }
    let refuse = |what: &'static str| Err(Error::new(Stage::Args, what));
    if let Request::Exec(Exec { program, .. }) = request
        && program.args.is_empty()
        && program.process.is_none()
    {
        return refuse("exec needs a command or --process FILE");
    }
    if let Request::Create(Create { template: true, job, console_socket, .. }) = request {
        if job.output_limit.is_some() {
            return refuse("--output-limit: the standard streams of a template come with start");
        }
        if console_socket.is_some() {
            return refuse("--console-socket: the terminal of a template comes with start");
        }
    }
    if let Request::Create(create) | Request::Run(Run { create, .. }) = request {
        check_outline(create)?;
    }
    if let Request::Spec(SpecArgs { program, with, outline, .. }) = request {
        if program.is_none() && !with.is_empty() {
            return refuse("--with needs --program");
        }
        if program.is_some() && outline.rootfs.is_some() {
            return refuse("--program makes a root of its own: leave out --rootfs");
        }
        check_overlay(outline)?;
    }
    if let Request::Update(args) = request
        && args.files.len() > 1
        && args.files.len() != args.ids.len()
    {
        return refuse("--resources is given once for all containers, or once for each of them");
    }
    Ok(())
}

/// Layers belong to an overlay.
fn check_overlay(outline: &Outline) -> Result<()> {
    let OverlayChoice { upper, lower, idmap } = &outline.overlay;
    if upper.is_none() && (*idmap || !lower.is_empty()) {
        return Err(Error::new(Stage::Args, "--lower and --overlay-idmap need --overlay"));
    }
    Ok(())
}

/// A container is of a bundle, or of a root and what the flags say.
fn check_outline(args: &Create) -> Result<()> {
    check_overlay(&args.outline)?;
    let refuse = |what: &'static str, hint: &'static str| Err(Error::new(Stage::Args, what).with_hint(hint));
    // An overlay lies over a bundle's root, too.
    let alone = Outline { overlay: args.outline.overlay.clone(), ..Outline::default() };
    match &args.outline.rootfs {
        None if args.outline != alone => refuse(
            "a bundle says itself what runs in which limits: flags and a command need --rootfs DIR",
            "`brisk spec` takes the same flags and writes them into a bundle's config.json",
        ),
        Some(_) if args.config.is_some() || args.bundle != Path::new(".") => {
            refuse("--rootfs makes a container without a bundle", "leave out --bundle and --config")
        }
        Some(_) if args.outline.args.is_empty() && !args.template => {
            refuse("--rootfs needs a command", "put it at the end: brisk run --rootfs DIR ID -- COMMAND")
        }
        _ => Ok(()),
    }
}
