//! Tells containerd that the kernel killed a container's process for want of memory: an eventfd on cgroup v1, a watch on
//! `memory.events` on v2.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;

use super::cgroups::Cgroups;
use super::events;
use super::os;
use super::publisher::Publisher;
use super::reactor::{self, IN, Task};

/// Watches the containers of a shim.
#[derive(Debug)]
pub struct Watcher {
    publisher: Rc<Publisher>,
}

/// One container that is watched. Ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    id: String,
    publisher: Rc<Publisher>,
    source: Rc<Source>,
    task: Task,
}

#[derive(Debug)]
enum Source {
    /// cgroup v1: an eventfd that the kernel writes to.
    Event { event: OwnedFd, control: PathBuf },
    /// cgroup v2: an inotify descriptor on `memory.events`, and the kills that have been told of.
    File { inotify: OwnedFd, path: PathBuf, kills: std::cell::Cell<u64> },
}

impl Watcher {
    pub fn new(publisher: Rc<Publisher>) -> Rc<Watcher> {
        Rc::new(Watcher { publisher })
    }

    /// Begins to watch. `None` where the container has no memory controller.
    pub fn watch(&self, id: &str, cgroups: &Cgroups) -> Result<Option<Watch>, Errno> {
        let Some(source) = Source::open(cgroups)? else { return Ok(None) };
        let (source, id, publisher) = (Rc::new(source), id.to_owned(), Rc::clone(&self.publisher));
        let watched = (Rc::clone(&source), id.clone(), Rc::clone(&publisher));
        let task = reactor::spawn(async move {
            let (source, id, publisher) = watched;
            loop {
                if let Err(errno) = reactor::ready(source.fd().as_fd(), IN).await {
                    return os::log("warning", &format!("OOM kills of {id} are not noticed: {errno}"));
                }
                source.look(&id, &publisher);
            }
        });
        Ok(Some(Watch { id, publisher, source, task }))
    }
}

impl Watch {
    /// Looks a last time: the event of the kill goes before that of the end.
    pub fn end(self) {
        self.source.look(&self.id, &self.publisher);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        reactor::cancel(self.task);
    }
}

impl Source {
    fn open(cgroups: &Cgroups) -> Result<Option<Source>, Errno> {
        let Some(directory) = cgroups.controller("memory") else { return Ok(None) };
        if cgroups.is_v2() {
            let path = directory.join("memory.events");
            let Ok(kills) = kills(&path) else { return Ok(None) };
            let inotify = os::inotify()?;
            let name = os::c_string(path.as_os_str().as_encoded_bytes()).map_err(|_| Errno::EINVAL)?;
            os::inotify_modified(inotify.as_fd(), &name)?;
            return Ok(Some(Source::File { inotify, path, kills: kills.into() }));
        }
        let errno = |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
        let control = directory.join("memory.oom_control");
        let file = std::fs::File::open(&control).map_err(errno)?;
        let event = os::eventfd()?;
        let line = format!("{} {}", event.as_raw_fd(), file.as_raw_fd());
        std::fs::write(directory.join("cgroup.event_control"), line).map_err(errno)?;
        Ok(Some(Source::Event { event, control }))
    }

    fn fd(&self) -> &OwnedFd {
        match self {
            Source::Event { event, .. } => event,
            Source::File { inotify, .. } => inotify,
        }
    }

    fn look(&self, id: &str, publisher: &Publisher) {
        let happened = os::drain(self.fd().as_fd()).unwrap_or(false);
        let killed = match self {
            // The kernel also writes when the cgroup is removed, as by a deletion that was given up.
            Source::Event { control, .. } => happened && control.exists(),
            Source::File { path, kills: told, .. } => {
                let now = kills(path).unwrap_or(told.get());
                now > told.replace(now)
            }
        };
        if killed {
            publisher.publish(events::oom(id));
        }
    }
}

/// `oom_kill` of memory.events.
fn kills(path: &Path) -> std::io::Result<u64> {
    let text = std::fs::read_to_string(path)?;
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok());
    Ok(count.unwrap_or(0))
}
