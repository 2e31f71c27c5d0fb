//! The commands: one row each, and from the rows the enumeration of commands and that of requests: a command
//! without a row, or without options, does not compile. Help, man pages, completions and the parser are all made
//! from these rows and those of [`super::flags`].

use std::ffi::OsStr;
use std::time::Duration;

use super::args::{
    CheckArgs, DiffArgs, EventsArgs, ListArgs, MemoryArgs, MountsArgs, PlanArgs, PoolAction, PoolArgs, PsArgs,
    RecordArgs, Shell, SpecArgs, StatsArgs, TopArgs, TraceArgs, UpdateArgs, WaitArgs,
};
use super::put::{INTERVAL, Put, PutResult};
use super::validate;
use crate::container::job::FAILURE as FAILED;
use crate::container::options::{Checkpoint, Create, Delete, Exec, Job, Kill, Restore, Run, Selection, Start};
use crate::error::Result;
use crate::state::check_id;

/// How many values a positional argument takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Exactly one.
    One,
    /// None or one.
    Optional,
    /// One or more.
    Several,
    /// Any number, or none.
    Any,
    /// Everything that is left, taken as it is: flags in it belong to somebody else.
    Remainder,
    /// What stands after `--`, if anything does.
    Command,
}

/// A positional argument.
#[derive(Debug)]
pub struct Positional {
    /// Its name, as help shows it.
    pub name: &'static str,
    /// How many values it takes.
    pub arity: Arity,
    /// One line of help.
    pub help: &'static str,
    /// Puts a value into the options.
    pub put: fn(&mut Request, &OsStr) -> PutResult,
}

/// What a command is about: help lists the commands of a group together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the titles say it")]
pub enum Group {
    Life,
    Inside,
    Look,
    Change,
    Before,
    Tools,
    Hidden,
}

impl Group {
    /// The groups that help lists, in order.
    pub const LISTED: [(Group, &'static str); 6] = [
        (Group::Life, "The life of a container"),
        (Group::Inside, "In a running container"),
        (Group::Look, "What is there"),
        (Group::Change, "Pause, limit, move"),
        (Group::Before, "Before and after: what would be done, what this host can do, where time went"),
        (Group::Tools, "For bundles, engines and shells"),
    ];
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
    /// What it is about.
    pub group: Group,
    /// Positional arguments, in order.
    pub positionals: &'static [Positional],
    /// The request before anything was typed.
    pub blank: fn() -> Request,
}

impl VerbRow {
    /// Whether help lists it.
    pub fn listed(&self) -> bool {
        self.group != Group::Hidden
    }
}

/// Puts a value where it belongs: all of the options, a field of them, or a field with a language of its own.
macro_rules! put {
    ($options:ident, $value:ident, ()) => {
        $options.put($value)
    };
    ($options:ident, $value:ident, ($($field:ident).+)) => {
        (&mut $options.$($field).+).put($value)
    };
    ($options:ident, $value:ident, ($name:ident => $field:expr)) => {{
        let $name = $options;
        $field.put($value)
    }};
}

/// A function that puts a value into the options of the request, which is one of these.
macro_rules! set {
    ($($verb:ident $field:tt),+) => {
        |request, value| {
            $(if let $crate::cli::verbs::Request::$verb(options) = request {
                return $crate::cli::verbs::put!(options, value, $field);
            })+
            unreachable!("a row is looked for among those of the command")
        }
    };
}
pub(super) use {put, set};

/// What a row says in a column that it may leave out, else what holds for the others.
macro_rules! column {
    ($otherwise:expr) => {
        $otherwise
    };
    ($otherwise:expr, $said:expr) => {
        $said
    };
}

/// The last columns are functions of the options: which containers were named, what only some commands have, and whether the values
/// can go together.
macro_rules! verbs {
    ($($verb:ident($options:ty) $name:literal $(or $alias:literal)?, $group:ident, $about:literal,
        [$($positional:expr),*] = $blank:expr $(, of $ids:expr)? $(, has $facts:expr)? $(, if $check:expr)?;)*) => {
        /// A command of `brisk`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is described by its row in VERBS")]
        pub enum Verb { $($verb),* }

        /// A command and what it was given.
        #[derive(Clone, Debug, PartialEq)]
        #[expect(missing_docs, reason = "named as the commands")]
        pub enum Request { $($verb($options)),* }

        /// Every command, in the order of the enumeration.
        pub const VERBS: &[VerbRow] = &[$(VerbRow {
            verb: Verb::$verb,
            name: $name,
            aliases: &[$($alias)?],
            about: $about,
            group: Group::$group,
            positionals: &[$($positional),*],
            blank: || Request::$verb($blank),
        }),*];

        impl Request {
            /// The command.
            pub fn verb(&self) -> Verb {
                match self { $(Request::$verb(_) => Verb::$verb),* }
            }

            /// The containers that were named, or the expression for them.
            pub fn ids(&self) -> Vec<&str> {
                match self {
                    $(Request::$verb(args) => {
                        let ids: fn(&$options) -> Vec<&str> = column!(|_| vec![] $(, $ids)?);
                        ids(args)
                    })*
                }
            }

            fn facts(&self) -> RequestFacts<'_> {
                match self {
                    $(Request::$verb(args) => {
                        let facts: fn(&$options) -> RequestFacts<'_> = column!(|_| RequestFacts::default() $(, $facts)?);
                        facts(args)
                    })*
                }
            }

            /// Whether the values of its options can go together.
            fn check_options(&self) -> Result<()> {
                match self {
                    $(Request::$verb(args) => {
                        let check: fn(&$options) -> Result<()> = column!(|_| Ok(()) $(, $check)?);
                        check(args)
                    })*
                }
            }
        }
    };
}

const fn argument(
    name: &'static str,
    arity: Arity,
    help: &'static str,
    put: fn(&mut Request, &OsStr) -> PutResult,
) -> Positional {
    Positional { name, arity, help, put }
}

const fn command(put: fn(&mut Request, &OsStr) -> PutResult) -> Positional {
    argument("COMMAND", Arity::Command, "the program and its arguments", put)
}

const fn id(put: fn(&mut Request, &OsStr) -> PutResult) -> Positional {
    argument("ID", Arity::One, "the container's name", put)
}

/// Names as texts.
fn named(ids: &[String]) -> Vec<&str> {
    ids.iter().map(String::as_str).collect()
}

verbs! {
    // youki 0.7 spells it with two t.
    Checkpoint(Checkpoint) "checkpoint" or "checkpointt", Change, "save the state of a running container with CRIU",
        [id(set!(Checkpoint(id)))] = Checkpoint::default(),
        of |args| vec![&args.id];
    Create(Create) "create", Life, "create a container from a bundle; `start` runs its program",
        [id(set!(Create(id))), command(set!(Create(outline.args)))]
        = Create::default(),
        of |args| vec![&args.id],
        has |_| RequestFacts { outlived: true, ..RequestFacts::default() },
        if |args| validate::create(args);
    Delete(Delete) "delete", Life, "delete a container and everything it holds",
        [id(set!(Delete(which.name)))] = Delete::default(),
        of |args| vec![&args.which.name], has |args| RequestFacts::of(&args.which);
    Events(EventsArgs) "events", Look, "print statistics and out-of-memory events as JSON lines",
        [id(set!(Events(id)))] = EventsArgs { interval: INTERVAL, ..EventsArgs::default() },
        of |args| vec![&args.id];
    Exec(Exec) "exec", Inside, "run one more process in a running container",
        [id(set!(Exec(id))), argument("COMMAND", Arity::Remainder, "the program and its arguments", set!(Exec(program.args)))]
        = Exec::default(),
        of |args| vec![&args.id],
        has |args| RequestFacts { outlived: args.detach, job: Some(&args.job), ..RequestFacts::default() },
        if |args| validate::exec(args);
    Features(()) "features", Tools, "print what this runtime supports as JSON", [] = ();
    Kill(Kill) "kill", Life, "send a signal to a container's first process",
        [id(set!(Kill(which.name))),
         argument("SIGNAL", Arity::Optional, "name or number of the signal (default: TERM)", set!(Kill(signal)))]
        = Kill::default(),
        of |args| vec![&args.which.name], has |args| RequestFacts::of(&args.which);
    List(ListArgs) "list", Look, "list containers", [] = ListArgs::default();
    Mounts(MountsArgs) "mounts", Inside, "add or remove mounts of a running container",
        [argument("ACTION", Arity::One, "add or remove", set!(Mounts(action))),
         id(set!(Mounts(id))),
         argument("FILE", Arity::One, "JSON list of mounts", set!(Mounts(file)))]
        = MountsArgs::default(),
        of |args| vec![&args.id];
    Pause(String) "pause", Change, "freeze all processes of a container", [id(set!(Pause()))] = String::new(),
        of |id| vec![id];
    Pool(PoolArgs) "pool", Life, "keep containers that wait for a program: `run --pool` takes one",
        [argument("ACTION", Arity::One, "create, list, fill, drain, stats or delete", set!(Pool(action))),
         argument("NAME", Arity::Optional, "the pool's name; list needs none", set!(Pool(name)))]
        = PoolArgs::default(),
        if |args| validate::pool(args);
    Ps(PsArgs) "ps", Look, "show the processes of a container",
        [id(set!(Ps(id))), argument("OPTIONS", Arity::Remainder, "options of ps(1) (default: -ef)", set!(Ps(options)))]
        = PsArgs::default(),
        of |args| vec![&args.id];
    Restart(Create) "restart", Life, "start a stopped container once more",
        [id(set!(Restart(id)))] = Create::default(),
        of |args| vec![&args.id], has |_| RequestFacts { outlived: true, ..RequestFacts::default() },
        if |args| validate::restart(args);
    Restore(Restore) "restore", Change, "restore a container from a checkpoint",
        [id(set!(Restore(id)))] = Restore { bundle: ".".into(), ..Restore::default() },
        of |args| vec![&args.id], has |args| RequestFacts { outlived: args.detach, ..RequestFacts::default() };
    Resume(String) "resume", Change, "thaw a paused container", [id(set!(Resume()))] = String::new(),
        of |id| vec![id];
    // A container of a pool may have a name that is made for it.
    Run(Box<Run>) "run", Life, "create and start a container, and wait for it",
        [id(set!(Run(create.id))), command(set!(Run(create.outline.args)))]
        = Box::default(),
        of |args| if args.pool.is_some() && args.create.id.is_empty() { vec![] } else { vec![&args.create.id] },
        has |args| RequestFacts { outlived: args.detach, job: Some(&args.create.job), ..RequestFacts::default() },
        if |args| validate::run(args);
    Spec(SpecArgs) "spec", Tools, "write a config.json to start from",
        [command(set!(Spec(outline.args)))] = SpecArgs::default(),
        if |args| validate::spec(args);
    Start(Box<Start>) "start", Life, "run the program of a created container",
        [id(set!(Start(id))), command(set!(Start(program.args)))] = Box::default(),
        of |args| vec![&args.id],
        has |args| RequestFacts { outlived: args.brings() && args.streams.is_none(), ..RequestFacts::default() },
        if |args| validate::start(args);
    State(String) "state", Look, "print the state of a container as JSON", [id(set!(State()))] = String::new(),
        of |id| vec![id];
    Diff(DiffArgs) "diff", Look, "print what a container has changed in its root, where that is an overlay",
        [id(set!(Diff(id)))] = DiffArgs::default(),
        of |args| vec![&args.id];
    Inspect(String) "inspect", Look, "print all that is known of a container as JSON",
        [id(set!(Inspect()))] = String::new(),
        of |id| vec![id];
    Memory(MemoryArgs) "memory", Look, "show which memory containers share, and which they could",
        [argument("ID", Arity::Any, "names of containers (default: all)", set!(Memory(ids)))] = MemoryArgs::default(),
        of |args| named(&args.ids);
    Stats(StatsArgs) "stats", Look, "print what containers use, once",
        [argument("ID", Arity::Any, "names of containers (default: all)", set!(Stats(ids)))] = StatsArgs::default(),
        of |args| named(&args.ids);
    Top(TopArgs) "top", Look, "show what containers use, as it changes",
        [argument("ID", Arity::Any, "names of containers (default: all)", set!(Top(ids)))]
        = TopArgs { interval: Duration::from_secs(1), ..TopArgs::default() },
        of |args| named(&args.ids);
    Update(Box<UpdateArgs>) "update", Change, "change the limits of containers, all or none",
        [argument("ID", Arity::Several, "names of containers", set!(Update(ids)))] = Box::default(),
        of |args| named(&args.ids), if |args| validate::update(args);
    Wait(WaitArgs) "wait", Life, "wait until a container's program has ended, and print its exit status",
        [id(set!(Wait(id)))] = WaitArgs::default(),
        of |args| vec![&args.id];
    Plan(PlanArgs) "plan", Before, "print what `create` would do, without doing it",
        [argument("BUNDLE", Arity::Optional, "the bundle directory (default: .), or a plan that was saved as JSON", set!(Plan(bundle)))]
        = PlanArgs { bundle: ".".into(), ..PlanArgs::default() };
    Check(CheckArgs) "check" or "info", Before,
        "print what this host can do, or all that is wrong with a bundle here",
        [argument("BUNDLE", Arity::Optional, "a bundle directory (default: the host alone)", set!(Check(bundle)))]
        = CheckArgs::default();
    Trace(TraceArgs) "trace", Before, "show where the time of a command went, or compare two",
        [argument("FILE", Arity::One, "a file written by --trace", set!(Trace(file)))] = TraceArgs::default();
    Record(RecordArgs) "record", Before, "run a container and write the seccomp profile that it needs",
        [id(set!(Record(id)))] = RecordArgs { bundle: ".".into(), output: "seccomp.json".into(), ..RecordArgs::default() },
        of |args| vec![&args.id];
    Completion(Shell) "completion", Tools, "print the completion script of a shell",
        [argument("SHELL", Arity::One, "bash, zsh or fish", set!(Completion()))] = Shell::default();
    Man(std::path::PathBuf) "man", Hidden, "write the manual pages",
        [argument("DIR", Arity::One, "where to write the pages", set!(Man()))] = std::path::PathBuf::new();
}

impl Verb {
    /// The command called `name`.
    pub fn named(name: &str) -> Option<Verb> {
        VERBS.iter().find(|row| row.name == name || row.aliases.contains(&name)).map(|row| row.verb)
    }

    /// The exit status of a failure of our own, as far as the command alone tells; what runc uses, for bad arguments too.
    pub fn failure_status(self) -> u8 {
        // 1 could be the program's own.
        if self == Verb::Exec { 255 } else { 1 }
    }

    /// Whether nobody gives it an empty value for none: of other runtimes no script and no engine knows it.
    pub fn is_of_brisk(self) -> bool {
        use Verb::{Check, Diff, Inspect, Memory, Plan, Record, Stats, Top, Trace};
        matches!(self, Check | Diff | Inspect | Memory | Plan | Record | Stats | Top | Trace)
    }

    /// Its row. Both are made from one list, so they have one order.
    pub fn row(self) -> &'static VerbRow {
        &VERBS[self as usize]
    }

    /// Whether flags end at the first positional argument, because what follows is for another program.
    pub fn passes_the_rest_on(self) -> bool {
        self.row().positionals.iter().any(|positional| positional.arity == Arity::Remainder)
    }
}

/// What only some commands have.
#[derive(Default)]
struct RequestFacts<'a> {
    /// The program may have the caller's streams and go on when the command has ended.
    outlived: bool,
    /// What the program may take, where somebody waits for it.
    job: Option<&'a Job>,
    /// Which containers are meant, where that may be an expression.
    which: Option<&'a Selection>,
}

impl<'a> RequestFacts<'a> {
    fn of(which: &'a Selection) -> RequestFacts<'a> {
        RequestFacts { which: Some(which), ..RequestFacts::default() }
    }
}

impl Request {
    /// Whether its names are names, and its values can go together.
    pub(super) fn check(&self) -> Result<()> {
        if !self.is_by_expression() {
            self.ids().into_iter().try_for_each(|id| {
                check_id(id).map_err(|error| match (self.verb(), id.contains('/'), error.hint()) {
                    (Verb::Create | Verb::Run, true, Some(hint)) => {
                        let hint = format!("a bundle is named by --bundle; {hint}");
                        error.with_hint(hint)
                    }
                    _ => error,
                })
            })?;
        }
        self.check_options()
    }

    /// The exit status of a failure of our own.
    pub fn failure_status(&self) -> u8 {
        if self.facts().job.is_some_and(|job| job.exit_codes) { FAILED } else { self.verb().failure_status() }
    }

    /// Whether the caller's standard error becomes that of a program which outlives the command.
    pub fn gives_stderr_away(&self) -> bool {
        self.facts().outlived
    }

    /// Whether a container may be called what the command makes up.
    pub(super) fn names_itself(&self) -> bool {
        matches!(self, Request::Run(args) if args.pool.is_some())
    }

    /// Whether nothing is said of which pool is meant, where one has to be.
    pub(super) fn lacks_a_pool(&self) -> bool {
        matches!(self, Request::Pool(args) if args.name.is_none() && args.action != PoolAction::List)
    }

    /// Whether containers are meant by an expression.
    pub(super) fn is_by_expression(&self) -> bool {
        self.facts().which.is_some_and(|which| which.regex)
    }

    /// What the program is doing, as errors name it: the command and the container.
    pub fn subject(&self) -> String {
        std::iter::once(self.verb().row().name).chain(self.ids()).collect::<Vec<_>>().join(" ")
    }
}
