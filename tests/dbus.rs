//! D-Bus without systemd: bytes against those of GLib, and the driver against a scripted peer.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use brisk::cgroup::systemd::endpoints::Endpoints;
use brisk::cgroup::systemd::{Manager, SYSTEMD, unit_path};
use brisk::dbus::address::{Address, Peer, addresses};
use brisk::dbus::link::{Link, greeting};
use brisk::dbus::message::{BusMessage, MessageKind, MethodCall};
use brisk::dbus::value::Value;
use brisk::plan::systemd::gvariant;
use brisk::plan::systemd::{OnUnknown, Owner, Property, ScopePlan, Unit};

/// What `gdbus call` (GLib 2.74) sends for this method call; the properties are one of every type.
const GLIB: &str = include_str!("../fixtures/dbus/start-transient-unit.hex");
const PROPERTIES: &str = "[('Slice', <'a.slice'>), ('Delegate', <true>), ('PIDs', <[uint32 7]>), \
    ('MemoryMax', <uint64 18446744073709551615>), ('AllowedCPUs', <[byte 5, 2, 255]>), \
    ('DeviceAllow', <[('/dev/char/1:3', 'rwm'), ('char-136', 'rw')]>), ('N', <int16 -2>), ('Q', <uint16 9>), \
    ('I', <-70000>), ('X', <int64 -5>), ('D', <1.5>), ('E', <@as []>), ('T', <@a(st) []>), \
    ('A', <{'k': <'v'>, 'l': <uint32 1>}>), ('O', <objectpath '/a/b'>), ('S', <(byte 1, 'x', uint64 3)>), \
    ('B', <[true, false]>)]";

fn glib() -> Vec<u8> {
    let digits: Vec<u8> = GLIB.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn start_call() -> MethodCall<'static> {
    MethodCall {
        destination: Some("org.freedesktop.systemd1"),
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member: "StartTransientUnit",
        body: vec![
            Value::str("x.scope"),
            Value::str("fail"),
            gvariant::parse(PROPERTIES).unwrap(),
            gvariant::parse("@a(sa(sv)) []").unwrap(),
        ],
    }
}

#[test]
fn a_call_has_the_bytes_that_glib_sends() {
    assert_eq!(start_call().encode(3), glib());
}

#[test]
fn a_call_to_a_manager_itself_names_no_destination() {
    let direct = MethodCall { destination: None, ..start_call() }.encode(1);
    assert!(!direct.windows(4).any(|field| field == b"\x06\x01s\0"));
    assert_eq!(BusMessage::decode(&direct).unwrap().member, "StartTransientUnit");
}

#[test]
fn a_message_of_glib_is_understood() {
    let bytes = glib();
    assert_eq!(BusMessage::length(&bytes), Ok(Some(bytes.len())));
    assert_eq!(BusMessage::length(&bytes[..15]), Ok(None));
    let message = BusMessage::decode(&bytes).unwrap();
    assert_eq!((message.kind, message.member.as_str()), (MessageKind::MethodCall, "StartTransientUnit"));
    assert_eq!(message.signature, "ssa(sv)a(sa(sv))");
    assert_eq!(message.strings(), ["x.scope", "fail"]);
}

#[test]
fn no_cut_or_changed_message_does_more_than_fail() {
    let bytes = glib();
    for end in 0..bytes.len() {
        let _ = BusMessage::length(&bytes[..end]);
        let _ = BusMessage::decode(&bytes[..end]).map(|m| m.strings());
    }
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut changed = bytes.clone();
            changed[at] = value;
            let _ = BusMessage::length(&changed);
            let _ = BusMessage::decode(&changed).map(|m| m.strings());
        }
    }
    let mut endless = bytes;
    endless[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(BusMessage::length(&endless).is_err());
}

#[test]
fn a_big_endian_reply_is_understood() {
    let mut bytes = b"B\x02\x01\x01\0\0\0\x09\0\0\0\x01\0\0\0\x0f".to_vec();
    bytes.extend(b"\x05\x01u\0\0\0\0\x07\x08\x01g\0\x01o\0\0\0\0\0\x04/job\0");
    let message = BusMessage::decode(&bytes).unwrap();
    assert_eq!((message.kind, message.reply_to), (MessageKind::Return, Some(7)));
    assert_eq!(message.strings(), ["/job"]);
}

#[test]
fn addresses_and_greetings() {
    let list = "tcp:host=x;unix:path=/run/b%20us,guid=1;unix:abstract=/tmp/x";
    assert_eq!(addresses(list), [Address::Path("/run/b us".into()), Address::Abstract(b"/tmp/x".to_vec())]);
    assert_eq!(addresses("unix:path=%zz"), []);
    assert_eq!(greeting(1000), "\0AUTH EXTERNAL 31303030\r\nBEGIN\r\n");
    assert_eq!(unit_path("a-b_1.scope"), "/org/freedesktop/systemd1/unit/a_2db_5f1_2escope");
    let user = Endpoints::user(Some("/run/user/1000"), None, 1000);
    assert_eq!(user.list[0], (Address::Path("/run/user/1000/systemd/private".into()), Peer::Service));
    assert_eq!(user.list[1], (Address::Path("/run/user/1000/bus".into()), Peer::Bus));
}

/// A peer that has written all it will ever say before it is asked: serials are known beforehand.
struct Peered {
    path: PathBuf,
    listener: UnixListener,
}

impl Peered {
    fn new(name: &str) -> Peered {
        let path = std::env::temp_dir().join(format!("brisk-dbus-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        Peered { listener: UnixListener::bind(&path).unwrap(), path }
    }

    fn endpoints(&self, peer: Peer) -> Endpoints {
        Endpoints { list: vec![(Address::Path(self.path.clone()), peer)], uid: 0, hint: "none" }
    }

    fn accept(&self, says: &[Vec<u8>]) -> UnixStream {
        let (mut stream, _) = self.listener.accept().unwrap();
        stream.write_all(b"OK 0123456789abcdef\r\n").unwrap();
        says.iter().for_each(|bytes| stream.write_all(bytes).unwrap());
        stream
    }
}

impl Drop for Peered {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The members of the calls that were made.
fn calls(mut stream: UnixStream) -> Vec<String> {
    let mut bytes = Vec::new();
    stream.set_nonblocking(true).unwrap();
    let _ = stream.read_to_end(&mut bytes);
    let begin = bytes.windows(7).position(|w| w == b"BEGIN\r\n").unwrap() + 7;
    let mut rest = &bytes[begin..];
    let mut members = Vec::new();
    while let Some(length) = BusMessage::length(rest).unwrap() {
        members.push(BusMessage::decode(&rest[..length]).unwrap().member);
        rest = &rest[length..];
    }
    members
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn string(bytes: &mut Vec<u8>, text: &str) {
    pad(bytes, 4);
    bytes.extend((text.len() as u32).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

/// A message as systemd sends it: fields of strings, the call it answers, and a body of strings.
fn message(kind: u8, fields: &[(u8, &str)], reply_to: Option<u32>, signature: &str, body: &[&str]) -> Vec<u8> {
    let mut values = Vec::new();
    if signature.starts_with('u') {
        values.extend(1u32.to_le_bytes());
    }
    body.iter().for_each(|text| string(&mut values, text));
    let mut head = Vec::new();
    for (code, text) in fields {
        pad(&mut head, 8);
        head.extend([*code, 1, b's', 0]);
        string(&mut head, text);
    }
    if let Some(serial) = reply_to {
        pad(&mut head, 8);
        head.extend([5, 1, b'u', 0]);
        head.extend(serial.to_le_bytes());
    }
    pad(&mut head, 8);
    head.extend([8, 1, b'g', 0, signature.len() as u8]);
    head.extend(signature.as_bytes());
    head.push(0);
    let mut out = vec![b'l', kind, 0, 1];
    out.extend((values.len() as u32).to_le_bytes());
    out.extend(1u32.to_le_bytes());
    out.extend((head.len() as u32).to_le_bytes());
    out.extend(head);
    pad(&mut out, 8);
    out.extend(values);
    out
}

fn reply(serial: u32, job: &str) -> Vec<u8> {
    message(2, &[], Some(serial), "o", &[job])
}

fn refusal(serial: u32, name: &str, text: &str) -> Vec<u8> {
    message(3, &[(4, name)], Some(serial), "s", &[text])
}

fn removed(job: &str, result: &str) -> Vec<u8> {
    message(4, &[(3, "JobRemoved")], None, "uoss", &[job, "x.scope", result])
}

fn plan() -> ScopePlan {
    ScopePlan {
        unit: Unit { name: "x.scope".into(), slice: "system.slice".into(), owner: Owner::System },
        properties: vec![
            Property::fixed("Slice", Value::str("system.slice")),
            Property { name: "AllowedCPUs".into(), value: Value::bytes(&[1]), unknown: OnUnknown::Drop },
        ],
    }
}

const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
const READ_ONLY: &str = "org.freedesktop.DBus.Error.PropertyReadOnly";

/// Starts a scope against a peer that says these things; what came of it and what was called.
fn start(name: &str, peer: Peer, says: &[Vec<u8>]) -> (Result<(), String>, Vec<String>) {
    let server = Peered::new(name);
    let mut manager = Manager::connect(server.endpoints(peer)).unwrap();
    let stream = server.accept(says);
    let starting = manager.start_scope(&plan(), 4242).unwrap();
    let result = manager.wait_scope(starting).map_err(|error| error.to_string());
    (result, calls(stream))
}

#[test]
fn a_start_is_one_call() {
    let (result, calls) =
        start("one", Peer::Service, &[reply(1, "/j/1"), removed("/j/0", "failed"), removed("/j/1", "done")]);
    assert_eq!(result, Ok(()));
    assert_eq!(calls, ["StartTransientUnit"]);
}

#[test]
fn a_job_may_end_before_it_is_known() {
    let (result, _) = start("early", Peer::Service, &[removed("/j/1", "done"), reply(1, "/j/1")]);
    assert_eq!(result, Ok(()));
}

#[test]
fn a_bus_is_greeted_and_asked_for_signals() {
    let (result, calls) = start("bus", Peer::Bus, &[reply(3, "/j/1"), removed("/j/1", "done")]);
    assert_eq!(result, Ok(()));
    assert_eq!(calls, ["Hello", "AddMatch", "StartTransientUnit"]);
}

/// Fields and kinds of messages that are not known are to be ignored, and any user of a bus may send some.
#[test]
fn what_cannot_be_read_counts_only_in_an_answer() {
    let odd = |kind: u8, serial: Option<u32>| {
        let mut bytes = message(kind, &[(77, "x")], serial, "", &[]);
        let field = bytes.windows(4).position(|bytes| bytes == [77, 1, b's', 0]).unwrap();
        bytes[field + 2] = b't';
        bytes
    };
    let strangers = [odd(4, None), odd(1, None), message(9, &[], None, "", &[])];
    let says = [&strangers[..], &[reply(3, "/j/1")], &strangers, &[removed("/j/1", "done")]].concat();
    assert_eq!(start("strange", Peer::Bus, &says).0, Ok(()));
    let answered = start("odd", Peer::Bus, &[odd(2, Some(3))]).0;
    assert!(answered.unwrap_err().contains("of an unknown type"));
}

/// On the system's bus any user may send brisk a signal that says it is systemd's, and the numbers of jobs can be guessed.
#[test]
fn the_word_of_a_stranger_does_not_count() {
    let end = |sender: &str, unit: &str, result: &str| {
        message(4, &[(7, sender), (3, "JobRemoved")], None, "uoss", &["/j/1", unit, result])
    };
    let answer = message(2, &[(7, ":1.1")], Some(3), "o", &["/j/1"]);
    let says = |forged: &str, real: &str| {
        let mut says = vec![end(":1.66", "y.scope", forged)];
        says.extend((0..3000).map(|_| end(":1.66", "x.scope", forged)));
        says.push(answer.clone());
        says.extend((0..3000).map(|_| end(":1.66", "x.scope", forged)));
        says.push(end(":1.1", "x.scope", real));
        says
    };
    let begin = |says: Vec<Vec<u8>>| {
        let server = Peered::new("forged");
        let mut manager = Manager::connect(server.endpoints(Peer::Bus)).unwrap();
        let (mut stream, _) = server.listener.accept().unwrap();
        std::thread::scope(|scope| {
            // More than a socket holds.
            scope.spawn(|| {
                stream.write_all(b"OK 0123456789abcdef\r\n").unwrap();
                says.iter().for_each(|bytes| stream.write_all(bytes).unwrap());
            });
            let starting = manager.start_scope(&plan(), 4242).unwrap();
            manager.wait_scope(starting).map_err(|error| error.to_string())
        })
    };
    assert_eq!(begin(says("failed", "done")), Ok(()));
    let mut refused = says("done", "canceled");
    // That of the reset.
    refused.push(message(2, &[(7, ":1.1")], Some(4), "", &[]));
    assert!(begin(refused).unwrap_err().contains("canceled"));
}

#[test]
fn a_failed_unit_of_the_name_is_reset_once() {
    let says = [refusal(1, EXISTS, "exists"), message(2, &[], Some(2), "", &[]), reply(3, "/j"), removed("/j", "done")];
    let (result, calls) = start("exists", Peer::Service, &says);
    assert_eq!(result, Ok(()));
    assert_eq!(calls, ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]);

    for (state, said) in [("active", "container's cgroup is not empty: "), ("deactivating", "")] {
        let says = [
            refusal(1, EXISTS, "exists"),
            message(2, &[], Some(2), "", &[]),
            refusal(3, EXISTS, "Unit x.scope already exists."),
            message(2, &[], Some(4), "s", &[state]),
        ];
        let (result, _) = start("twice", Peer::Service, &says);
        let wanted = format!("cgroup: {said}start unit x.scope: systemd says: Unit x.scope already exists.");
        assert_eq!(result.unwrap_err(), wanted);
    }
}

#[test]
fn an_old_systemd_does_without_a_limit_but_not_without_a_slice() {
    let text = "Cannot set property AllowedCPUs, or unknown property.";
    let says = [refusal(1, READ_ONLY, text), reply(2, "/j"), removed("/j", "done")];
    let (result, calls) = start("old", Peer::Service, &says);
    assert_eq!(result, Ok(()));
    assert_eq!(calls, ["StartTransientUnit", "StartTransientUnit"]);

    let says = [refusal(1, READ_ONLY, "Cannot set property Slice, or unknown property.")];
    assert!(start("slice", Peer::Service, &says).0.unwrap_err().contains("Cannot set property Slice"));
}

#[test]
fn a_job_that_fails_is_an_error_and_the_unit_is_reset() {
    let says = [reply(1, "/j"), removed("/j", "failed"), message(2, &[], Some(2), "", &[])];
    let (result, calls) = start("failed", Peer::Service, &says);
    assert_eq!(result.unwrap_err(), "cgroup: start unit x.scope: its job ended as \"failed\"");
    assert_eq!(calls, ["StartTransientUnit", "ResetFailedUnit"]);
}

/// Process 1 of a namespace without a handler never gets the TERM that a stop begins with: 30 seconds of waiting.
#[test]
fn what_is_left_in_a_unit_is_killed_before_it_is_stopped() {
    let server = Peered::new("stop");
    let mut manager = Manager::connect(server.endpoints(Peer::Service)).unwrap();
    let says = [
        // Nothing was left.
        refusal(1, "org.freedesktop.systemd1.NoSuchProcess", "no process"),
        reply(2, "/j"),
        removed("/j", "done"),
        message(2, &[], Some(3), "", &[]),
    ];
    let stream = server.accept(&says);
    manager.stop_unit("x.scope").unwrap();
    drop(manager);
    assert_eq!(calls(stream), ["KillUnit", "StopUnit", "ResetFailedUnit"]);
}

/// `systemctl daemon-reexec`, as an upgrade of the package does it: connections are closed, units stay.
#[test]
fn a_systemd_that_is_executed_anew_is_asked_again() {
    const NO_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
    let done = |serial| message(2, &[], Some(serial), "", &[]);
    let before = |name: &str, says: &[Vec<u8>], then: &[Vec<u8>], act: &dyn Fn(&mut Manager)| {
        let server = Peered::new(name);
        let mut manager = Manager::connect(server.endpoints(Peer::Service)).unwrap();
        std::thread::scope(|scope| {
            let peer = scope.spawn(|| {
                drop(server.accept(says));
                server.accept(then)
            });
            act(&mut manager);
            drop(manager);
            calls(peer.join().unwrap())
        })
    };
    let set = |manager: &mut Manager| {
        let properties = [Property::limit("MemoryMax", Value::U64(1 << 30))];
        assert_eq!(manager.set_properties("x.scope", &properties).unwrap(), Vec::<String>::new());
    };
    assert_eq!(before("reexec-set", &[], &[done(1)], &set), ["SetUnitProperties"]);
    let stop = |manager: &mut Manager| manager.stop_unit("x.scope").unwrap();
    // Its job was known, and ended while nobody listened.
    let says = [done(1), reply(2, "/j")];
    let then = [refusal(1, NO_UNIT, "gone"), refusal(2, NO_UNIT, "gone"), refusal(3, NO_UNIT, "gone")];
    assert_eq!(before("reexec-stop", &says, &then, &stop), ["KillUnit", "StopUnit", "ResetFailedUnit"]);
    let state = |manager: &mut Manager| {
        let deadline = Instant::now() + Duration::from_secs(5);
        assert!(manager.active_state("x.scope", deadline).is_err());
    };
    assert_eq!(before("reexec-get", &[], &[refusal(1, NO_UNIT, "gone")], &state), ["Get"]);
}

/// On a bus it is the bus that says so.
#[test]
fn a_manager_that_left_the_bus_is_asked_again() {
    let server = Peered::new("left");
    let mut manager = Manager::connect(server.endpoints(Peer::Bus)).unwrap();
    let left = refusal(2, "org.freedesktop.DBus.Error.NoReply", "disconnected from message bus without replying");
    let (first, second) = std::thread::scope(|scope| {
        let peer = scope.spawn(|| (server.accept(&[left]), server.accept(&[message(2, &[], Some(2), "", &[])])));
        let properties = [Property::limit("MemoryMax", Value::U64(1 << 30))];
        manager.set_properties("x.scope", &properties).unwrap();
        drop(manager);
        peer.join().unwrap()
    });
    for stream in [first, second] {
        assert_eq!(calls(stream), ["Hello", "SetUnitProperties"]);
    }
}

#[test]
fn properties_that_this_systemd_lacks_are_named() {
    let server = Peered::new("properties");
    let mut manager = Manager::connect(server.endpoints(Peer::Service)).unwrap();
    let text = "Cannot set property AllowedCPUs, or unknown property.";
    let stream = server.accept(&[refusal(1, READ_ONLY, text), message(2, &[], Some(2), "", &[])]);
    let properties =
        [Property::limit("AllowedCPUs", Value::bytes(&[1])), Property::limit("MemoryMax", Value::U64(1 << 30))];
    assert_eq!(manager.set_properties("x.scope", &properties).unwrap(), ["AllowedCPUs"]);
    drop(manager);
    assert_eq!(calls(stream), ["SetUnitProperties", "SetUnitProperties"]);
}

#[test]
fn silence_ends() {
    let server = Peered::new("silence");
    let deadline = Instant::now() + Duration::from_millis(50);
    let mut link = Link::open(SYSTEMD, (&Address::Path(server.path.clone()), Peer::Service), 0, deadline).unwrap();
    let error = link.send(&start_call(), deadline).unwrap_err();
    assert_eq!(error.root_errno(), Some(nix::errno::Errno::ETIMEDOUT));
}

#[test]
fn a_stranger_is_refused() {
    let server = Peered::new("stranger");
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut link = Link::open(SYSTEMD, (&Address::Path(server.path.clone()), Peer::Service), 0, deadline).unwrap();
    let (mut stream, _) = server.listener.accept().unwrap();
    stream.write_all(b"REJECTED EXTERNAL\r\n").unwrap();
    assert!(link.send(&start_call(), deadline).unwrap_err().to_string().contains("REJECTED EXTERNAL"));
}

#[test]
fn nobody_there_is_an_error_with_advice() {
    let endpoints =
        Endpoints { list: vec![(Address::Path("/nonexistent/x".into()), Peer::Service)], uid: 0, hint: "start it" };
    let error = Manager::connect(endpoints).err().unwrap();
    assert_eq!(
        error.to_string(),
        "cgroup: reach systemd: cgroup: connect to /nonexistent/x: no such file or directory"
    );
    assert_eq!(error.hint(), Some("start it"));
}
