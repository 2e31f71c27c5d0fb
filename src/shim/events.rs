//! What containerd is told: each event's topic, type and message (containerd's api/events/task.proto).

use super::os::Moment;
use super::protobuf::Writer;
use super::reaper::Ended;

/// The topic of ends.
pub const EXIT: &str = "/tasks/exit";

/// An event, ready to be put into its envelope.
#[derive(Debug, PartialEq, Eq)]
pub struct Notice {
    pub topic: &'static str,
    pub kind: &'static str,
    pub message: Vec<u8>,
}

fn event(topic: &'static str, kind: &'static str, write: impl FnOnce(&mut Writer)) -> Notice {
    let mut writer = Writer::new();
    write(&mut writer);
    Notice { topic, kind, message: writer.done() }
}

/// A Timestamp in `field`.
pub fn moment(writer: &mut Writer, field: u64, at: Moment) {
    writer.message(field, |stamp| {
        stamp.number(1, at.seconds).number(2, at.nanos);
    });
}

/// What a container was created from.
#[derive(Debug)]
pub struct Created<'a> {
    pub id: &'a str,
    pub bundle: &'a str,
    /// Mounts, as they came in the request.
    pub rootfs: &'a [&'a [u8]],
    pub stdin: &'a str,
    pub stdout: &'a str,
    pub stderr: &'a str,
    pub terminal: bool,
    pub checkpoint: &'a str,
    pub pid: u32,
}

pub fn create(created: &Created<'_>) -> Notice {
    event("/tasks/create", "containerd.events.TaskCreate", |writer| {
        writer.text(1, created.id).text(2, created.bundle);
        for mount in created.rootfs {
            writer.element(3, mount);
        }
        writer.message(4, |io| {
            io.text(1, created.stdin).text(2, created.stdout).text(3, created.stderr).number(4, created.terminal);
        });
        writer.text(5, created.checkpoint).number(6, created.pid);
    })
}

pub fn start(container: &str, pid: u32) -> Notice {
    event("/tasks/start", "containerd.events.TaskStart", |writer| {
        writer.text(1, container).number(2, pid);
    })
}

pub fn exit(container: &str, process: &str, pid: u32, ended: Ended) -> Notice {
    event(EXIT, "containerd.events.TaskExit", |writer| {
        writer.text(1, container).text(2, process).number(3, pid).number(4, ended.status);
        moment(writer, 5, ended.at);
    })
}

pub fn delete(container: &str, pid: u32, ended: Ended) -> Notice {
    event("/tasks/delete", "containerd.events.TaskDelete", |writer| {
        writer.text(1, container).number(2, pid).number(3, ended.status);
        moment(writer, 4, ended.at);
    })
}

pub fn oom(container: &str) -> Notice {
    event("/tasks/oom", "containerd.events.TaskOOM", |writer| {
        writer.text(1, container);
    })
}

pub fn exec_added(container: &str, process: &str) -> Notice {
    event("/tasks/exec-added", "containerd.events.TaskExecAdded", |writer| {
        writer.text(1, container).text(2, process);
    })
}

pub fn exec_started(container: &str, process: &str, pid: u32) -> Notice {
    event("/tasks/exec-started", "containerd.events.TaskExecStarted", |writer| {
        writer.text(1, container).text(2, process).number(3, pid);
    })
}

pub fn paused(container: &str) -> Notice {
    event("/tasks/paused", "containerd.events.TaskPaused", |writer| {
        writer.text(1, container);
    })
}

pub fn resumed(container: &str) -> Notice {
    event("/tasks/resumed", "containerd.events.TaskResumed", |writer| {
        writer.text(1, container);
    })
}

pub fn checkpointed(container: &str, path: &str) -> Notice {
    event("/tasks/checkpointed", "containerd.events.TaskCheckpointed", |writer| {
        writer.text(1, container).text(2, path);
    })
}
