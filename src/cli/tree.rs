//! clap's view of the tables.
//!
//! Only the command at hand is built: a tree of all commands costs more than the rest of the parsing. Help
//! of the program as a whole builds them all.

use std::ffi::OsString;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::flags::{self, Flag, Value};
use super::verbs::{Arity, Positional, VERBS, Verb};
use crate::error::{Error, Result, Stage};

/// Matches the flags before the command.
pub fn match_global(tokens: &[OsString]) -> Result<ArgMatches> {
    matches(base("brisk", None), tokens)
}

/// Matches what follows a command.
pub fn match_verb(verb: Verb, tokens: &[OsString]) -> Result<ArgMatches> {
    matches(command(verb), tokens)
}

/// The text of `--help`.
pub fn help(about: Option<Verb>) -> String {
    match about {
        Some(verb) => command(verb).bin_name(format!("brisk {}", verb.row().name)).render_help().to_string(),
        None => VERBS
            .iter()
            .filter(|row| row.listed)
            .fold(base("brisk", None).about("A daemonless OCI container runtime."), |tree, row| {
                tree.subcommand(Command::new(row.name).about(row.about))
            })
            .subcommand_value_name("COMMAND")
            .render_help()
            .to_string(),
    }
}

fn command(verb: Verb) -> Command {
    let row = verb.row();
    row.positionals
        .iter()
        .enumerate()
        .fold(base(row.name, Some(verb)).about(row.about), |command, (at, row)| command.arg(positional(at, row)))
}

fn base(name: &'static str, scope: Option<Verb>) -> Command {
    let command = Command::new(name)
        // The last of repeated flags counts, as with the peers: engines add theirs to the user's.
        .args_override_self(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        // `scan` has seen --help before; the row is for the list of options.
        .disable_help_flag(true)
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::SetTrue).help("print this text"));
    flags::of(scope).fold(command, |command, row| command.arg(flag(row)))
}

fn flag(row: &'static Flag) -> Arg {
    let arg = Arg::new(row.long).long(row.long).help(row.help).hide(!row.listed);
    let arg = match row.short {
        Some(letter) => arg.short(letter),
        None => arg,
    };
    match row.value {
        Value::Switch => arg.action(ArgAction::SetTrue),
        Value::One(name) => value(arg, name).action(ArgAction::Set),
        Value::Many(name) => value(arg, name).action(ArgAction::Append),
        Value::Maybe(name) => {
            value(arg, name).action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("")
        }
    }
}

fn value(arg: Arg, name: &'static str) -> Arg {
    arg.value_name(name).value_parser(ValueParser::os_string()).allow_hyphen_values(true)
}

fn positional(at: usize, row: &'static Positional) -> Arg {
    let arg = Arg::new(row.name).index(at + 1).help(row.help).value_parser(ValueParser::os_string());
    match row.arity {
        Arity::One => arg.required(true),
        Arity::Optional => arg,
        Arity::Several => arg.required(true).num_args(1..).action(ArgAction::Append),
        Arity::Rest => arg.num_args(0..).action(ArgAction::Append).trailing_var_arg(true).allow_hyphen_values(true),
    }
}

fn matches(command: Command, tokens: &[OsString]) -> Result<ArgMatches> {
    command.no_binary_name(true).try_get_matches_from(tokens).map_err(|error| {
        // clap renders "error: what\n  which\n\nUsage: …": the log takes one line.
        let text = error.render().to_string();
        let what: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        let what = what.join(" ");
        Error::new(Stage::Args, what.strip_prefix("error: ").unwrap_or(&what))
            .with_hint("--help lists the flags and arguments of a command")
    })
}
