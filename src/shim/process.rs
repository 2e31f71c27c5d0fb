//! A process of a container: its first one, or one that was added.

use std::cell::{Cell, RefCell};

use super::os::Moment;
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

    /// How it ended; all zero while it has not, and for one that has never run.
    pub fn end(&self) -> Ended {
        let ended = self.ended.get().filter(|_| self.state.get() != State::Created);
        ended.unwrap_or(Ended { status: 0, at: Moment::default() })
    }

    /// To be called when the process has not run and will not without another start: nobody waits for its end any longer.
    pub fn has_not_run(&self) {
        self.ended.set(Ended { status: 255, at: Moment::now() });
    }
}

/// What an added process is to run. The request's word on the terminal counts, as the streams are made for it.
pub fn spec(json: &[u8], paths: &Paths) -> serde_json::Result<Vec<u8>> {
    let mut spec: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json)?;
    spec.insert("terminal".to_owned(), paths.terminal.into());
    let mut json = serde_json::to_vec(&spec)?;
    json.shrink_to_fit();
    Ok(json)
}
