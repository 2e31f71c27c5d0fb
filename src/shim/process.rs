//! A process of a container: its first one, or one that was added.

use std::cell::{Cell, RefCell};

use super::reactor::{Event, Gate};
use super::reaper::Ended;
use super::stdio::{Attached, Paths, Prepared};

/// What a process is doing. A paused container's processes are paused with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The runtime has made it, or (an added one) has yet to.
    Created,
    /// To be restored from a checkpoint when it is started.
    Checkpointed,
    Running,
    Pausing,
    Paused,
    Stopped,
    Deleted,
}

impl State {
    /// containerd.v1.types.Status.
    pub fn status(self) -> u32 {
        match self {
            State::Created | State::Checkpointed => 1,
            State::Running => 2,
            State::Stopped | State::Deleted => 3,
            State::Paused => 4,
            State::Pausing => 5,
        }
    }

    /// As it is called in an error.
    pub fn name(self) -> &'static str {
        match self {
            State::Created | State::Checkpointed => "created",
            State::Running | State::Pausing => "running",
            State::Paused => "paused",
            State::Stopped => "stopped",
            State::Deleted => "deleted",
        }
    }
}

/// One process.
#[derive(Debug)]
pub struct Process {
    /// The container's id for its first process.
    pub id: String,
    pub paths: Paths,
    pub state: Cell<State>,
    pub pid: Cell<i32>,
    pub ended: Event<Ended>,
    /// Closed while the state is being changed. The end of a process waits here for the answer to its start.
    pub gate: Gate,
    pub streams: RefCell<Attached>,
    /// Streams of a process that is to be restored, until it is started.
    pub prepared: RefCell<Option<(Prepared, super::runtime::CommandStreams)>>,
    /// What an added process is to run, as JSON.
    pub spec: RefCell<Vec<u8>>,
}

impl Process {
    pub fn new(id: &str, paths: Paths, state: State) -> Process {
        Process {
            id: id.to_owned(),
            paths,
            state: Cell::new(state),
            pid: Cell::new(0),
            ended: Event::new(),
            gate: Gate::default(),
            streams: RefCell::default(),
            prepared: RefCell::default(),
            spec: RefCell::default(),
        }
    }

    /// Its number, as messages have it.
    pub fn number(&self) -> u32 {
        self.pid.get().cast_unsigned()
    }

    /// How it ended; all zero while it has not.
    pub fn end(&self) -> Ended {
        self.ended.get().unwrap_or(Ended { status: 0, at: super::os::Moment::default() })
    }
}
