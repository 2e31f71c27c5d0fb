//! The task service: which request is which method, and what each answers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::events;
use super::fault::{Answer, Code, Fault};
use super::os;
use super::process::{Process, State};
use super::protobuf::{Message, answer};
use super::reactor::{self, Event};
use super::runtime::Whom;
use super::shared::{Shared, identifier};
use super::task::Container;
use super::ttrpc::Call;

/// The two names of one service: that of containerd 1.x and that of 2.x. The messages are the same.
const SERVICES: [&str; 2] = ["containerd.task.v2.Task", "containerd.task.v3.Task"];

/// A shim: the containers of one pod, or one container.
#[derive(Debug)]
pub struct Shim {
    shared: Rc<Shared>,
    containers: RefCell<BTreeMap<String, Rc<Container>>>,
    /// Ids of containers that are being created, which comes to its end whether or not their clients wait for it.
    creating: RefCell<BTreeMap<String, Event<()>>>,
}

/// An id that is being used until the request for it is done.
struct Reserved<'a> {
    shim: &'a Shim,
    id: String,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let done = self.shim.creating.borrow_mut().remove(&self.id);
        done.into_iter().for_each(|done| done.set(()));
    }
}

impl Shim {
    pub fn new(shared: Shared) -> Rc<Shim> {
        Rc::new(Shim { shared: Rc::new(shared), containers: RefCell::default(), creating: RefCell::default() })
    }

    /// Has an id for a creation, when the one before it is done: whoever gave that up may ask again before nothing is left of it.
    async fn reserve(&self, id: &str, late: &Event<()>) -> Answer<Reserved<'_>> {
        identifier(id)?;
        self.settled(id, late).await?;
        if self.containers.borrow().contains_key(id) {
            return Err(Fault::new(Code::AlreadyExists, format!("container {id}")));
        }
        self.creating.borrow_mut().insert(id.to_owned(), Event::new());
        Ok(Reserved { shim: self, id: id.to_owned() })
    }

    /// Waits until there is a container of this id or not.
    async fn settled(&self, id: &str, late: &Event<()>) -> Answer<()> {
        let creation = || self.creating.borrow().get(id).cloned();
        while let Some(done) = creation() {
            reactor::unless(late, done.wait()).await.ok_or_else(Fault::late)?;
        }
        Ok(())
    }

    async fn container(&self, request: Message<'_>, late: &Event<()>) -> Answer<Rc<Container>> {
        let id = request.text(1)?;
        self.settled(id, late).await?;
        self.containers.borrow().get(id).cloned().ok_or_else(|| Fault::not_found("container not created"))
    }

    /// The process that a request is about: fields 1 and 2.
    async fn process(&self, request: Message<'_>, late: &Event<()>) -> Answer<(Rc<Container>, Rc<Process>)> {
        let container = self.container(request, late).await?;
        let process = container.process(request.text(2)?)?;
        Ok((container, process))
    }

    /// Answers a request.
    pub async fn handle(self: Rc<Self>, call: Call) -> Answer<Vec<u8>> {
        if !SERVICES.contains(&call.service.as_str()) {
            return Err(Fault::new(Code::Unimplemented, format!("service {}", call.service)));
        }
        let request = Message::new(&call.payload)?;
        let late = &call.late;
        let empty = |()| Vec::new();
        // What takes much room while it works is on the heap, or each of the many that only wait would have it, too.
        match call.method.as_str() {
            "State" => self.state(request, late).await,
            "Create" => Box::pin(self.create(request, late)).await,
            "Start" => Box::pin(self.start(request, late)).await,
            "Delete" => Box::pin(self.delete(request, late)).await,
            "Pids" => Box::pin(self.container(request, late).await?.pids(late)).await,
            "Pause" => Box::pin(self.container(request, late).await?.pause(&self.shared, late)).await.map(empty),
            "Resume" => Box::pin(self.container(request, late).await?.resume(&self.shared, late)).await.map(empty),
            "Checkpoint" => {
                let container = self.container(request, late).await?;
                Box::pin(container.checkpoint(&self.shared, request, late)).await.map(empty)
            }
            "Kill" => Box::pin(self.kill(request, late)).await.map(empty),
            "Exec" => self.exec(request, late).await.map(empty),
            "ResizePty" => self.resize(request, late).await.map(empty),
            "CloseIO" => self.close_io(request, late).await.map(empty),
            "Update" => Box::pin(self.container(request, late).await?.update(request, late)).await.map(empty),
            "Wait" => self.wait(request, &call).await,
            "Stats" => self.container(request, late).await?.stats(),
            "Connect" => Ok(self.connect(request)?),
            "Shutdown" => Ok(self.shutdown()),
            method => Err(Fault::new(Code::Unimplemented, format!("method {method}"))),
        }
    }

    async fn create(self: &Rc<Self>, request: Message<'_>, late: &Event<()>) -> Answer<Vec<u8>> {
        let id = request.text(1)?;
        let _reserved = self.reserve(id, late).await?;
        let container = Container::create(&self.shared, request, late).await?;
        self.containers.borrow_mut().insert(id.to_owned(), Rc::clone(&container));
        let init = &container.init;
        Ok(answer(|writer| {
            writer.number(1, init.number());
        }))
    }

    async fn start(self: &Rc<Self>, request: Message<'_>, late: &Event<()>) -> Answer<Vec<u8>> {
        let (container, process) = self.process(request, late).await?;
        if Rc::ptr_eq(&process, &container.init) {
            container.start(&self.shared, late).await?;
        } else {
            container.start_exec(&self.shared, &process, late).await?;
        }
        Ok(answer(|writer| {
            writer.number(1, process.number());
        }))
    }

    async fn delete(self: &Rc<Self>, request: Message<'_>, late: &Event<()>) -> Answer<Vec<u8>> {
        let (container, process) = self.process(request, late).await?;
        let ended = if Rc::ptr_eq(&process, &container.init) {
            container.delete(&self.shared, late).await?;
            // Not by its id, which another may have by now.
            self.containers.borrow_mut().retain(|_, other| !Rc::ptr_eq(other, &container));
            process.end()
        } else {
            container.delete_exec(&process, late).await?
        };
        Ok(answer(|writer| {
            writer.number(1, process.number()).number(2, ended.status);
            events::moment(writer, 3, ended.at);
        }))
    }

    async fn state(&self, request: Message<'_>, late: &Event<()>) -> Answer<Vec<u8>> {
        let (container, process) = self.process(request, late).await?;
        let state = match container.init.state.get() {
            paused @ (State::Paused | State::Pausing) => paused,
            _ => process.state.get(),
        };
        let (paths, ended) = (&process.paths, process.end());
        Ok(answer(|writer| {
            writer.text(1, &process.id).text(2, &container.bundle().to_string_lossy());
            writer.number(3, process.number()).number(4, state.status());
            writer.text(5, &paths.stdin).text(6, &paths.stdout).text(7, &paths.stderr).number(8, paths.terminal);
            writer.number(9, ended.status);
            events::moment(writer, 10, ended.at);
        }))
    }

    async fn kill(&self, request: Message<'_>, late: &Event<()>) -> Answer<()> {
        let (container, process) = self.process(request, late).await?;
        let (signal, whom) = (request.number32(3)?, if request.flag(4)? { Whom::All } else { Whom::First });
        if Rc::ptr_eq(&process, &container.init) {
            return container.kill(signal, whom, late).await;
        }
        match (process.pid.get(), process.ended.get()) {
            (0, _) => Err(Fault::new(Code::FailedPrecondition, "process not created")),
            (_, Some(_)) => Err(Fault::not_found("process already finished")),
            // The process has not been reaped, so the number is still its own.
            (pid, None) => Ok(os::kill(pid, signal.cast_signed()).map_err(Fault::doing("exec kill error"))?),
        }
    }

    async fn exec(&self, request: Message<'_>, late: &Event<()>) -> Answer<()> {
        let container = self.container(request, late).await?;
        identifier(request.text(2)?)?;
        container.add_exec(request)?;
        self.shared.publisher.publish(events::exec_added(&container.id, request.text(2)?));
        Ok(())
    }

    async fn resize(&self, request: Message<'_>, late: &Event<()>) -> Answer<()> {
        let (_, process) = self.process(request, late).await?;
        let side = |field| Ok::<u16, Fault>(u16::try_from(request.number32(field)?).unwrap_or(u16::MAX));
        process.streams.borrow().resize(side(4)?, side(3)?)
    }

    async fn close_io(&self, request: Message<'_>, late: &Event<()>) -> Answer<()> {
        let (_, process) = self.process(request, late).await?;
        process.streams.borrow_mut().close_stdin();
        Ok(())
    }

    async fn wait(&self, request: Message<'_>, call: &Call) -> Answer<Vec<u8>> {
        let (_, process) = self.process(request, &call.late).await?;
        let waits = reactor::unless(&call.late, process.ended.wait());
        let ended = reactor::unless(&call.client.gone, waits).await.flatten().ok_or_else(Fault::late)?;
        Ok(answer(|writer| {
            writer.number(1, ended.status);
            events::moment(writer, 2, ended.at);
        }))
    }

    fn connect(&self, request: Message<'_>) -> Answer<Vec<u8>> {
        let containers = self.containers.borrow();
        let pid = containers.get(request.text(1)?).map_or(0, |container| container.init.number());
        Ok(answer(|writer| {
            writer.number(1, os::getpid().cast_unsigned()).number(2, pid).text(3, env!("CARGO_PKG_VERSION"));
        }))
    }

    /// Ends the shim, unless it still has containers when what is being done to them is done: containerd asks once, also after a `Create` or
    /// a `Delete` that it gave up.
    fn shutdown(self: &Rc<Self>) -> Vec<u8> {
        let shim = Rc::clone(self);
        reactor::spawn(async move {
            let creation = || shim.creating.borrow().values().next().cloned();
            while let Some(done) = creation() {
                done.wait().await;
            }
            let containers: Vec<_> = shim.containers.borrow().values().cloned().collect();
            for container in containers {
                drop(container.init.gate.enter().await);
            }
            if shim.is_empty() {
                shim.shared.publisher.drain().await;
            }
            // Another of the group may have come meanwhile.
            if shim.is_empty() {
                reactor::stop();
            }
        });
        Vec::new()
    }

    fn is_empty(&self) -> bool {
        self.containers.borrow().is_empty() && self.creating.borrow().is_empty()
    }
}
