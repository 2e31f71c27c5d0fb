//! Many at once, many in a row: nothing is lost and nothing is left.

use brisk_shim_tests::{Shim, bundle, context, directory, until};
use containerd_shim_protos::api;

/// How many processes are added in a row: a sample, or as many as SOAK says.
fn rounds() -> usize {
    std::env::var("SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

#[test]
fn after_many_processes_the_shim_is_as_it_was() {
    let dir = directory();
    let bundle = bundle(&dir, "many", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("many", "").unwrap();
    let round = |number: usize| {
        let id = format!("e{number}");
        shim.exec("many", &id, &["true"], |_| ()).unwrap();
        shim.start_process("many", &id).unwrap();
        assert_eq!(shim.wait("many", &id).unwrap(), 0);
        shim.delete("many", &id).unwrap();
    };
    (0..20).for_each(round);
    until("events are sent", || (shim.events.all().len() >= 2 + 3 * 20).then_some(()));
    let (fds, threads, children, before) = shim.usage();
    (20..20 + rounds()).for_each(round);
    until("events are sent", || (shim.events.all().len() >= 2 + 3 * (20 + rounds())).then_some(()));
    let (fds_after, threads_after, children_after, after) = shim.usage();
    assert_eq!((fds_after, threads_after, children_after), (fds, threads, children));
    println!("{} processes: {before} kB of anonymous memory before, {after} kB after", rounds());
    // Seven pages are taken once, somewhere in the first thousands: 30,000 processes take as many as 10,000.
    assert!(after <= before + 32, "{before} kB before, {after} kB after");
    shim.kill("many", "", libc::SIGKILL).unwrap();
    shim.wait("many", "").unwrap();
    shim.delete("many", "").unwrap();
    shim.shutdown();
}

/// A request on a container.
type Request = (&'static str, fn(&Shim));

const REQUESTS: [Request; 12] = [
    ("start", |shim| drop(shim.start_process("pair", ""))),
    ("state", |shim| drop(shim.state("pair", ""))),
    ("kill", |shim| drop(shim.kill("pair", "", libc::SIGKILL))),
    ("delete", |shim| drop(shim.delete("pair", ""))),
    ("pause", |shim| {
        drop(shim.client.pause(context(), &api::PauseRequest { id: "pair".into(), ..Default::default() }))
    }),
    ("resume", |shim| {
        drop(shim.client.resume(context(), &api::ResumeRequest { id: "pair".into(), ..Default::default() }))
    }),
    ("exec", |shim| {
        drop(shim.exec("pair", "e", &["true"], |_| ()));
        drop(shim.start_process("pair", "e"));
    }),
    ("exec delete", |shim| drop(shim.delete("pair", "e"))),
    ("pids", |shim| drop(shim.client.pids(context(), &api::PidsRequest { id: "pair".into(), ..Default::default() }))),
    ("stats", |shim| {
        drop(shim.client.stats(context(), &api::StatsRequest { id: "pair".into(), ..Default::default() }))
    }),
    ("close", |shim| {
        drop(
            shim.client
                .close_io(context(), &api::CloseIORequest { id: "pair".into(), stdin: true, ..Default::default() }),
        )
    }),
    ("shutdown", |shim| drop(shim.client.shutdown(context(), &api::ShutdownRequest::new()))),
];

#[test]
fn any_two_requests_at_once_leave_a_shim_that_can_be_cleaned_up() {
    let every = if std::env::var_os("SOAK").is_some() { 1 } else { 5 };
    let pairs = REQUESTS.iter().flat_map(|first| REQUESTS.iter().map(move |second| (first, second)));
    for (first, second) in pairs.step_by(every) {
        let dir = directory();
        let bundle = bundle(&dir, "pair", &["sleep", "1000"]);
        let shim = Shim::start(&dir, &bundle);
        shim.create(&bundle, |_| ()).unwrap();
        if first.0 != "start" && second.0 != "start" {
            shim.start_process("pair", "").unwrap();
        }
        std::thread::scope(|scope| {
            scope.spawn(|| first.1(&shim));
            scope.spawn(|| second.1(&shim));
        });
        let _ = shim.client.resume(context(), &api::ResumeRequest { id: "pair".into(), ..Default::default() });
        if shim.state("pair", "").is_ok() {
            let _ = shim.kill("pair", "", libc::SIGKILL);
            shim.wait("pair", "").unwrap_or_else(|error| panic!("{} and {}: {error}", first.0, second.0));
            let _ = shim.delete("pair", "e");
            shim.delete("pair", "").unwrap_or_else(|error| panic!("{} and {}: {error}", first.0, second.0));
        }
        shim.shutdown();
    }
}

#[test]
fn many_containers_in_one_shim_at_once() {
    let dir = directory();
    let group = |config: &mut serde_json::Value| {
        config["annotations"] = serde_json::json!({ "io.kubernetes.cri.sandbox-id": "crowd" })
    };
    let bundles: Vec<_> = (0..16)
        .map(|number| bundle(&dir, &format!("c{number}"), &["sh", "-c", &format!("exit {number}")]).with(group))
        .collect();
    let shim = Shim::start(&dir, &bundles[0]);
    std::thread::scope(|scope| {
        for (number, bundle) in bundles.iter().enumerate() {
            let shim = &shim;
            scope.spawn(move || {
                assert_eq!(shim.run(bundle), number as u32);
                shim.delete(&bundle.id, "").unwrap();
            });
        }
    });
    assert_eq!(shim.usage().1, 1);
    shim.shutdown();
}

/// Each answer is of its own call, whoever else fails at the time.
#[test]
fn errors_are_not_confused() {
    let dir = directory();
    let bundle = bundle(&dir, "errors", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("errors", "").unwrap();
    for round in 0..5 {
        let names: Vec<String> = (0..8).map(|number| format!("no-{round}-{number}")).collect();
        for name in &names {
            shim.exec("errors", name, &[name], |_| ()).unwrap();
        }
        std::thread::scope(|scope| {
            for name in &names {
                let shim = &shim;
                scope.spawn(move || {
                    let said = shim.start_process("errors", name).unwrap_err().to_string();
                    assert!(said.contains(name.as_str()), "{name}: {said}");
                });
            }
        });
        for name in &names {
            shim.delete("errors", name).unwrap();
        }
    }
    // And the file is where people look for it.
    let log = std::fs::read_to_string(bundle.path.join("log.json")).unwrap();
    assert!(log.contains("no-0-0") && log.contains("no-4-7"), "{log}");
    shim.kill("errors", "", libc::SIGKILL).unwrap();
    shim.wait("errors", "").unwrap();
    shim.delete("errors", "").unwrap();
    shim.shutdown();
}
