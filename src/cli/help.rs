//! The text of `--help`, from the tables.

use super::flags::{self, Flag, FlagValue};
use super::verbs::{Arity, Group, Positional, VERBS, Verb};
use crate::error::{Error, Stage};

/// Where a line is broken: what a terminal shows at least.
const WIDTH: usize = 80;
/// Where the descriptions of flags begin; a longer flag stands on a line of its own.
const COLUMN: usize = 34;

/// The text about a command, or about all of them.
pub fn text(about: Option<Verb>) -> String {
    match about {
        Some(verb) => command(verb),
        None => overview(),
    }
}

fn overview() -> String {
    let mut text = String::from(
        "NAME:\n   brisk - a drop-in for crun and runc - Open Container Initiative runtime\n\n\
         USAGE:\n   brisk [FLAGS] COMMAND [ARGUMENTS]\n\n\
         Where to begin:\n  \
           brisk check                     what this host can do\n  \
           brisk spec --bundle DIR         a config.json for the root in DIR/rootfs\n  \
           brisk plan DIR                  what would be done\n  \
           brisk run --bundle DIR NAME     do it\n",
    );
    for (group, title) in Group::LISTED {
        text += &format!("\n{title}:\n");
        for row in VERBS.iter().filter(|row| row.group == group) {
            line(&mut text, &format!("  {}", row.name), 14, row.about);
        }
    }
    text += &options(None, "Flags, before the command");
    text + "\n`brisk COMMAND --help` tells about a command. Manual: brisk(8).\n"
}

fn command(verb: Verb) -> String {
    let row = verb.row();
    let mut text = "NAME:\n   ".to_owned();
    wrapped(&mut text, 3, &format!("brisk {} - {}", row.name, row.about));
    text = text + "\nUSAGE:\n   " + &usage(verb) + "\n";
    if !row.positionals.is_empty() {
        text += "\nArguments:\n";
        for positional in row.positionals {
            line(&mut text, &format!("  {}", shown(positional)), 14, positional.help);
        }
    }
    text + &options(Some(verb), "Flags")
}

/// How a command is called.
pub fn usage(verb: Verb) -> String {
    let row = verb.row();
    let flags = if flags::of(Some(verb)).any(|flag| flag.listed) { " [FLAGS]" } else { "" };
    row.positionals.iter().fold(format!("brisk {}{flags}", row.name), |text, row| text + " " + &shown(row))
}

fn shown(row: &Positional) -> String {
    match row.arity {
        Arity::One => row.name.to_owned(),
        Arity::Optional => format!("[{}]", row.name),
        Arity::Several => format!("{}...", row.name),
        Arity::Any | Arity::Remainder => format!("[{}...]", row.name),
        Arity::Command => format!("[-- {}...]", row.name),
    }
}

fn options(scope: Option<Verb>, title: &str) -> String {
    let mut text = format!("\n{title}:\n");
    for flag in flags::of(scope).filter(|flag| flag.listed) {
        line(&mut text, &format!("  {}", spelled(flag)), COLUMN, flag.help);
    }
    line(&mut text, "  -h, --help", COLUMN, "print this text");
    text
}

/// The error of an argument that is not there.
pub fn missing(verb: Verb, name: &str) -> Error {
    Error::new(Stage::Args, format!("missing argument: {name}")).with_hint(format!("usage: {}", usage(verb)))
}

/// A flag with its letter and the name of its value.
fn spelled(flag: &Flag) -> String {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
    match flag.value {
        FlagValue::Switch => format!("{short}--{}", flag.long),
        FlagValue::One(name) | FlagValue::Many(name) | FlagValue::Word(name, _) => {
            format!("{short}--{} {name}", flag.long)
        }
        FlagValue::Maybe(name) => format!("{short}--{}[={name}]", flag.long),
    }
}

/// A term and its description, which begins in a column of its own and is broken between words.
fn line(text: &mut String, term: &str, column: usize, description: &str) {
    text.push_str(term);
    let mut at = term.chars().count();
    if at + 2 > column {
        text.push('\n');
        at = 0;
    }
    text.push_str(&" ".repeat(column - at));
    wrapped(text, column, description);
}

/// Words from a column on, which the text has reached, broken between them.
fn wrapped(text: &mut String, column: usize, description: &str) {
    let mut at = column;
    for word in description.split(' ') {
        let width = word.chars().count();
        if at > column && at + 1 + width > WIDTH {
            text.push('\n');
            text.push_str(&" ".repeat(column));
            at = column;
        } else if at > column {
            text.push(' ');
            at += 1;
        }
        text.push_str(word);
        at += width;
    }
    text.push('\n');
}
