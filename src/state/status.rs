//! What a container is right now, from facts.

use super::Life;
use crate::spec::status::Status;

/// What was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The `create` or `run` that makes the container.
    pub creator: Life,
    /// The container's first process; none before it is cloned.
    pub init: Option<Life>,
    /// Whether everything was set up for it.
    pub set_up: bool,
    /// Whether exec.fifo exists: `start` removes it.
    pub waits_for_start: bool,
    /// Whether the cgroup is frozen.
    pub frozen: bool,
}

/// The status that follows from the facts.
///
/// A dead first process means stopped even if the cgroup is frozen or the fifo still lies there. One that outlived its
/// creator is set up: until then it dies with it.
pub fn status(facts: &Facts) -> Status {
    match (facts.init, facts.creator) {
        (None, Life::Alive) => Status::Creating,
        (None | Some(Life::Gone), _) => Status::Stopped,
        (Some(Life::Alive), Life::Alive) if !facts.set_up => Status::Creating,
        (Some(Life::Alive), _) if facts.frozen => Status::Paused,
        (Some(Life::Alive), _) if facts.waits_for_start => Status::Created,
        (Some(Life::Alive), _) => Status::Running,
    }
}
