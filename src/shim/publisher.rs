//! Sends events to containerd, in the order they happened: the next one goes when containerd has answered the last.
//!
//! A containerd that restarts gets what it missed. The queue is bounded, since it may also never come back; ends are what it loses last.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};

use super::events::{self, Notice, moment};
use super::os::{self, Moment};
use super::protobuf::{Message, Writer};
use super::reactor::{self, IN, OUT, Task, within};
use super::ttrpc::{HEADER, Header, MAX_MESSAGE, REQUEST, RESPONSE, frame};

/// Events that wait at most, as in containerd's own shim.
const QUEUE: usize = 2048;
/// How long containerd may take for one.
const ANSWER: Duration = Duration::from_secs(5);
/// Between attempts to reach it: the first, and what the pause grows to.
const RETRY: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(2);

/// The events on their way to containerd.
#[derive(Debug)]
pub struct Publisher {
    address: String,
    namespace: String,
    queue: RefCell<VecDeque<(Vec<u8>, &'static str)>>,
    /// How many were dropped since containerd took one.
    lost: Cell<usize>,
    /// The task that sends them.
    task: Cell<Task>,
    /// Tasks that wait until there are none.
    drained: RefCell<Vec<Task>>,
}

impl Publisher {
    /// `address` is the path of containerd's ttrpc socket; without one there is nobody to tell.
    pub fn start(address: &str, namespace: &str) -> Rc<Publisher> {
        let publisher = Rc::new(Publisher {
            address: address.strip_prefix("unix://").unwrap_or(address).to_owned(),
            namespace: namespace.to_owned(),
            queue: RefCell::default(),
            lost: Cell::new(0),
            task: Cell::new(0),
            drained: RefCell::default(),
        });
        let sender = Rc::clone(&publisher);
        publisher.task.set(reactor::spawn(async move { sender.run().await }));
        publisher
    }

    pub fn publish(&self, event: Notice) {
        if self.address.is_empty() {
            return;
        }
        let mut envelope = Writer::new();
        envelope.message(1, |envelope| {
            moment(envelope, 1, Moment::now());
            envelope.text(2, &self.namespace).text(3, event.topic);
            envelope.message(4, |any| {
                any.text(1, event.kind).bytes(2, &event.message);
            });
        });
        let mut queue = self.queue.borrow_mut();
        if queue.len() == QUEUE {
            // The oldest goes, but for the first, which may be on its way. An end is for the last: somebody may wait for it for ever.
            let least = queue.iter().skip(1).position(|(_, topic)| *topic != events::EXIT).unwrap_or(0);
            queue.remove(1 + least);
            if self.lost.replace(self.lost.get() + 1) == 0 {
                os::log("error", &format!("containerd takes no events: of more than {QUEUE} that wait some are lost"));
            }
        }
        queue.push_back((envelope.done(), event.topic));
        reactor::call(self.task.get());
    }

    /// Gives containerd a moment to take the last events.
    pub async fn drain(&self) {
        const PATIENCE: Duration = Duration::from_secs(3);
        if within(PATIENCE, self.drained()).await.is_none() {
            os::log("warning", "the last events are lost: containerd does not take them");
        }
    }

    /// Waits until containerd has everything.
    async fn drained(&self) {
        while !self.queue.borrow().is_empty() {
            self.drained.borrow_mut().push(reactor::current());
            reactor::once_called().await;
        }
    }

    async fn run(&self) {
        let mut link: Option<Link> = None;
        let mut pause = RETRY;
        loop {
            let Some((request, topic)) = self.queue.borrow().front().cloned() else {
                self.drained.take().into_iter().for_each(reactor::call);
                reactor::once_called().await;
                continue;
            };
            match self.send(&mut link, &request).await {
                Ok(refusal) => {
                    if let Some(text) = refusal {
                        os::log("error", &format!("containerd refused an event of {topic}: {text}"));
                    }
                    self.queue.borrow_mut().pop_front();
                    pause = RETRY;
                    let lost = self.lost.take();
                    if lost > 0 {
                        os::log("error", &format!("containerd takes events again: {lost} were lost"));
                    }
                }
                Err(errno) => {
                    // The first failure on a connection that has been good is containerd's restart: try at once.
                    if link.take().is_none_or(|link| link.stream <= 1) {
                        // Once: the log holds little while containerd, who reads it, is away.
                        if pause == RETRY {
                            os::log("warning", &format!("an event of {topic} cannot be sent: {errno}"));
                        }
                        reactor::sleep(pause).await;
                        pause = (pause * 2).min(RETRY_MOST);
                    }
                }
            }
        }
    }

    /// Sends one and waits for the answer: the text of a refusal, if it is one.
    async fn send(&self, link: &mut Option<Link>, envelope: &[u8]) -> Result<Option<String>, Errno> {
        let link = match link {
            Some(link) => link,
            None => link.insert(Link { socket: connect(&self.address)?, stream: 1 }),
        };
        let mut request = Writer::new();
        request.text(1, "containerd.services.events.ttrpc.v1.Events").text(2, "Forward").bytes(3, envelope);
        request.number(4, ANSWER.as_nanos() as u64);
        request.message(5, |pair| {
            pair.text(1, "containerd-namespace-ttrpc").text(2, &self.namespace);
        });
        within(ANSWER, link.ask(&request.done())).await.unwrap_or(Err(Errno::ETIMEDOUT))
    }
}

/// A connection to containerd.
struct Link {
    socket: OwnedFd,
    /// The next request's stream: odd for a client's.
    stream: u32,
}

impl Link {
    async fn ask(&mut self, request: &[u8]) -> Result<Option<String>, Errno> {
        let bytes = frame(self.stream, REQUEST, request);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match os::write(self.socket.as_fd(), rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::EAGAIN) => reactor::ready(self.socket.as_fd(), OUT).await?,
                Err(errno) => return Err(errno),
            }
        }
        loop {
            let header = self.read(HEADER).await?;
            let header = Header::read(&header).ok_or(Errno::EBADMSG)?;
            if header.length > MAX_MESSAGE {
                return Err(Errno::EMSGSIZE);
            }
            let message = self.read(header.length).await?;
            if header.kind == RESPONSE && header.stream == self.stream {
                self.stream = self.stream.checked_add(2).ok_or(Errno::EOVERFLOW)?;
                return refusal(&message);
            }
        }
    }

    async fn read(&self, length: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match os::read(self.socket.as_fd(), &mut bytes[filled..]) {
                Ok(0) => return Err(Errno::ECONNRESET),
                Ok(count) => filled += count,
                Err(Errno::EAGAIN) => reactor::ready(self.socket.as_fd(), IN).await?,
                Err(errno) => return Err(errno),
            }
        }
        Ok(bytes)
    }
}

fn refusal(response: &[u8]) -> Result<Option<String>, Errno> {
    let response = Message::new(response).map_err(|_| Errno::EBADMSG)?;
    let Some(status) = response.message(1).map_err(|_| Errno::EBADMSG)? else { return Ok(None) };
    let code = status.number(1).map_err(|_| Errno::EBADMSG)?;
    let text = status.text(2).map_err(|_| Errno::EBADMSG)?;
    Ok((code != 0).then(|| text.to_owned()))
}

/// Connects to a Unix socket; neither this nor what follows waits.
pub fn connect(path: &str) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}
