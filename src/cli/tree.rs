//! clap's view of the tables: the text of `--help`.

use clap::{Arg, ArgAction, Command};

use super::flags::{self, Flag, Value};
use super::verbs::{Arity, Positional, VERBS, Verb};

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
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        // In clap's place in the list, and in our words.
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
        Value::Maybe(name) => value(arg, name).action(ArgAction::Set).num_args(0..=1).require_equals(true),
    }
}

fn value(arg: Arg, name: &'static str) -> Arg {
    arg.value_name(name)
}

fn positional(at: usize, row: &'static Positional) -> Arg {
    let arg = Arg::new(row.name).index(at + 1).help(row.help);
    match row.arity {
        Arity::One => arg.required(true),
        Arity::Optional => arg,
        Arity::Several => arg.required(true).num_args(1..).action(ArgAction::Append),
        Arity::Rest => arg.num_args(0..).action(ArgAction::Append).trailing_var_arg(true),
    }
}
