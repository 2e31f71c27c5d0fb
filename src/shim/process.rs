//! A process of a container: its first one, or one that was added.

use std::cell::{Cell, RefCell};

use super::fault::{Answer, Fault};
use super::os::Moment;
use super::reactor::{self, Event, Gate, Guard};
use super::reaper::Ended;
use super::stdio::{Attached, Paths};

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
            spec: RefCell::default(),
        }
    }

    /// Its number, as messages have it.
    pub fn number(&self) -> u32 {
        self.pid.get().cast_unsigned()
    }

    /// Waits for its turn to change the state, as long as the client does.
    pub async fn enter(&self, late: &Event<()>) -> Answer<Guard> {
        let guard = reactor::unless(late, self.gate.enter()).await;
        guard.filter(|_| late.get().is_none()).ok_or_else(Fault::late)
    }

    /// How it ended; all zero while it has not, and for one that has never run.
    pub fn end(&self) -> Ended {
        self.ended.get().unwrap_or(NEVER_RUN)
    }

    /// To be called when the process has not run and will not without another start: nobody waits for its end any longer.
    pub fn has_not_run(&self) {
        self.ended.set(NEVER_RUN);
    }
}

/// What is said of the end of a process that has none, as by containerd's shim.
const NEVER_RUN: Ended = Ended { status: 0, at: Moment { seconds: 0, nanos: 0 } };

/// What an added process is to run. The request's word on the terminal counts, as the streams are made for it.
pub fn spec(json: &[u8], paths: &Paths) -> serde_json::Result<Vec<u8>> {
    let mut spec: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json)?;
    spec.insert("terminal".to_owned(), paths.terminal.into());
    let mut json = serde_json::to_vec(&spec)?;
    json.shrink_to_fit();
    Ok(json)
}
