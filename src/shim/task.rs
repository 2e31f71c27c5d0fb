//! A container: what each request does to it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::bundle::{Bundle, read_pid, shares_pids};
use super::cgroups::Cgroups;
use super::events::{self, Created};
use super::fault::{Answer, Code, Fault};
use super::oom::Watch;
use super::options::{Options, kind_of};
use super::os;
use super::process::{self, Process, State};
use super::protobuf::{Message, Writer, answer};
use super::reactor::{self, Event, Task};
use super::reaper::{Ended, Maker};
use super::runtime::{CommandStreams, Runtime, Whom};
use super::shared::Shared;
use super::stdio::{Paths, Prepared};
use super::{metrics, reaper, rootfs, runtime};

/// A container of this shim.
#[derive(Debug)]
pub struct Container {
    pub id: String,
    bundle: Bundle,
    pub init: Rc<Process>,
    runtime: Runtime,
    options: Options,
    execs: RefCell<BTreeMap<String, Rc<Process>>>,
    /// Added processes that run or are being started: the container's end is told after theirs.
    running: Cell<usize>,
    /// The first process has ended: no more are added.
    over: Event<()>,
    /// Tasks that wait for `running` to change.
    waiting: RefCell<Vec<Task>>,
    /// Its processes are not in a pid namespace of their own, and do not end with the first.
    shares_pids: bool,
    cgroups: RefCell<Cgroups>,
    oom: RefCell<Option<Watch>>,
    checkpoint: String,
    parent_checkpoint: String,
}

/// Bytes of what a container's added processes are to run, which a client may leave with us.
const SPECS: usize = 16 << 20;

fn paths(request: Message<'_>, first: u64) -> Answer<Paths> {
    let text = |field| request.text(field).map(str::to_owned);
    Ok(Paths {
        terminal: request.flag(first)?,
        stdin: text(first + 1)?,
        stdout: text(first + 2)?,
        stderr: text(first + 3)?,
    })
}

impl Container {
    /// Creates it. Nothing else runs before the caller has it among the shim's.
    pub async fn create(shim: &Rc<Shared>, request: Message<'_>, late: &Event<()>) -> Answer<Rc<Container>> {
        let (id, bundle) = (request.text(1)?, Bundle::of(request)?);
        let options = Options::from_any(request.message(10)?)?;
        options.save(&bundle.path)?;
        let checkpoint = request.text(8)?.to_owned();
        let state = if checkpoint.is_empty() { State::Created } else { State::Checkpointed };
        let container = Rc::new(Container {
            id: id.to_owned(),
            init: Rc::new(Process::new(id, paths(request, 4)?, state)),
            runtime: Runtime::new(&options, &shim.runtime, &bundle.path, &shim.namespace),
            shares_pids: shares_pids(&bundle.path),
            bundle,
            options,
            execs: RefCell::default(),
            running: Cell::new(0),
            over: Event::new(),
            waiting: RefCell::default(),
            cgroups: RefCell::default(),
            oom: RefCell::default(),
            checkpoint,
            parent_checkpoint: request.text(9)?.to_owned(),
        });
        let mounts = request.all(3)?;
        rootfs::make(container.bundle(), &mounts, late).await?;
        let gate = container.init.gate.enter().await;
        if let Err(fault) = container.make(shim, late).await {
            if !mounts.is_empty() {
                container.clear_rootfs();
            }
            return Err(fault);
        }
        let paths = &container.init.paths;
        shim.publisher.publish(events::create(&Created {
            id,
            bundle: request.text(2)?,
            rootfs: &mounts,
            stdin: &paths.stdin,
            stdout: &paths.stdout,
            stderr: &paths.stderr,
            terminal: paths.terminal,
            checkpoint: &container.checkpoint,
            pid: container.init.number(),
        }));
        drop(gate);
        Ok(container)
    }

    pub fn bundle(&self) -> &Path {
        &self.bundle.path
    }

    async fn make(self: &Rc<Self>, shim: &Rc<Shared>, late: &Event<()>) -> Answer<()> {
        if self.init.state.get() == State::Checkpointed {
            return late.get().map_or(Ok(()), |()| Err(Fault::late()));
        }
        let mut words = vec![OsStr::new("create")];
        if self.options.no_new_keyring {
            words.push("--no-new-keyring".as_ref());
        }
        self.have_made(shim, words, late).await
    }

    /// Has the runtime make the first process, and takes it over. What it has made is deleted where that or it fails, or is killed; but
    /// not what was there before.
    async fn have_made(self: &Rc<Self>, shim: &Rc<Shared>, mut words: Vec<&OsStr>, late: &Event<()>) -> Answer<()> {
        let prepare = self.init.paths.prepare(&self.options, shim.place(&self.id));
        let (prepared, streams) = self.while_it_lives(late, prepare).await?;
        let what = format!("OCI runtime {} failed", words[0].display());
        let pid_file = self.bundle().join("init.pid");
        words.extend(["--bundle".as_ref(), self.bundle().as_os_str(), "--pid-file".as_ref(), pid_file.as_os_str()]);
        let socket = prepared.console_socket().map(Path::to_owned);
        if let Some(socket) = &socket {
            words.extend(["--console-socket".as_ref(), socket.as_os_str()]);
        }
        if self.options.no_pivot_root {
            words.push("--no-pivot".as_ref());
        }
        words.push(self.id.as_ref());
        let (maker, was_there) = (Maker::new(), self.runtime.has(&self.id));
        let made = match self.runtime.run(&words, streams, late).await {
            Ok(_) => self.take_over(shim, &maker, &self.init, prepared, &pid_file, late).await,
            Err(failure) => Err(self.runtime.fault(&what, &failure)),
        };
        if made.is_err()
            && !was_there
            && self.runtime.has(&self.id)
            && let Err(failure) = self.runtime.tidy(&["delete", "--force", &self.id]).await
        {
            os::log("warning", &self.runtime.fault("delete what was made", &failure).message);
        }
        made
    }

    /// The runtime has made a process: its streams, its number, and the task that waits for its end.
    async fn take_over(
        self: &Rc<Self>,
        shim: &Rc<Shared>,
        maker: &Maker,
        process: &Rc<Process>,
        prepared: Prepared,
        pid_file: &Path,
        late: &Event<()>,
    ) -> Answer<()> {
        let pid = read_pid(pid_file)?;
        let ended = maker.end_of(pid).map_err(Fault::doing(format_args!("process {pid} is not the shim's")))?;
        match self.while_it_lives(late, prepared.attach(&process.paths, shim.place(&self.id))).await {
            Ok(streams) => *process.streams.borrow_mut() = streams,
            Err(fault) => {
                // Nobody would see what it does, nor be able to end it.
                reaper::kill(pid, &ended);
                return Err(fault);
            }
        }
        process.pid.set(pid);
        if Rc::ptr_eq(process, &self.init) {
            self.watch_memory(shim);
        }
        let (shim, container, process) = (Rc::clone(shim), Rc::clone(self), Rc::clone(process));
        reactor::spawn(async move {
            let ended = ended.wait().await;
            container.process_ended(&shim, &process, ended).await;
        });
        Ok(())
    }

    fn watch_memory(&self, shim: &Shared) {
        // A process that has already ended has no cgroup to look at.
        let Ok(cgroups) = Cgroups::of(self.init.number()) else { return };
        match shim.oom.watch(&self.id, &cgroups) {
            Ok(watch) => *self.oom.borrow_mut() = watch,
            Err(errno) => os::log("warning", &format!("OOM kills of {} are not noticed: {errno}", self.id)),
        }
        *self.cgroups.borrow_mut() = cgroups;
    }

    async fn kill_the_rest(&self) {
        let late = Event::new();
        let kill = self.runtime.kill(&self.id, libc::SIGKILL.cast_unsigned(), Whom::All, &late);
        if let Err(fault) = reactor::told(runtime::PATIENCE, || late.set(()), kill).await
            && fault.code != Code::NotFound
        {
            os::log("error", &format!("failed to kill the processes of {}: {}", self.id, fault.message));
        }
    }

    /// A process has ended: its end is told when the answer to its start has been given, and the first process's last.
    async fn process_ended(&self, shim: &Shared, process: &Rc<Process>, ended: Ended) {
        let first = Rc::ptr_eq(process, &self.init);
        if first {
            self.over.set(());
            if self.shares_pids {
                self.kill_the_rest().await;
            }
            while self.running.get() > 0 {
                self.waiting.borrow_mut().push(reactor::current());
                reactor::once_called().await;
            }
        }
        let gate = process.gate.enter().await;
        let paused = process.state.replace(State::Stopped) == State::Paused;
        process.streams.borrow_mut().ended();
        process.ended.set(ended);
        let watch = if first { self.oom.take() } else { None };
        if let Some(watch) = watch {
            watch.end();
        }
        shim.publisher.publish(events::exit(&self.id, &process.id, process.number(), ended));
        if paused && let Err(failure) = self.runtime.tidy(&["resume", &self.id]).await {
            os::log("error", &self.runtime.fault("resuming exited container from paused state", &failure).message);
        }
        drop(gate);
        if !first {
            return self.ran();
        }
        // Of those that were added none can be started any more.
        let added: Vec<_> = self.execs.borrow().values().cloned().collect();
        for process in added {
            let _gate = process.gate.enter().await;
            if process.state.get() == State::Created {
                process.has_not_run();
            }
        }
    }

    /// One of the added processes is no longer running.
    fn ran(&self) {
        self.running.set(self.running.get() - 1);
        self.waiting.take().into_iter().for_each(reactor::call);
    }

    pub fn process(&self, exec: &str) -> Answer<Rc<Process>> {
        if exec.is_empty() {
            return Ok(Rc::clone(&self.init));
        }
        let missing = || Fault::not_found(format!("process does not exist {exec}"));
        self.execs.borrow().get(exec).cloned().ok_or_else(missing)
    }

    /// Starts the container.
    pub async fn start(self: &Rc<Self>, shim: &Rc<Shared>, late: &Event<()>) -> Answer<()> {
        let gate = self.init.enter(late).await?;
        match self.init.state.get() {
            State::Created => self.runtime.change(&self.id, "start", "running", late).await?,
            State::Checkpointed => self.restore(shim, late).await?,
            state => return Err(Fault::unknown(format!("cannot start a {} process", state.name()))),
        }
        self.init.state.set(State::Running);
        shim.publisher.publish(events::start(&self.id, self.init.number()));
        drop(gate);
        Ok(())
    }

    async fn restore(self: &Rc<Self>, shim: &Rc<Shared>, late: &Event<()>) -> Answer<()> {
        let default_work = self.bundle().join("work");
        let work = if self.options.criu_work_path.is_empty() {
            default_work.as_os_str()
        } else {
            self.options.criu_work_path.as_ref()
        };
        let mut words: Vec<&OsStr> = vec!["restore".as_ref(), "--image-path".as_ref(), self.checkpoint.as_ref()];
        words.extend(["--work-path".as_ref(), work]);
        if !self.parent_checkpoint.is_empty() {
            words.extend(["--parent-path".as_ref(), OsStr::new(&self.parent_checkpoint)]);
        }
        words.extend(["--detach", "--no-subreaper"].map(OsStr::new));
        self.have_made(shim, words, late).await
    }

    /// Adds a process, to be started.
    pub fn add_exec(&self, request: Message<'_>) -> Answer<()> {
        let id = request.text(2)?;
        match self.init.state.get() {
            State::Created | State::Running => {}
            State::Checkpointed => return Err(Fault::unknown("cannot exec in a created state")),
            state => return Err(Fault::unknown(format!("cannot exec in a {} state", state.name()))),
        }
        let mut execs = self.execs.borrow_mut();
        if execs.contains_key(id) {
            return Err(Fault::new(Code::AlreadyExists, format!("id {id}")));
        }
        let process = Process::new(id, paths(request, 3)?, State::Created);
        let spec = request.message(7)?.map_or(Ok(None), |any| any.bytes(2))?.unwrap_or_default();
        let spec = process::spec(spec, &process.paths).map_err(Fault::doing("the process to be added"))?;
        let kept: usize = execs.values().map(|process| process.spec.borrow().len()).sum();
        if kept + spec.len() > SPECS {
            return Err(Fault::new(Code::ResourceExhausted, "too many processes wait to be started"));
        }
        process.spec.replace(spec);
        execs.insert(id.to_owned(), Rc::new(process));
        Ok(())
    }

    /// Starts a process that has been added.
    pub async fn start_exec(self: &Rc<Self>, shim: &Rc<Shared>, process: &Rc<Process>, late: &Event<()>) -> Answer<()> {
        let gate = process.enter(late).await?;
        match process.state.get() {
            State::Created => {}
            state => return Err(Fault::unknown(format!("cannot start a {} process", state.name()))),
        }
        if self.over.get().is_some() {
            return Err(self.not_running());
        }
        // As the last attempt may have left it.
        process.ended.clear();
        self.running.set(self.running.get() + 1);
        if let Err(fault) = self.run_exec(shim, process, late).await {
            // It stays created, as with containerd's shim, and may be started again.
            process.has_not_run();
            self.ran();
            return Err(fault);
        }
        process.spec.take();
        process.state.set(State::Running);
        shim.publisher.publish(events::exec_started(&self.id, &process.id, process.number()));
        drop(gate);
        Ok(())
    }

    async fn run_exec(self: &Rc<Self>, shim: &Rc<Shared>, process: &Rc<Process>, late: &Event<()>) -> Answer<()> {
        use std::os::fd::AsRawFd;
        let maker = Maker::new();
        let prepare = process.paths.prepare(&self.options, shim.place(&self.id));
        let (prepared, streams) = self.while_it_lives(late, prepare).await?;
        let pid_file = self.pid_file(process);
        // Only this process can name it, and it goes with the last descriptor.
        let spec = os::memory(&process.spec.borrow())?;
        let spec_path = format!("/proc/{}/fd/{}", os::getpid(), spec.as_raw_fd());
        let mut words: Vec<&OsStr> = vec!["exec".as_ref(), "--process".as_ref(), spec_path.as_ref()];
        let socket = prepared.console_socket().map(Path::to_owned);
        if let Some(socket) = &socket {
            words.extend(["--console-socket".as_ref(), socket.as_os_str()]);
        }
        words.extend(["--detach".as_ref(), "--pid-file".as_ref(), pid_file.as_os_str(), self.id.as_ref()]);
        let run = self.runtime.run(&words, streams, late).await;
        drop(spec);
        let taken = match run {
            // The process runs: what goes wrong from here on ends it.
            Ok(_) => self.take_over(shim, &maker, process, prepared, &pid_file, late).await,
            Err(failure) => {
                // A runtime that was killed may have made it before.
                if let Ok(pid) = read_pid(&pid_file)
                    && let Ok(ended) = maker.end_of(pid)
                {
                    reaper::kill(pid, &ended);
                }
                Err(self.runtime.fault("OCI runtime exec failed", &failure))
            }
        };
        // Its number is known now, or never will be.
        match std::fs::remove_file(&pid_file) {
            Err(error) if taken.is_ok() || error.kind() != std::io::ErrorKind::NotFound => {
                os::log("warning", &format!("{}: {error}", pid_file.display()));
            }
            _ => {}
        }
        taken
    }

    fn not_running(&self) -> Fault {
        Fault::new(Code::FailedPrecondition, format!("container {} init process is not running", self.id))
    }

    /// What a process waits for alone, a reader or a logger: its client and its container's end do not wait for it.
    async fn while_it_lives<T>(&self, late: &Event<()>, work: impl Future<Output = Answer<T>>) -> Answer<T> {
        let lives = reactor::unless(&self.over, work);
        let in_time = reactor::unless(late, lives).await.ok_or_else(Fault::late)?;
        // What is there a moment too late has been answered for, too.
        if late.get().is_some() { Err(Fault::late()) } else { in_time.unwrap_or_else(|| Err(self.not_running())) }
    }

    fn pid_file(&self, process: &Process) -> PathBuf {
        self.bundle().join(format!("{}.pid", process.id))
    }

    /// How it ended; all zero where it has never run.
    pub async fn delete_exec(&self, process: &Rc<Process>, late: &Event<()>) -> Answer<Ended> {
        let gate = process.enter(late).await?;
        if is_deleted(process.state.get())? {
            return Ok(process.end());
        }
        let streams = process.streams.take();
        streams.finish().await;
        drop(streams);
        process.state.set(State::Deleted);
        process.has_not_run();
        self.execs.borrow_mut().remove(&process.id);
        drop(gate);
        Ok(process.end())
    }

    /// Deletes the container, which the caller takes off the shim's. Whoever asks again when it was too late waits until that is done,
    /// and is told the same.
    pub async fn delete(&self, shim: &Shared, late: &Event<()>) -> Answer<()> {
        /// For a process that the runtime has killed.
        const PATIENCE: Duration = Duration::from_secs(10);
        let mut gate = self.init.enter(late).await?;
        if is_deleted(self.init.state.get())? {
            return Ok(());
        }
        // Before the streams are waited for: what else is in the container may hold them.
        let mut deleted = self.runtime.delete(&self.id, late).await;
        if self.init.state.get() == State::Created {
            // Or it is still there, and needs its streams.
            deleted?;
            deleted = Ok(());
            // It has been killed: its end is told first, and the deletion says how it ended.
            drop(gate);
            if reactor::within(PATIENCE, self.init.ended.wait()).await.is_none() {
                os::log("warning", &format!("the process of {}, which is deleted, does not end", self.id));
            }
            gate = self.init.gate.enter().await;
            if is_deleted(self.init.state.get())? {
                return Ok(());
            }
        }
        let streams = self.init.streams.take();
        streams.finish().await;
        drop(streams);
        let cleared = rootfs::clear(&self.bundle().join("rootfs"));
        deleted?;
        cleared.map_err(Fault::doing("failed rootfs umount"))?;
        self.init.state.set(State::Deleted);
        self.init.has_not_run();
        shim.publisher.publish(events::delete(&self.id, self.init.number(), self.init.end()));
        drop(gate);
        Ok(())
    }

    fn clear_rootfs(&self) {
        if let Err(error) = rootfs::clear(&self.bundle().join("rootfs")) {
            os::log("warning", &format!("failed to cleanup rootfs mount: {error}"));
        }
    }

    pub async fn kill(&self, signal: u32, whom: Whom, late: &Event<()>) -> Answer<()> {
        if self.init.state.get() == State::Stopped && whom == Whom::First {
            return Err(Fault::not_found("process already finished"));
        }
        self.runtime.kill(&self.id, signal, whom, late).await
    }

    pub async fn pause(&self, shim: &Shared, late: &Event<()>) -> Answer<()> {
        let gate = self.init.enter(late).await?;
        match self.init.state.get() {
            State::Running => {}
            State::Created | State::Checkpointed => return Err(Fault::unknown("cannot pause task in created state")),
            state => return Err(Fault::unknown(format!("cannot pause a {} container", state.name()))),
        }
        self.init.state.set(State::Pausing);
        let paused = self.runtime.change(&self.id, "pause", "paused", late).await;
        self.init.state.set(if paused.is_ok() { State::Paused } else { State::Running });
        paused?;
        shim.publisher.publish(events::paused(&self.id));
        drop(gate);
        Ok(())
    }

    pub async fn resume(&self, shim: &Shared, late: &Event<()>) -> Answer<()> {
        let gate = self.init.enter(late).await?;
        match self.init.state.get() {
            State::Paused => {}
            State::Running => return Err(Fault::unknown("cannot resume a running process")),
            State::Created | State::Checkpointed => return Err(Fault::unknown("cannot resume task in created state")),
            state => return Err(Fault::unknown(format!("cannot resume a {} container", state.name()))),
        }
        self.runtime.change(&self.id, "resume", "running", late).await?;
        self.init.state.set(State::Running);
        shim.publisher.publish(events::resumed(&self.id));
        drop(gate);
        Ok(())
    }

    pub async fn update(&self, request: Message<'_>, late: &Event<()>) -> Answer<()> {
        let gate = self.init.enter(late).await?;
        if matches!(self.init.state.get(), State::Stopped | State::Deleted) {
            return Err(Fault::unknown("cannot update a stopped container"));
        }
        let resources = request.message(2)?.map_or(Ok(None), |any| any.bytes(2))?.unwrap_or_default();
        let streams = CommandStreams { stdin: Some(os::memory(resources)?), ..CommandStreams::default() };
        let words = ["update", "--resources", "-", &self.id].map(OsStr::new);
        let run = self.runtime.run(&words, streams, late).await;
        run.map_err(|failure| failure.into_fault())?;
        drop(gate);
        Ok(())
    }

    pub async fn pids(&self, late: &Event<()>) -> Answer<Vec<u8>> {
        let run = self.runtime.call(&["ps", "--format", "json", &self.id], late).await;
        let said = run.map_err(|failure| failure.into_fault())?;
        // `null` is the list of a container without processes (runc).
        let pids: Option<Vec<u32>> =
            serde_json::from_str(&said).map_err(Fault::doing("the runtime's list of processes"))?;
        let execs = self.execs.borrow();
        Ok(answer(|writer| {
            for pid in pids.unwrap_or_default() {
                let exec = execs.values().find(|process| process.number() == pid);
                writer.message(1, |info| {
                    info.number(1, pid);
                    if let Some(exec) = exec {
                        let mut details = Writer::new();
                        details.text(1, &exec.id);
                        any(info, 2, "containerd.runc.v1.ProcessDetails", &details.done());
                    }
                });
            }
        }))
    }

    pub fn stats(&self) -> Answer<Vec<u8>> {
        let (kind, message) =
            metrics::of(&self.cgroups.borrow()).ok_or_else(|| Fault::not_found("cgroup does not exist"))?;
        Ok(answer(|writer| {
            any(writer, 1, kind, &message);
        }))
    }

    pub async fn checkpoint(&self, shim: &Shared, request: Message<'_>, late: &Event<()>) -> Answer<()> {
        let gate = self.init.enter(late).await?;
        match self.init.state.get() {
            State::Running | State::Paused => {}
            State::Created | State::Checkpointed => {
                return Err(Fault::unknown("cannot checkpoint a task in created state"));
            }
            state => return Err(Fault::unknown(format!("cannot checkpoint a {} container", state.name()))),
        }
        let path = request.text(2)?;
        let any = request.message(3)?;
        let kind = any.map_or(Ok(""), |any| any.text(1))?;
        if !matches!(kind_of(kind), "" | "containerd.runc.v1.CheckpointOptions") {
            return Err(Fault::new(Code::InvalidArgument, format!("options of type {kind} are not known")));
        }
        let options = Message::new(any.map_or(Ok(None), |any| any.bytes(2))?.unwrap_or_default())?;
        let own_work = self.bundle().join("work/criu-work").to_string_lossy().into_owned();
        let (work, keep) = match options.text(9)? {
            "" => (own_work.as_str(), false),
            work => (work, true),
        };
        let mut words = vec!["checkpoint", "--work-path", work, "--image-path", path];
        for (field, word) in [(2, "--tcp-established"), (3, "--ext-unix-sk"), (4, "--shell-job"), (5, "--file-locks")] {
            if options.flag(field)? {
                words.push(word);
            }
        }
        for namespace in options.texts(6)? {
            words.extend(["--empty-ns", namespace]);
        }
        if !options.flag(1)? {
            words.push("--leave-running");
        }
        words.push(&self.id);
        let run = self.runtime.call(&words, late).await;
        let log = self.bundle().join("criu-dump.log");
        let outcome = match run {
            Ok(_) => Ok(()),
            Err(failure) => {
                // CRIU's reasons are only in there, and the directory goes.
                let copied = std::fs::copy(Path::new(work).join("dump.log"), &log);
                copied.map(drop).unwrap_or_else(|error| os::log("error", &format!("{}: {error}", log.display())));
                let text = failure.into_fault().message;
                let first = text.lines().next().unwrap_or_default();
                Err(Fault::unknown(format!("{first} path= {}", log.display())))
            }
        };
        if !keep {
            match std::fs::remove_dir_all(work) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    os::log("warning", &format!("{work}: {error}"));
                }
                _ => {}
            }
        }
        outcome?;
        shim.publisher.publish(events::checkpointed(&self.id, path));
        drop(gate);
        Ok(())
    }
}

/// Whether another request has deleted it, while this one waited. What is running cannot be.
fn is_deleted(state: State) -> Answer<bool> {
    match state {
        State::Created | State::Checkpointed | State::Stopped => Ok(false),
        State::Deleted => Ok(true),
        state => Err(Fault::unknown(format!("cannot delete a {} process", state.name()))),
    }
}

/// An Any in `field`.
fn any<'a>(writer: &'a mut Writer, field: u64, kind: &str, value: &[u8]) -> &'a mut Writer {
    writer.message(field, |any| {
        any.text(1, kind).bytes(2, value);
    })
}
