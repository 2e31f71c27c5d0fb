//! What containerd is told, and when.

use std::path::Path;
use std::time::{Duration, Instant};

use brisk_shim_tests::{NAMESPACE, Shim, Told, bundle, directory, until};
use containerd_shim_protos::events::task as task_events;

#[test]
fn each_event_says_what_happened_in_order() {
    let dir = directory();
    let bundle = bundle(&dir, "told", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    let pid = shim.create(&bundle, |request| request.terminal = false).unwrap();
    shim.start_process("told", "").unwrap();
    shim.exec("told", "e", &["sh", "-c", "exit 3"], |_| ()).unwrap();
    let exec = shim.start_process("told", "e").unwrap();
    shim.wait("told", "e").unwrap();
    shim.delete("told", "e").unwrap();
    shim.kill("told", "", libc::SIGTERM).unwrap();
    shim.kill("told", "", libc::SIGKILL).unwrap();
    shim.wait("told", "").unwrap();
    shim.delete("told", "").unwrap();
    shim.events.first("/tasks/delete", |_| true);
    let all = shim.events.all();
    let topics: Vec<&str> = all.iter().map(|told| told.topic.as_str()).collect();
    let wanted = [
        "/tasks/create",
        "/tasks/start",
        "/tasks/exec-added",
        "/tasks/exec-started",
        "/tasks/exit",
        "/tasks/exit",
        "/tasks/delete",
    ];
    assert_eq!(topics, wanted);
    assert!(all.iter().all(|told| told.namespace == NAMESPACE));
    let types: Vec<&str> = all.iter().map(|told| told.event.type_url.as_str()).collect();
    assert_eq!(types[0], "containerd.events.TaskCreate");
    let created: task_events::TaskCreate = all[0].message();
    assert_eq!((created.container_id.as_str(), created.pid), ("told", pid));
    assert_eq!(created.bundle, bundle.path.to_str().unwrap());
    let started: task_events::TaskStart = all[1].message();
    assert_eq!((started.container_id.as_str(), started.pid), ("told", pid));
    let added: task_events::TaskExecAdded = all[2].message();
    assert_eq!((added.container_id.as_str(), added.exec_id.as_str()), ("told", "e"));
    let exec_started: task_events::TaskExecStarted = all[3].message();
    assert_eq!((exec_started.exec_id.as_str(), exec_started.pid), ("e", exec));
    let exec_exit: task_events::TaskExit = all[4].message();
    assert_eq!((exec_exit.id.as_str(), exec_exit.pid, exec_exit.exit_status), ("e", exec, 3));
    let exit: task_events::TaskExit = all[5].message();
    assert_eq!((exit.container_id.as_str(), exit.id.as_str(), exit.pid, exit.exit_status), ("told", "told", pid, 137));
    assert!(exit.exited_at.seconds > 1_700_000_000);
    let deleted: task_events::TaskDelete = all[6].message();
    assert_eq!((deleted.pid, deleted.exit_status), (pid, 137));
    assert_eq!(deleted.exited_at, exit.exited_at);
    shim.shutdown();
}

#[test]
fn the_end_of_the_first_process_is_told_last() {
    let dir = directory();
    let bundle = bundle(&dir, "last", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("last", "").unwrap();
    for number in 0..4 {
        shim.exec("last", &format!("e{number}"), &["sleep", "1000"], |_| ()).unwrap();
        shim.start_process("last", &format!("e{number}")).unwrap();
    }
    shim.kill("last", "", libc::SIGKILL).unwrap();
    shim.wait("last", "").unwrap();
    shim.events.first("/tasks/exit", |told| told.message::<task_events::TaskExit>().id == "last");
    let exits: Vec<String> = shim
        .events
        .all()
        .iter()
        .filter(|told| told.topic == "/tasks/exit")
        .map(|told| told.message::<task_events::TaskExit>().id)
        .collect();
    assert_eq!(exits.len(), 5);
    assert_eq!(exits[4], "last");
    for number in 0..4 {
        shim.delete("last", &format!("e{number}")).unwrap();
    }
    shim.delete("last", "").unwrap();
    shim.shutdown();
}

#[test]
fn a_process_that_ends_at_once_has_started_first() {
    let dir = directory();
    let bundle = bundle(&dir, "quick", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("quick", "").unwrap();
    for number in 0..30 {
        let id = format!("e{number}");
        shim.exec("quick", &id, &["true"], |_| ()).unwrap();
        shim.start_process("quick", &id).unwrap();
        assert_eq!(shim.wait("quick", &id).unwrap(), 0);
        shim.delete("quick", &id).unwrap();
    }
    shim.kill("quick", "", libc::SIGKILL).unwrap();
    shim.wait("quick", "").unwrap();
    shim.delete("quick", "").unwrap();
    shim.events.first("/tasks/delete", |_| true);
    let mut running = false;
    for told in shim.events.all() {
        match told.topic.as_str() {
            "/tasks/exec-started" => running = true,
            "/tasks/exit" => {
                assert!(std::mem::take(&mut running) || told.message::<task_events::TaskExit>().id == "quick")
            }
            _ => {}
        }
    }
    shim.shutdown();
}

/// containerd goes away.
fn goes(shim: &mut Shim, dir: &Path) {
    shim.server.take().unwrap().shutdown();
    std::fs::remove_file(dir.join("c.sock.ttrpc")).unwrap();
}

/// Whom the events of a topic were about, in order.
fn ids(shim: &Shim, topic: &str, id: impl Fn(&Told) -> String) -> Vec<String> {
    shim.events.all().iter().filter(|told| told.topic == topic).map(id).collect()
}

#[test]
fn a_containerd_that_restarts_gets_what_it_missed() {
    let dir = directory();
    let bundle = bundle(&dir, "missed", &["sleep", "1000"]);
    let mut shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("missed", "").unwrap();
    shim.events.first("/tasks/start", |_| true);
    goes(&mut shim, &dir);
    for number in 0..20 {
        shim.exec("missed", &format!("e{number:02}"), &["true"], |_| ()).unwrap();
    }
    shim.server = Some(shim.events.serve(&dir.join("c.sock.ttrpc")));
    shim.events.first("/tasks/exec-added", |told| told.message::<task_events::TaskExecAdded>().exec_id == "e19");
    let added = ids(&shim, "/tasks/exec-added", |told| told.message::<task_events::TaskExecAdded>().exec_id);
    let mut sorted = added.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(added, sorted);
    assert_eq!(added.len(), 20);
    shim.kill("missed", "", libc::SIGKILL).unwrap();
    shim.wait("missed", "").unwrap();
    shim.delete("missed", "").unwrap();
    shim.shutdown();
}

#[test]
fn a_kill_for_want_of_memory_is_told_before_the_end() {
    let dir = directory();
    let bundle = bundle(&dir, "oom", &["sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1"]).with(|config| {
        config["linux"]["resources"] = serde_json::json!({ "memory": { "limit": 8 << 20, "swap": 8 << 20 } });
    });
    let shim = Shim::start(&dir, &bundle);
    if let Err(error) = shim.create(&bundle, |_| ()) {
        let text = error.to_string();
        assert!(text.contains("swap") || text.contains("memsw"), "{text}");
        // Without swap accounting the limit of memory alone has to do.
        let mut config = bundle.config();
        config["linux"]["resources"]["memory"].as_object_mut().unwrap().remove("swap");
        bundle.set_config(&config);
        shim.create(&bundle, |_| ()).unwrap();
    }
    shim.start_process("oom", "").unwrap();
    shim.wait("oom", "").unwrap();
    let oom = shim.events.first("/tasks/oom", |_| true);
    assert_eq!(oom.message::<task_events::TaskOOM>().container_id, "oom");
    let topics: Vec<String> = shim.events.all().into_iter().map(|told| told.topic).collect();
    let at = |topic: &str| topics.iter().position(|other| other == topic);
    until("the end is told", || shim.events.all().iter().any(|told| told.topic == "/tasks/exit").then_some(()));
    assert!(at("/tasks/oom") < at("/tasks/exit") || at("/tasks/exit").is_none());
    shim.delete("oom", "").unwrap();
    shim.shutdown();
}

#[test]
fn an_end_is_told_at_once() {
    // What is measured is from kill(2) to containerd's having the event, both in this process. The machine may be busy, so that
    // the best of some has to show that nothing in the shim waits.
    let dir = directory();
    let bundle = bundle(&dir, "fast", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("fast", "").unwrap();
    let mut times = Vec::new();
    for number in 0..20 {
        let id = format!("e{number}");
        shim.exec("fast", &id, &["sleep", "1000"], |_| ()).unwrap();
        let pid = shim.start_process("fast", &id).unwrap();
        let began = Instant::now();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), nix::sys::signal::SIGKILL).unwrap();
        let told = shim.events.first("/tasks/exit", |told| told.message::<task_events::TaskExit>().id == id);
        times.push(told.at - began);
        shim.delete("fast", &id).unwrap();
    }
    times.sort();
    println!("from kill to the event: best {:?}, median {:?}", times[0], times[times.len() / 2]);
    assert!(times[0] < Duration::from_millis(5), "{times:?}");
    shim.kill("fast", "", libc::SIGKILL).unwrap();
    shim.wait("fast", "").unwrap();
    shim.delete("fast", "").unwrap();
    shim.shutdown();
}

/// A containerd that stays away for long loses events, and the log says how many; of the ends none, as long as there is anything else.
#[test]
fn of_too_many_events_the_ends_are_kept() {
    let dir = directory();
    let bundle = bundle(&dir, "crowd", &["sleep", "1000"]);
    let log = std::path::PathBuf::from(bundle.fifo("log"));
    let mut log = brisk_shim_tests::open_reader(log.to_str().unwrap());
    let mut shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("crowd", "").unwrap();
    shim.events.first("/tasks/start", |_| true);
    goes(&mut shim, &dir);
    let ended = |id: &str| {
        shim.exec("crowd", id, &["true"], |_| ()).unwrap();
        shim.start_process("crowd", id).unwrap();
        shim.wait("crowd", id).unwrap();
        shim.delete("crowd", id).unwrap();
    };
    ended("first");
    ended("second");
    for number in 0..2200 {
        let id = format!("e{number}");
        shim.exec("crowd", &id, &["true"], |_| ()).unwrap();
        shim.delete("crowd", &id).unwrap();
    }
    shim.server = Some(shim.events.serve(&dir.join("c.sock.ttrpc")));
    shim.events.first("/tasks/exec-added", |told| told.message::<task_events::TaskExecAdded>().exec_id == "e2199");
    let ends = ids(&shim, "/tasks/exit", |told| told.message::<task_events::TaskExit>().id);
    assert_eq!(ends, ["first", "second"]);
    let mut text = vec![0; 65536];
    let count = std::io::Read::read(&mut log, &mut text).unwrap();
    let text = String::from_utf8_lossy(&text[..count]);
    let about: Vec<&str> = text.lines().filter(|line| line.contains("event")).collect();
    // That they cannot be sent, that some are lost, and how many were.
    assert_eq!(about.len(), 3, "{text}");
    assert!(about[2].contains("were lost"), "{text}");
    shim.kill("crowd", "", libc::SIGKILL).unwrap();
    shim.wait("crowd", "").unwrap();
    shim.delete("crowd", "").unwrap();
    shim.shutdown();
}

/// The shim waits for containerd to take the last events; another container of its group may come meanwhile.
#[test]
fn a_container_that_comes_while_the_shim_ends_keeps_it() {
    let dir = directory();
    let bundle = bundle(&dir, "comes", &["sleep", "1000"]);
    let log = bundle.fifo("log");
    let mut log = std::io::BufReader::new(brisk_shim_tests::open_reader(&log));
    let mut shim = Shim::start(&dir, &bundle);
    goes(&mut shim, &dir);
    shim.create(&bundle, |_| ()).unwrap();
    shim.delete("comes", "").unwrap();
    shim.client.shutdown(brisk_shim_tests::context(), &Default::default()).unwrap();
    shim.create(&bundle, |_| ()).unwrap();
    let mut line = String::new();
    while !line.contains("the last events are lost") {
        line.clear();
        std::io::BufRead::read_line(&mut log, &mut line).unwrap();
    }
    shim.state("comes", "").unwrap();
    shim.kill("comes", "", libc::SIGKILL).unwrap();
    assert_eq!(shim.wait("comes", "").unwrap(), 137);
    shim.delete("comes", "").unwrap();
    shim.server = Some(shim.events.serve(&dir.join("c.sock.ttrpc")));
    shim.shutdown();
}
