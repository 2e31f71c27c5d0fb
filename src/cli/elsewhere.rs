//! What users of Docker and Podman type, and what that is here: advice about commands and flags that there are not. Pure.

use super::flags::{self, FlagValue};
use super::verbs::Verb;

/// Commands that mean the same under another name.
const COMMANDS: &[(&str, &str)] = &[
    ("attach", "exec"),
    ("destroy", "delete"),
    ("enter", "exec"),
    ("init", "spec"),
    ("ls", "list"),
    ("remove", "delete"),
    ("rm", "delete"),
    ("shell", "exec"),
    ("status", "state"),
    ("stop", "kill"),
    ("unpause", "resume"),
    ("validate", "check"),
];

/// Commands of an engine that a runtime has none for, and where to turn.
const OF_ENGINES: &[(&[&str], &str)] = &[
    (
        &[
            "build", "commit", "image", "images", "import", "load", "login", "pull", "push", "rmi", "save", "search",
            "tag",
        ],
        "images are an engine's work: brisk runs what is in a directory, a bundle or --rootfs DIR",
    ),
    (
        &["compose", "network", "port", "volume"],
        "networks and volumes are an engine's work: see --network and --mount of `brisk run --help`",
    ),
    (&["logs"], "brisk keeps no output: it goes to the standard streams of `create` or `run`"),
    (&["container"], "the command stands alone, as in brisk list"),
    (&["version"], "brisk --version prints it"),
];

/// What a flag is here.
enum Here {
    /// Another flag, of the commands that take it.
    Flag(&'static str),
    /// None, and why these commands need none.
    Needless(&'static [Verb], &'static str),
}

const FLAGS: &[(&[&str], Here)] = &[
    (&["cap-add"], Here::Flag("cap")),
    (&["e"], Here::Flag("env")),
    (&["it", "t", "ti"], Here::Flag("tty")),
    (&["m"], Here::Flag("memory")),
    (&["pids-limit"], Here::Flag("pids")),
    (&["security-opt"], Here::Flag("seccomp")),
    (&["u"], Here::Flag("user")),
    (&["v", "volume"], Here::Flag("mount")),
    (&["w", "workdir"], Here::Flag("cwd")),
    (&["a", "all"], Here::Needless(&[Verb::List], "all containers are listed")),
    (&["entrypoint"], Here::Needless(&[Verb::Create, Verb::Run], "the program comes after --")),
    (
        &["i", "interactive"],
        Here::Needless(&[Verb::Create, Verb::Exec, Verb::Run], "standard input is the caller's without it"),
    ),
    (&["name"], Here::Needless(&[Verb::Create, Verb::Run], "the name is an argument that stands alone")),
    (&["P", "publish"], Here::Needless(&[Verb::Create, Verb::Run], "networks are an engine's work")),
    (&["privileged"], Here::Needless(&[Verb::Create, Verb::Exec, Verb::Run], "--cap adds a right at a time")),
    (
        &["rm"],
        Here::Needless(&[Verb::Run], "`run` deletes the container when its program ends, unless --keep is given"),
    ),
    (&["s", "signal"], Here::Needless(&[Verb::Kill], "the signal is named after the container: brisk kill ID SIGNAL")),
];

/// Our name of a command.
pub(super) fn command(typed: &str) -> Option<&'static str> {
    COMMANDS.iter().find(|(other, _)| *other == typed).map(|(_, ours)| *ours)
}

/// Where to turn with a command that is an engine's.
pub(super) fn of_engine(typed: &str) -> Option<&'static str> {
    OF_ENGINES.iter().find(|(names, _)| names.contains(&typed)).map(|(_, advice)| *advice)
}

/// What to do instead of giving this command a flag that it does not take.
pub(super) fn flag(verb: Verb, typed: &str) -> Option<String> {
    let (_, here) = FLAGS.iter().find(|(names, _)| names.contains(&typed))?;
    match here {
        Here::Needless(verbs, advice) => verbs.contains(&verb).then(|| (*advice).to_owned()),
        Here::Flag(long) => {
            let value = match flags::of(Some(verb)).find(|flag| flag.long == *long)?.value {
                FlagValue::One(name) | FlagValue::Many(name) | FlagValue::Word(name, _) => format!(" {name}"),
                FlagValue::Switch | FlagValue::Maybe(_) => String::new(),
            };
            Some(format!("did you mean --{long}{value}?"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::verbs::VERBS;
    use super::*;

    /// Nobody is sent to a command or flag that there is not, or told of one that there is.
    #[test]
    fn the_tables_name_what_there_is() {
        for (typed, ours) in COMMANDS {
            assert!(Verb::named(ours).is_some() && Verb::named(typed).is_none(), "{typed}");
        }
        for name in OF_ENGINES.iter().flat_map(|(names, _)| *names) {
            assert!(Verb::named(name).is_none(), "{name}");
        }
        for (names, here) in FLAGS {
            let taken = |verb: Verb, name: &str| flags::of(Some(verb)).any(|flag| flag.long == name);
            match here {
                Here::Flag(long) => assert!(VERBS.iter().any(|row| taken(row.verb, long)), "{long}"),
                Here::Needless(verbs, _) => {
                    assert!(!verbs.iter().any(|verb| names.iter().any(|name| taken(*verb, name))), "{names:?}");
                }
            }
        }
    }
}
