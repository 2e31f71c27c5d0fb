//! A systemd manager: starts, changes and stops the scopes that hold containers. Runs in the parent;
//! touches one socket; the scope's cgroup itself is handled through its files like any other.
//!
//! A start is one message. [`Manager::start_scope`] sends it and [`Manager::wait_scope`] reads what came of it, so that
//! everything which does not need the cgroup happens in between.
//!
//! The modules, in the order of the work: `endpoints` is where a manager listens, this one is the talk with it, and `scope` changes and
//! removes a container's cgroup together with its unit.

pub mod endpoints;
pub(super) mod scope;

use std::time::{Duration, Instant};

use endpoints::Endpoints;

use crate::dbus::value::Value;
use crate::error::{Context, Error, Result, Stage};
use crate::plan::systemd::{OnUnknown, Property, ScopePlan};

use crate::dbus::address::Peer;
use crate::dbus::link::{BusService, Link, Silence};
use crate::dbus::message::{BusMessage, MessageKind, MethodCall};

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// Who is asked.
pub const SYSTEMD: BusService = BusService {
    name: "systemd",
    stage: Stage::Cgroup,
    slow: "systemd is busy or hung: see `systemctl list-jobs` and its log",
};

/// How long systemd may take for anything: what runc allows. A busy systemd was seen to need ten seconds
/// and more (runc issue 3904); a hung one must not hang the engine.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// A systemd manager.
pub struct Manager {
    endpoints: Endpoints,
    link: Link,
    /// The unit whose jobs are of interest.
    watched: String,
    /// The last ends of its jobs that were seen while waiting for something else.
    ended: Vec<JobEnd>,
}

/// Somebody says that a job has ended. On a bus anybody may, to anybody.
struct JobEnd {
    sender: String,
    job: String,
    result: String,
}

/// Far more than a unit has jobs between a call and its answer: what else there is, is not systemd's.
const MOST_ENDS: usize = 1024;

/// A scope that was asked for.
#[must_use = "the scope is not there until it was waited for"]
pub struct Starting {
    serial: u32,
    unit: String,
    properties: Vec<Property>,
    pid: i32,
    deadline: Instant,
}

/// The answer to a call.
enum Reply {
    Done(BusMessage),
    Refused { error: String, text: String },
}

impl Reply {
    fn is(&self, name: &str) -> bool {
        matches!(self, Reply::Refused { error, .. } if error.strip_prefix(NAME).and_then(|e| e.strip_prefix('.')) == Some(name))
    }

    /// The reply, or the refusal as an error.
    fn done(self, what: impl FnOnce() -> String) -> Result<BusMessage> {
        match self {
            Reply::Done(message) => Ok(message),
            Reply::Refused { error, text } => {
                let why = if text.is_empty() { error } else { text };
                Err(Error::new(Stage::Cgroup, format!("{}: systemd says: {why}", what())))
            }
        }
    }
}

impl Manager {
    /// Connects to the first endpoint that answers.
    pub fn connect(endpoints: Endpoints) -> Result<Manager> {
        let deadline = Instant::now() + TIMEOUT;
        let link = open(&endpoints, deadline)?;
        Ok(Manager { endpoints, link, watched: String::new(), ended: Vec::new() })
    }

    /// Asks for a scope with process `pid` in it.
    pub fn start_scope(&mut self, plan: &ScopePlan, pid: i32) -> Result<Starting> {
        let deadline = Instant::now() + TIMEOUT;
        let (unit, properties) = (plan.unit.name.clone(), plan.properties.clone());
        self.watch_jobs(&unit, deadline)?;
        let serial = self.send_start(&unit, &properties, pid, deadline)?;
        Ok(Starting { serial, unit, properties, pid, deadline })
    }

    /// Waits until the process is in its scope.
    ///
    /// Properties that this systemd does not have are left out where the cgroup's files have the same limit.
    /// A failed unit of the same name, left by somebody who was killed, is reset once.
    pub fn wait_scope(&mut self, starting: Starting) -> Result<()> {
        let Starting { mut serial, unit, mut properties, pid, deadline } = starting;
        let what = || format!("start unit {unit}");
        let mut reset = false;
        loop {
            let answer = match self.answer(serial, deadline) {
                Ok(answer) => answer,
                Err(Silence::Closed) => return self.after_restart(&unit, deadline).at(Stage::Cgroup, what),
                Err(Silence::Failed(error)) => return Err(error).at(Stage::Cgroup, what),
            };
            if answer.is("UnitExists") {
                if reset {
                    return self.refuse_taken(&unit, answer, deadline);
                }
                reset = true;
                self.reset_failed(&unit)?;
            } else if let Reply::Refused { error, text } = &answer
                && let Some(index) = refused_property(error, text, &properties)
            {
                properties.remove(index);
            } else {
                return match self.job_result(&answer.done(what)?, deadline) {
                    Ok(result) if result == "done" => Ok(()),
                    Ok(result) => {
                        // A failed unit would keep the name taken.
                        let error = Error::new(Stage::Cgroup, format!("{}: its job ended as {result:?}", what()));
                        self.reset_failed(&unit).and(Err(error))
                    }
                    Err(Silence::Closed) => self.after_restart(&unit, deadline).at(Stage::Cgroup, what),
                    Err(Silence::Failed(error)) => Err(error).at(Stage::Cgroup, what),
                };
            }
            serial = self.send_start(&unit, &properties, pid, deadline)?;
        }
    }

    /// The error for a name that is taken. A scope that is active has processes, and then it is told as it is without systemd.
    fn refuse_taken(&mut self, unit: &str, answer: Reply, deadline: Instant) -> Result<()> {
        let used = self.active_state(unit, deadline)? == "active";
        let said = if used { "container's cgroup is not empty: " } else { "" };
        answer.done(|| format!("{said}start unit {unit}")).map(drop)
    }

    fn send_start(&mut self, unit: &str, properties: &[Property], pid: i32, deadline: Instant) -> Result<u32> {
        let pids = Value::Array { element: "u".into(), items: vec![Value::U32(pid.unsigned_abs())] };
        let all = properties.iter().map(|p| (p.name.as_str(), p.value.clone())).chain([("PIDs", pids)]);
        let auxiliary = Value::Array { element: "(sa(sv))".into(), items: Vec::new() };
        let body = vec![Value::str(unit), Value::str("fail"), pairs(all), auxiliary];
        self.send("StartTransientUnit", body, deadline)
    }

    /// systemd executed itself anew (`systemctl daemon-reexec`) and forgot its clients, but not their units.
    fn after_restart(&mut self, unit: &str, deadline: Instant) -> Result<()> {
        self.link = open(&self.endpoints, deadline)?;
        let state = self.active_state(unit, deadline)?;
        if state == "active" {
            return Ok(());
        }
        Err(Error::new(Stage::Cgroup, format!("systemd was restarted meanwhile, and the unit is {state}")))
    }

    /// Stops a unit, which kills what is left in it, and waits for its end. A unit that is gone is stopped.
    pub fn stop_unit(&mut self, unit: &str) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match self.stop_once(unit, deadline) {
                Ok(()) => return self.reset_failed(unit),
                Err(Silence::Closed) => self.reopen(deadline)?,
                Err(Silence::Failed(error)) => return Err(error).at(Stage::Cgroup, || format!("stop unit {unit}")),
            }
        }
    }

    fn stop_once(&mut self, unit: &str, deadline: Instant) -> std::result::Result<(), Silence> {
        self.watch_jobs(unit, deadline).map_err(Silence::of)?;
        // The processes first: systemd only asks them to end and waits, and the first process of a pid namespace that has
        // no handler for the signal never gets it. What comes of it is seen by the stop that follows.
        let kill = vec![Value::str(unit), Value::str("all"), Value::I32(libc::SIGKILL)];
        self.send("KillUnit", kill, deadline).map_err(Silence::of)?;
        let stop = vec![Value::str(unit), Value::str("replace")];
        let answer = self.ask(PATH, MANAGER, ("StopUnit", stop), deadline)?;
        if answer.is("NoSuchUnit") {
            return Ok(());
        }
        let answer = answer.done(|| "it is refused".into()).map_err(Silence::Failed)?;
        match self.job_result(&answer, deadline)? {
            result if result == "done" => Ok(()),
            result => Err(Silence::Failed(Error::new(Stage::Cgroup, format!("its job ended as {result:?}")))),
        }
    }

    /// Lets systemd forget that a unit failed, and with that the unit.
    pub fn reset_failed(&mut self, unit: &str) -> Result<()> {
        let what = || format!("reset unit {unit}");
        let answer =
            self.call("ResetFailedUnit", vec![Value::str(unit)], Instant::now() + TIMEOUT).at(Stage::Cgroup, what)?;
        if answer.is("NoSuchUnit") { Ok(()) } else { answer.done(what).map(drop) }
    }

    /// Changes properties of a running unit, until the unit ends. Those this systemd does not have are left out as in
    /// [`Manager::wait_scope`]; their names.
    pub fn set_properties(&mut self, unit: &str, properties: &[Property]) -> Result<Vec<String>> {
        let what = || format!("set properties of unit {unit}");
        let deadline = Instant::now() + TIMEOUT;
        let mut properties = properties.to_vec();
        let mut dropped = Vec::new();
        while !properties.is_empty() {
            let all = properties.iter().map(|p| (p.name.as_str(), p.value.clone()));
            let body = vec![Value::str(unit), Value::Bool(true), pairs(all)];
            let answer = self.call("SetUnitProperties", body, deadline).at(Stage::Cgroup, what)?;
            if let Reply::Refused { error, text } = &answer
                && let Some(index) = refused_property(error, text, &properties)
            {
                dropped.push(properties.remove(index).name);
                continue;
            }
            answer.done(what)?;
            break;
        }
        Ok(dropped)
    }

    /// Moves a process into a unit's cgroup, or into `below` it (an absolute path inside of the unit). For a
    /// user who may not write to the cgroup that both places have in common (a login's session is root's).
    pub fn attach(&mut self, unit: &str, below: &str, pid: i32) -> Result<()> {
        let what = || format!("attach process {pid} to unit {unit}");
        let pids = Value::Array { element: "u".into(), items: vec![Value::U32(pid.unsigned_abs())] };
        let body = vec![Value::str(unit), Value::str(below), pids];
        let answer = self.call("AttachProcessesToUnit", body, Instant::now() + TIMEOUT).at(Stage::Cgroup, what)?;
        answer.done(what).map(drop)
    }

    /// The state of a unit; of one that does not exist `inactive`.
    pub fn active_state(&mut self, unit: &str, deadline: Instant) -> Result<String> {
        self.property(&unit_path(unit), "org.freedesktop.systemd1.Unit", "ActiveState", deadline)
    }

    fn property(&mut self, path: &str, interface: &str, name: &str, deadline: Instant) -> Result<String> {
        let what = || format!("read property {name} of {path}");
        let get = || ("Get", vec![Value::str(interface), Value::str(name)]);
        let message = self.repeated(path, "org.freedesktop.DBus.Properties", get, deadline)?.done(what)?;
        let text = message.strings().into_iter().next();
        text.ok_or_else(|| Error::new(Stage::Cgroup, format!("{}: it is not a text", what())))
    }

    fn destination(&self) -> Option<&'static str> {
        match self.link.peer() {
            Peer::Service => None,
            Peer::Bus => Some(NAME),
        }
    }

    fn send(&mut self, member: &str, body: Vec<Value>, deadline: Instant) -> Result<u32> {
        let call = MethodCall { destination: self.destination(), path: PATH, interface: MANAGER, member, body };
        self.link.send(&call, deadline)
    }

    fn call(&mut self, member: &str, body: Vec<Value>, deadline: Instant) -> Result<Reply> {
        self.repeated(PATH, MANAGER, || (member, body.clone()), deadline)
    }

    /// A call that may be made twice: it is, where systemd executed itself anew meanwhile (`systemctl daemon-reexec`, as each
    /// upgrade of its package does) and closed its connections.
    fn repeated<'a>(
        &mut self,
        path: &str,
        interface: &str,
        call: impl Fn() -> (&'a str, Vec<Value>),
        deadline: Instant,
    ) -> Result<Reply> {
        loop {
            match self.ask(path, interface, call(), deadline) {
                Ok(answer) => return Ok(answer),
                Err(Silence::Closed) => self.reopen(deadline)?,
                Err(Silence::Failed(error)) => return Err(error),
            }
        }
    }

    fn ask(
        &mut self,
        path: &str,
        interface: &str,
        (member, body): (&str, Vec<Value>),
        deadline: Instant,
    ) -> std::result::Result<Reply, Silence> {
        let call = MethodCall { destination: self.destination(), path, interface, member, body };
        let serial = self.link.send(&call, deadline).map_err(Silence::of)?;
        match self.answer(serial, deadline)? {
            // systemd left the bus before it could answer; whoever connects anew is kept waiting until it is back.
            Reply::Refused { error, .. } if error == "org.freedesktop.DBus.Error.NoReply" => Err(Silence::Closed),
            answer => Ok(answer),
        }
    }

    fn reopen(&mut self, deadline: Instant) -> Result<()> {
        self.link = open(&self.endpoints, deadline)?;
        Ok(())
    }

    /// On a bus only the ends of this unit's jobs: on a busy host there are many others.
    fn watch_jobs(&mut self, unit: &str, deadline: Instant) -> Result<()> {
        unit.clone_into(&mut self.watched);
        self.ended.clear();
        let rule = format!(
            "type='signal',sender='{NAME}',path='{PATH}',interface='{MANAGER}',member='JobRemoved',arg2='{unit}'"
        );
        self.link.subscribe(rule, deadline)
    }

    /// The next message, with the ends of jobs noted on the way.
    fn next(&mut self, deadline: Instant) -> std::result::Result<BusMessage, Silence> {
        let message = self.link.next(deadline)?;
        if message.kind == MessageKind::Signal && message.member == "JobRemoved" {
            // (u id, o job, s unit, s result)
            if let [job, unit, result] = message.strings().as_slice()
                && *unit == self.watched
            {
                if self.ended.len() == MOST_ENDS {
                    self.ended.remove(0);
                }
                let sender = message.sender.clone();
                self.ended.push(JobEnd { sender, job: job.clone(), result: result.clone() });
            }
        }
        Ok(message)
    }

    fn answer(&mut self, serial: u32, deadline: Instant) -> std::result::Result<Reply, Silence> {
        loop {
            let message = self.next(deadline)?;
            match message.kind {
                _ if message.reply_to != Some(serial) => {}
                MessageKind::Return => return Ok(Reply::Done(message)),
                MessageKind::Error => {
                    let text = message.strings().into_iter().next().unwrap_or_default();
                    return Ok(Reply::Refused { error: message.error, text });
                }
                MessageKind::MethodCall | MessageKind::Signal => {}
            }
        }
    }

    /// Waits for the end of the job that `answer` names: `done`, `failed`, `canceled`, `timeout`, `dependency` or `skipped`.
    /// Only the word of the one that has answered counts.
    fn job_result(&mut self, answer: &BusMessage, deadline: Instant) -> std::result::Result<String, Silence> {
        let job = answer.strings().into_iter().next().unwrap_or_default();
        loop {
            self.ended.retain(|end| end.sender == answer.sender);
            if let Some(end) = self.ended.iter().find(|end| end.job == job) {
                return Ok(end.result.clone());
            }
            self.next(deadline)?;
        }
    }
}

fn open(endpoints: &Endpoints, deadline: Instant) -> Result<Link> {
    let mut last = None;
    for (address, peer) in &endpoints.list {
        match Link::open(SYSTEMD, (address, *peer), endpoints.uid, deadline) {
            Ok(link) => return Ok(link),
            Err(error) => last = Some(error),
        }
    }
    let error = last.unwrap_or_else(|| Error::new(Stage::Cgroup, "no address is known"));
    Err(error).at(Stage::Cgroup, || "reach systemd").map_err(|error| error.with_hint(endpoints.hint))
}

/// `a(sv)`
fn pairs<'a>(properties: impl Iterator<Item = (&'a str, Value)>) -> Value {
    let item = |(name, value)| Value::Struct(vec![Value::str(name), Value::Variant(Box::new(value))]);
    Value::Array { element: "(sv)".into(), items: properties.map(item).collect() }
}

/// The property an error is about, when it may be left out. systemd names it in the text:
/// "Cannot set property X, or unknown property.", "Value specified in X is out of range".
fn refused_property(error: &str, text: &str, properties: &[Property]) -> Option<usize> {
    let about_a_property = ["PropertyReadOnly", "UnknownProperty", "InvalidArgs"]
        .iter()
        .any(|e| error.strip_prefix("org.freedesktop.DBus.Error.") == Some(e));
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let word = words.find(|word| properties.iter().any(|p| p.name == *word)).filter(|_| about_a_property)?;
    properties.iter().position(|p| p.name == word && p.unknown == OnUnknown::Drop)
}

/// A unit's object: every byte but letters and digits (and a leading digit) as `_XX`.
pub fn unit_path(unit: &str) -> String {
    let mut path = format!("{PATH}/unit/");
    for (index, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && index > 0) {
            path.push(byte.into());
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}
