//! The commands: one row each. Help, man pages, completions and the parser are all made from these rows and
//! those of [`super::flags`].

/// A command of `brisk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described by its row in VERBS")]
pub enum Verb {
    Checkpoint,
    Create,
    Delete,
    Events,
    Exec,
    Features,
    Kill,
    List,
    Mounts,
    Pause,
    Ps,
    Restore,
    Resume,
    Run,
    Spec,
    Start,
    State,
    Update,
    Plan,
    Check,
    Trace,
    Completion,
    Man,
}

/// How many values a positional argument takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Exactly one.
    One,
    /// None or one.
    Optional,
    /// One or more.
    Several,
    /// Everything that is left, taken as it is: flags in it belong to somebody else.
    Rest,
}

/// A positional argument.
#[derive(Debug)]
pub struct Positional {
    /// Its name, as help shows it and as the matches know it.
    pub name: &'static str,
    /// How many values it takes.
    pub arity: Arity,
    /// One line of help.
    pub help: &'static str,
}

/// One row: a command.
#[derive(Debug)]
pub struct VerbRow {
    /// Which.
    pub verb: Verb,
    /// What the user types.
    pub name: &'static str,
    /// Other spellings that are accepted.
    pub aliases: &'static [&'static str],
    /// One line of help.
    pub about: &'static str,
    /// Positional arguments, in order.
    pub positionals: &'static [Positional],
    /// Whether help lists it.
    pub listed: bool,
}

const fn one(name: &'static str, help: &'static str) -> Positional {
    Positional { name, arity: Arity::One, help }
}

const fn row(verb: Verb, name: &'static str, positionals: &'static [Positional], about: &'static str) -> VerbRow {
    VerbRow { verb, name, aliases: &[], about, positionals, listed: true }
}

const ID: Positional = one("ID", "the container's name");
const IDS: Positional = Positional { name: "ID", arity: Arity::Several, help: "names of containers" };

/// Every command.
pub const VERBS: &[VerbRow] = &[
    // youki 0.7 spells it with two t.
    VerbRow {
        aliases: &["checkpointt"],
        ..row(Verb::Checkpoint, "checkpoint", &[ID], "save the state of a running container with CRIU")
    },
    row(Verb::Create, "create", &[ID], "create a container from a bundle; `start` runs its program"),
    row(Verb::Delete, "delete", &[ID], "delete a container and everything it holds"),
    row(Verb::Events, "events", &[ID], "print statistics and out-of-memory events as JSON lines"),
    row(
        Verb::Exec,
        "exec",
        &[ID, Positional { name: "COMMAND", arity: Arity::Rest, help: "the program and its arguments" }],
        "run one more process in a running container",
    ),
    row(Verb::Features, "features", &[], "print what this runtime supports as JSON"),
    row(
        Verb::Kill,
        "kill",
        &[
            ID,
            Positional { name: "SIGNAL", arity: Arity::Optional, help: "name or number of the signal (default: TERM)" },
        ],
        "send a signal to a container's first process",
    ),
    row(Verb::List, "list", &[], "list containers"),
    row(
        Verb::Mounts,
        "mounts",
        &[one("ACTION", "add or remove"), ID, one("FILE", "JSON list of mounts")],
        "add or remove mounts of a running container",
    ),
    row(Verb::Pause, "pause", &[ID], "freeze all processes of a container"),
    row(
        Verb::Ps,
        "ps",
        &[ID, Positional { name: "OPTIONS", arity: Arity::Rest, help: "options of ps(1) (default: -ef)" }],
        "show the processes of a container",
    ),
    row(Verb::Restore, "restore", &[ID], "restore a container from a checkpoint"),
    row(Verb::Resume, "resume", &[ID], "thaw a paused container"),
    row(Verb::Run, "run", &[ID], "create and start a container, and wait for it"),
    row(Verb::Spec, "spec", &[], "write a config.json to start from"),
    row(Verb::Start, "start", &[ID], "run the program of a created container"),
    row(Verb::State, "state", &[ID], "print the state of a container as JSON"),
    row(Verb::Update, "update", &[IDS], "change the limits of containers, all or none"),
    row(
        Verb::Plan,
        "plan",
        &[Positional { name: "BUNDLE", arity: Arity::Optional, help: "the bundle directory (default: .)" }],
        "print what `create` would do, without doing it",
    ),
    VerbRow { aliases: &["info"], ..row(Verb::Check, "check", &[], "print what this kernel and this user can do") },
    row(Verb::Trace, "trace", &[one("FILE", "a file written by --trace")], "print a trace as a table"),
    row(Verb::Completion, "completion", &[one("SHELL", "bash, zsh or fish")], "print the completion script of a shell"),
    VerbRow {
        listed: false,
        ..row(Verb::Man, "man", &[one("DIR", "where to write the pages")], "write the manual pages")
    },
];

impl Verb {
    /// The command called `name`.
    pub fn named(name: &str) -> Option<Verb> {
        VERBS.iter().find(|row| row.name == name || row.aliases.contains(&name)).map(|row| row.verb)
    }

    /// Its row.
    pub fn row(self) -> &'static VerbRow {
        // Every variant has a row: `every_verb_has_a_row` in tests/cli.rs.
        VERBS.iter().find(|row| row.verb == self).unwrap_or(&VERBS[0])
    }

    /// Whether flags end at the first positional argument, because what follows is for another program.
    pub fn passes_the_rest_on(self) -> bool {
        self.row().positionals.iter().any(|positional| positional.arity == Arity::Rest)
    }
}
