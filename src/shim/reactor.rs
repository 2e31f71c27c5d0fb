//! One thread, one epoll: every activity is a future, woken by a descriptor, a time, or another future.
//!
//! There is no waker: whoever waits leaves the number of its task where it waits, and is polled again when that number is
//! called. A call too many is harmless, since every wait looks again at what it waits for.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{Future, poll_fn};
use std::os::fd::BorrowedFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// The number of a task; never used twice.
pub type Task = u64;

/// Something can be read, or the other side is gone.
pub const IN: EpollFlags = EpollFlags::EPOLLIN;
/// Something can be written.
pub const OUT: EpollFlags = EpollFlags::EPOLLOUT;

type Work = Pin<Box<dyn Future<Output = ()>>>;
/// When, a number of its own, and who is called.
type Timer = (Instant, u64, Task);

struct Reactor {
    epoll: RefCell<Option<Epoll>>,
    tasks: RefCell<BTreeMap<Task, Work>>,
    called: RefCell<VecDeque<Task>>,
    timers: RefCell<BTreeSet<Timer>>,
    /// Tasks that wait for the next turn.
    turning: RefCell<BTreeSet<Task>>,
    current: Cell<Task>,
    next: Cell<u64>,
    stopped: Cell<bool>,
}

thread_local! {
    static REACTOR: Reactor = const {
        Reactor {
            epoll: RefCell::new(None),
            tasks: RefCell::new(BTreeMap::new()),
            called: RefCell::new(VecDeque::new()),
            timers: RefCell::new(BTreeSet::new()),
            turning: RefCell::new(BTreeSet::new()),
            current: Cell::new(0),
            next: Cell::new(1),
            stopped: Cell::new(false),
        }
    };
}

/// Starts a task.
pub fn spawn(work: impl Future<Output = ()> + 'static) -> Task {
    REACTOR.with(|reactor| {
        let task = reactor.number();
        reactor.tasks.borrow_mut().insert(task, Box::pin(work));
        reactor.called.borrow_mut().push_back(task);
        task
    })
}

/// Has a task polled again.
pub fn call(task: Task) {
    REACTOR.with(|reactor| reactor.called.borrow_mut().push_back(task));
}

/// Ends a task where it waits: what it owns is dropped. A task must not end itself this way.
pub fn cancel(task: Task) {
    let work = REACTOR.with(|reactor| reactor.tasks.borrow_mut().remove(&task));
    drop(work);
}

/// The task that runs now.
pub fn current() -> Task {
    REACTOR.with(|reactor| reactor.current.get())
}

/// Ends [`run`].
pub fn stop() {
    REACTOR.with(|reactor| reactor.stopped.set(true));
}

/// Runs the tasks until [`stop`].
pub fn run() -> Result<(), Errno> {
    let mut events = [EpollEvent::empty(); 16];
    REACTOR.with(|reactor| {
        loop {
            reactor.poll_called();
            if reactor.stopped.get() {
                return Ok(());
            }
            let count = match reactor.wait(&mut events) {
                Err(Errno::EINTR) => 0,
                result => result?,
            };
            reactor.called.borrow_mut().extend(events.iter().take(count).map(EpollEvent::data));
            reactor.call_expired();
            reactor.called.borrow_mut().extend(reactor.turning.take());
        }
    })
}

impl Reactor {
    /// A number that was never given before.
    fn number(&self) -> u64 {
        let number = self.next.get();
        self.next.set(number + 1);
        number
    }

    fn poll_called(&self) {
        let mut context = Context::from_waker(Waker::noop());
        while !self.stopped.get() {
            let Some(task) = self.called.borrow_mut().pop_front() else { return };
            // Taken out while it runs, so that it may start and cancel others.
            let Some(mut work) = self.tasks.borrow_mut().remove(&task) else { continue };
            self.current.set(task);
            if work.as_mut().poll(&mut context).is_pending() {
                self.tasks.borrow_mut().insert(task, work);
            }
        }
    }

    fn wait(&self, events: &mut [EpollEvent]) -> Result<usize, Errno> {
        let timeout = match self.timers.borrow().first() {
            None => EpollTimeout::NONE,
            Some((at, ..)) => {
                // Rounded up: waking just before the time would spin.
                let left = at.saturating_duration_since(Instant::now()) + Duration::from_micros(999);
                EpollTimeout::try_from(left).unwrap_or(EpollTimeout::MAX)
            }
        };
        self.with_epoll(|epoll| epoll.wait(events, timeout))
    }

    fn call_expired(&self) {
        let mut timers = self.timers.borrow_mut();
        if timers.is_empty() {
            return;
        }
        let now = Instant::now();
        while timers.first().is_some_and(|(at, ..)| *at <= now) {
            if let Some((.., task)) = timers.pop_first() {
                self.called.borrow_mut().push_back(task);
            }
        }
    }

    fn with_epoll<T>(&self, act: impl FnOnce(&Epoll) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut epoll = self.epoll.borrow_mut();
        if epoll.is_none() {
            *epoll = Some(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        }
        epoll.as_ref().map_or(Err(Errno::EBADF), act)
    }

    fn arm(&self, fd: BorrowedFd<'_>, flags: EpollFlags) -> Result<(), Errno> {
        let mut event = EpollEvent::new(flags | EpollFlags::EPOLLONESHOT, self.current.get());
        self.with_epoll(|epoll| match epoll.modify(fd, &mut event) {
            Err(Errno::ENOENT) => epoll.add(fd, event),
            result => result,
        })
    }
}

/// Waits until the descriptor is ready, or something else calls this task. Only one task may wait for a descriptor number.
pub async fn ready(fd: BorrowedFd<'_>, flags: EpollFlags) -> Result<(), Errno> {
    match REACTOR.with(|reactor| reactor.arm(fd, flags)) {
        // A regular file is always ready (epoll_ctl(2)).
        Err(Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno),
        Ok(()) => {
            once_called().await;
            Ok(())
        }
    }
}

/// Waits for the next call of this task.
pub async fn once_called() {
    let mut first = true;
    poll_fn(move |_| if std::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) }).await;
}

/// What `work` makes, or `None` when it takes longer than `limit`.
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let at = Instant::now() + limit;
    let _timer = Armed::new(at);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if Instant::now() >= at => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// A timer that is set: until nobody waits any more, be it that the time has come or that the wait was given up.
struct Armed(Timer);

impl Armed {
    fn new(at: Instant) -> Armed {
        REACTOR.with(|reactor| {
            let timer = (at, reactor.number(), reactor.current.get());
            reactor.timers.borrow_mut().insert(timer);
            Armed(timer)
        })
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        REACTOR.with(|reactor| reactor.timers.borrow_mut().remove(&self.0));
    }
}

/// What `work` makes. Where it takes longer than `limit` it is told so, and is to end by itself.
pub async fn told<T>(limit: Duration, late: impl FnOnce(), work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    match within(limit, work.as_mut()).await {
        Some(value) => value,
        None => {
            late();
            work.await
        }
    }
}

/// Waits until something has happened to this process: a task may have given back what another needs.
pub async fn turn() {
    REACTOR.with(|reactor| reactor.turning.borrow_mut().insert(current()));
    once_called().await;
}

/// What `work` makes, or `None` when the event comes first.
pub async fn unless<T, E: Copy>(event: &Event<E>, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut comes) = (pin!(work), pin!(event.wait()));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => comes.as_mut().poll(context).map(|_| None),
    })
    .await
}

/// Waits for a time.
pub async fn sleep(time: Duration) {
    // Never ready: only the time ends it.
    within(time, poll_fn(|_| Poll::<()>::Pending)).await;
}

/// A value that is set once and that any number of tasks wait for.
#[derive(Debug)]
pub struct Event<T>(Rc<RefCell<EventState<T>>>);

#[derive(Debug)]
struct EventState<T> {
    value: Option<T>,
    waiting: BTreeSet<Task>,
}

impl<T> Clone for Event<T> {
    fn clone(&self) -> Self {
        Event(Rc::clone(&self.0))
    }
}

impl<T: Copy> Event<T> {
    pub fn new() -> Event<T> {
        Event(Rc::new(RefCell::new(EventState { value: None, waiting: BTreeSet::new() })))
    }

    /// Sets it, unless it is set.
    pub fn set(&self, value: T) {
        let mut state = self.0.borrow_mut();
        if state.value.is_none() {
            state.value = Some(value);
            for task in std::mem::take(&mut state.waiting) {
                call(task);
            }
        }
    }

    /// Takes the value away: the event is to come once more.
    pub fn clear(&self) {
        self.0.borrow_mut().value = None;
    }

    pub fn get(&self) -> Option<T> {
        self.0.borrow().value
    }

    pub async fn wait(&self) -> T {
        let waiter = Waiter { event: self, task: current() };
        poll_fn(|_| {
            let mut state = self.0.borrow_mut();
            if let Some(value) = state.value {
                return Poll::Ready(value);
            }
            state.waiting.insert(waiter.task);
            Poll::Pending
        })
        .await
    }
}

/// A task that waits for an event, until it no longer does: its client may go, or its time be over.
struct Waiter<'a, T> {
    event: &'a Event<T>,
    task: Task,
}

impl<T> Drop for Waiter<'_, T> {
    fn drop(&mut self) {
        self.event.0.borrow_mut().waiting.remove(&self.task);
    }
}

/// A lock for one task at a time, first come first served.
#[derive(Clone, Debug, Default)]
pub struct Gate(Rc<RefCell<GateState>>);

#[derive(Debug, Default)]
struct GateState {
    closed: bool,
    /// By their numbers, of which the first has its turn.
    waiting: BTreeMap<u64, Task>,
}

/// The gate is closed while this lives.
#[derive(Debug)]
pub struct Guard(Gate);

impl Gate {
    pub async fn enter(&self) -> Guard {
        let ticket = Ticket { gate: self, number: REACTOR.with(Reactor::number) };
        self.0.borrow_mut().waiting.insert(ticket.number, current());
        poll_fn(|_| {
            let mut state = self.0.borrow_mut();
            let turn = state.waiting.first_key_value().is_some_and(|(first, _)| *first == ticket.number);
            if state.closed || !turn {
                return Poll::Pending;
            }
            state.closed = true;
            Poll::Ready(Guard(self.clone()))
        })
        .await
    }

    /// Calls whose turn it is.
    fn call_first(&self) {
        let state = self.0.borrow();
        if let Some(first) = state.waiting.values().next().filter(|_| !state.closed) {
            call(*first);
        }
    }
}

/// A place among those who wait at a gate, until it is entered or the wait given up.
struct Ticket<'a> {
    gate: &'a Gate,
    number: u64,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.gate.0.borrow_mut().waiting.remove(&self.number);
        self.gate.call_first();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.borrow_mut().closed = false;
        self.0.call_first();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::os::fd::AsFd;
    use std::rc::Rc;
    use std::time::{Duration, Instant};

    use super::{Event, Gate, IN, REACTOR, cancel, ready, run, sleep, spawn, stop, unless, within};

    #[test]
    fn tasks_wait_for_descriptors_times_and_each_other() {
        let (reader, writer) = std::io::pipe().unwrap();
        let said = Rc::new(RefCell::new(Vec::new()));
        let event: Event<i32> = Event::new();
        let (first, second) = (Rc::clone(&said), Rc::clone(&said));
        let (to_set, to_wait) = (event.clone(), event);
        spawn(async move {
            ready(reader.as_fd(), IN).await.unwrap();
            first.borrow_mut().push("read");
            to_set.set(7);
        });
        spawn(async move {
            let began = Instant::now();
            sleep(Duration::from_millis(5)).await;
            assert!(began.elapsed() >= Duration::from_millis(5));
            nix::unistd::write(&writer, b"x").unwrap();
            assert_eq!(to_wait.wait().await, 7);
            second.borrow_mut().push("told");
            assert_eq!(within(Duration::from_millis(1), sleep(Duration::from_secs(60))).await, None);
            stop();
        });
        run().unwrap();
        assert_eq!(*said.borrow(), ["read", "told"]);
    }

    #[test]
    fn a_gate_lets_one_in_at_a_time_in_the_order_they_came() {
        let gate = Gate::default();
        let said = Rc::new(RefCell::new(Vec::new()));
        for number in 0..3 {
            let (gate, said) = (gate.clone(), Rc::clone(&said));
            spawn(async move {
                let guard = gate.enter().await;
                said.borrow_mut().push((number, "in"));
                sleep(Duration::from_millis(2)).await;
                said.borrow_mut().push((number, "out"));
                drop(guard);
                if number == 2 {
                    stop();
                }
            });
        }
        run().unwrap();
        let wanted = [(0, "in"), (0, "out"), (1, "in"), (1, "out"), (2, "in"), (2, "out")];
        assert_eq!(*said.borrow(), wanted);
    }

    /// A request whose time is over waits no longer, be it first or in the middle.
    #[test]
    fn who_no_longer_waits_keeps_nobody_from_a_gate() {
        let gate = Gate::default();
        let said = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..4)
            .map(|number| {
                let (gate, said) = (gate.clone(), Rc::clone(&said));
                spawn(async move {
                    let _guard = gate.enter().await;
                    said.borrow_mut().push(number);
                    sleep(Duration::from_millis(if number == 0 { 10 } else { 0 })).await;
                })
            })
            .collect();
        spawn(async move {
            sleep(Duration::from_millis(2)).await;
            cancel(tasks[1]);
            cancel(tasks[0]);
            cancel(tasks[2]);
            assert!(within(Duration::from_secs(5), gate.enter()).await.is_some(), "the gate stays closed");
            stop();
        });
        run().unwrap();
        assert_eq!(*said.borrow(), [0, 3]);
    }

    #[test]
    fn a_wait_that_is_given_up_leaves_no_timer() {
        spawn(async {
            let (goes, comes) = (Event::new(), Event::<()>::new());
            goes.set(());
            assert_eq!(unless(&goes, within(Duration::from_secs(1000), comes.wait())).await, None);
            REACTOR.with(|reactor| assert!(reactor.timers.borrow().is_empty(), "a timer is left"));
            stop();
        });
        run().unwrap();
    }

    /// 40,000 took half a second, in which nothing else was done.
    #[test]
    fn many_waits_end_in_no_time() {
        let (gone, ended) = (Event::<()>::new(), Event::<()>::new());
        for _ in 0..50_000 {
            let (gone, ended) = (gone.clone(), ended.clone());
            spawn(async move { assert_eq!(unless(&gone, ended.wait()).await, None) });
        }
        spawn(async move {
            let began = Instant::now();
            gone.set(());
            sleep(Duration::from_millis(0)).await;
            assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
            stop();
        });
        run().unwrap();
    }
}
