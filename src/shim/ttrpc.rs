//! The frames of ttrpc (its PROTOCOL.md), and the server's side of a connection. Only unary requests: the task API has no other.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::EpollFlags;

use super::fault::{Answer, Code, Fault};
use super::os;
use super::os::poll::PollFlags;
use super::protobuf::{Malformed, Message, Writer};
use super::reactor::{self, Event, IN, OUT, Task};

/// Bytes of a frame's header: length, stream, type, flags.
pub const HEADER: usize = 10;
/// The protocol's limit of a message.
pub const MAX_MESSAGE: usize = 4 << 20;
/// Bytes that a client may leave with us: answers that it does not take, requests that are worked on. Two of the largest, so that one alone
/// keeps no other waiting.
const OWED: usize = 2 * MAX_MESSAGE;
/// Requests of a client that are worked on at once: many, for containerd leaves a `Wait` for every process.
const REQUESTS: usize = 1 << 16;
/// What is read at once.
const CHUNK: usize = 4096;
pub const REQUEST: u8 = 1;
pub const RESPONSE: u8 = 2;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub length: usize,
    pub stream: u32,
    pub kind: u8,
}

impl Header {
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let (header, _) = bytes.split_first_chunk::<HEADER>()?;
        let [a, b, c, d, e, f, g, h, kind, _flags] = *header;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        Some(Header { length, stream: u32::from_be_bytes([e, f, g, h]), kind })
    }
}

/// A frame around `message`.
pub fn frame(stream: u32, kind: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER + message.len());
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(&[kind, 0]);
    frame.extend_from_slice(message);
    frame
}

/// A request to a service.
#[derive(Debug)]
pub struct Call {
    pub service: String,
    pub method: String,
    pub payload: Vec<u8>,
    /// How long the client waits, if not for ever.
    timeout: Option<Duration>,
    /// That is over: what the request waits for is given up, and the runtime that it has called is killed.
    pub late: Event<()>,
    pub client: Rc<Connection>,
}

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// Frames that have not been taken, of the first of which a part may have been.
    output: RefCell<VecDeque<Vec<u8>>>,
    /// Requests that are worked on.
    requests: Cell<usize>,
    /// Bytes of those, and of the output.
    owed: Cell<usize>,
    /// Nothing is read until less is owed.
    full: Cell<bool>,
    /// The connection's task has been called: once, or it would read on before what it has begun is answered.
    called: Cell<bool>,
    task: Task,
    /// The client has gone: nobody waits for answers.
    pub gone: Event<()>,
}

impl Connection {
    /// Serves the requests of one client until it goes.
    pub async fn serve<F, W>(socket: OwnedFd, handle: F)
    where
        F: Fn(Call) -> W + Clone + 'static,
        W: Future<Output = Answer<Vec<u8>>> + 'static,
    {
        let (task, gone) = (reactor::current(), Event::new());
        let connection = Rc::new(Connection {
            socket,
            output: RefCell::default(),
            requests: Cell::new(0),
            owed: Cell::new(0),
            full: Cell::new(false),
            called: Cell::new(false),
            task,
            gone,
        });
        if let Err(errno) = connection.turns(&handle).await
            && errno != Errno::ECONNRESET
            && errno != Errno::EPIPE
        {
            os::log("warning", &format!("a client's connection: {errno}"));
        }
        connection.gone.set(());
    }

    async fn turns<F, W>(self: &Rc<Self>, handle: &F) -> Result<(), Errno>
    where
        F: Fn(Call) -> W + Clone + 'static,
        W: Future<Output = Answer<Vec<u8>>> + 'static,
    {
        let mut input = Vec::new();
        let mut skip = 0;
        loop {
            match self.fill(&mut input) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(Errno::EAGAIN) => {}
                Err(errno) => return Err(errno),
            }
            while let Some(bytes) = take_frame(&mut input, &mut skip) {
                self.start(&bytes, handle);
                // The room of a large request is not for the life of the connection.
                input.shrink_to(CHUNK);
            }
            if let Some(header) = Header::read(&input) {
                // At once, instead of twice as much again and again: what that leaves stays with the heap.
                input.reserve_exact(HEADER + header.length - input.len());
            }
            // Others have their turn, however much there is to read.
            let flags = if self.flush()? { IN } else { IN | OUT };
            self.ready(flags).await?;
            self.less_is_owed().await?;
        }
    }

    async fn ready(&self, flags: EpollFlags) -> Result<(), Errno> {
        let ready = reactor::ready(self.socket.as_fd(), flags).await;
        self.called.set(false);
        ready
    }

    fn call_task(&self) {
        if !self.called.replace(true) {
            reactor::call(self.task);
        }
    }

    fn is_full(&self) -> bool {
        self.owed.get() > OWED || self.requests.get() >= REQUESTS
    }

    /// Waits while a client has too much with us that it does not take: what else it asks for stays with it.
    async fn less_is_owed(&self) -> Result<(), Errno> {
        loop {
            let flags = if self.flush()? { EpollFlags::empty() } else { OUT };
            // A client that reads as fast as we write has just taken what was too much: nothing would call us.
            if !self.is_full() {
                return Ok(());
            }
            self.full.set(true);
            self.ready(flags).await?;
            self.full.set(false);
            if os::look(self.socket.as_fd())?.contains(PollFlags::POLLHUP) {
                return Err(Errno::EPIPE);
            }
        }
    }

    fn fill(&self, input: &mut Vec<u8>) -> Result<usize, Errno> {
        let mut buffer = [0; CHUNK];
        let count = os::read(self.socket.as_fd(), &mut buffer)?;
        input.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    fn start<F, W>(self: &Rc<Self>, bytes: &[u8], handle: &F)
    where
        F: Fn(Call) -> W + Clone + 'static,
        W: Future<Output = Answer<Vec<u8>>> + 'static,
    {
        let Some(header) = Header::read(bytes) else { return };
        if header.length > MAX_MESSAGE {
            let text = format!("message length {} exceed maximum message size of {MAX_MESSAGE}", header.length);
            return self.answer(header.stream, Err(Fault::new(Code::ResourceExhausted, text)));
        }
        // Data belongs to streams, which nothing here opens.
        if header.kind != REQUEST {
            return;
        }
        let call = match self.request(&bytes[HEADER..]) {
            Ok(call) if call.timeout == Some(Duration::ZERO) => return self.answer(header.stream, Err(Fault::late())),
            Ok(call) => call,
            Err(malformed) => return self.answer(header.stream, Err(malformed.into())),
        };
        let (connection, timeout, late) = (Rc::clone(self), call.timeout, call.late.clone());
        // On the heap, once: what it is handed to has room for it each time.
        let work = Box::pin(handle(call));
        self.requests.update(|requests| requests + 1);
        self.owed.update(|owed| owed + header.length);
        reactor::spawn(async move {
            let answer = match timeout {
                None => work.await,
                Some(limit) => {
                    let too_late = || {
                        connection.answer(header.stream, Err(Fault::late()));
                        late.set(());
                    };
                    reactor::told(limit, too_late, work).await
                }
            };
            connection.requests.update(|requests| requests - 1);
            connection.owed.update(|owed| owed - header.length);
            if late.get().is_none() {
                connection.answer(header.stream, answer);
            }
            if connection.full.get() {
                connection.call_task();
            }
        });
    }

    fn request(self: &Rc<Self>, bytes: &[u8]) -> Result<Call, Malformed> {
        let request = Message::new(bytes)?;
        let payload = request.bytes(3)?.unwrap_or_default().to_vec();
        // A time that is over before it has come here is negative.
        let nanos = request.number(4)?;
        let timeout = (nanos != 0).then(|| Duration::from_nanos(nanos.cast_signed().max(0).cast_unsigned()));
        let (service, method) = (request.text(1)?.to_owned(), request.text(2)?.to_owned());
        Ok(Call { service, method, payload, timeout, late: Event::new(), client: Rc::clone(self) })
    }

    fn answer(&self, stream: u32, answer: Answer<Vec<u8>>) {
        // Answers of requests that were still being worked on go nowhere.
        if self.gone.get().is_some() {
            return;
        }
        let mut response = Writer::new();
        match &answer {
            Ok(payload) => {
                response.bytes(2, payload);
            }
            Err(fault) => {
                response.message(1, |status| {
                    status.number(1, fault.code as u32).text(2, &fault.message);
                });
            }
        }
        let bytes = frame(stream, RESPONSE, &response.done());
        self.owed.update(|owed| owed + bytes.len());
        self.output.borrow_mut().push_back(bytes);
        // What does not fit now is written when the client has read; an error is found by the connection's own task.
        if !matches!(self.flush(), Ok(true)) {
            self.call_task();
        }
    }

    /// Writes what can be written; whether that was all.
    fn flush(&self) -> Result<bool, Errno> {
        let mut output = self.output.borrow_mut();
        while let Some(first) = output.front_mut() {
            let count = match os::write(self.socket.as_fd(), first) {
                Err(Errno::EAGAIN) => return Ok(false),
                result => result?,
            };
            self.owed.update(|owed| owed - count);
            first.drain(..count);
            if first.is_empty() {
                output.pop_front();
            }
        }
        *output = VecDeque::new();
        Ok(true)
    }
}

/// The first whole frame. Of one that is too large only the header; the rest of it is passed over as it comes.
fn take_frame(input: &mut Vec<u8>, skip: &mut usize) -> Option<Vec<u8>> {
    let passed = input.len().min(*skip);
    input.drain(..passed);
    *skip -= passed;
    let header = Header::read(input)?;
    if header.length > MAX_MESSAGE {
        *skip = header.length;
        return Some(input.drain(..HEADER).collect());
    }
    let whole = HEADER + header.length;
    (input.len() >= whole).then(|| input.drain(..whole).collect())
}

#[cfg(test)]
mod tests {
    use super::{HEADER, Header, MAX_MESSAGE, REQUEST, frame, take_frame};

    #[test]
    fn frames_are_taken_whole_however_they_come() {
        let bytes = [frame(1, REQUEST, b"one"), frame(3, REQUEST, b""), frame(5, REQUEST, b"three")].concat();
        for step in 1..bytes.len() {
            let (mut input, mut skip, mut found) = (Vec::new(), 0, Vec::new());
            for part in bytes.chunks(step) {
                input.extend_from_slice(part);
                while let Some(frame) = take_frame(&mut input, &mut skip) {
                    found.push((Header::read(&frame).unwrap().stream, frame[HEADER..].to_vec()));
                }
            }
            assert_eq!(found, [(1, b"one".to_vec()), (3, Vec::new()), (5, b"three".to_vec())], "in steps of {step}");
            assert!(input.is_empty());
        }
    }

    #[test]
    fn a_frame_that_is_too_large_is_passed_over() {
        let length = MAX_MESSAGE + 1;
        let mut bytes = frame(7, REQUEST, &vec![0xff; length]);
        bytes.extend(frame(9, REQUEST, b"next"));
        let (mut input, mut skip, mut found) = (Vec::new(), 0, Vec::new());
        for part in bytes.chunks(65_536) {
            input.extend_from_slice(part);
            while let Some(frame) = take_frame(&mut input, &mut skip) {
                found.push((Header::read(&frame).unwrap(), frame.len()));
            }
            assert!(input.len() < 2 * 65_536);
        }
        let header = |stream, length| Header { length, stream, kind: REQUEST };
        assert_eq!(found, [(header(7, length), HEADER), (header(9, 4), HEADER + 4)]);
    }
}
