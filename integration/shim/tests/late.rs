//! Requests whose time is over: they are answered, and what they had begun ends as if it had failed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use brisk_shim_tests::{Shim, TaskBundle, bundle, context, directory, lives, options_with, program, script, until};
use containerd_shim_protos::api;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::ttrpc::{self, context::Context};

/// The time of a request that is to be late.
fn short() -> Context {
    ttrpc::context::with_timeout(300_000_000)
}

/// A runtime that hangs at a verb, before its work or after it, while the file beside it is there.
fn hangs(dir: &Path, verb: &str, after: bool) -> (Any, PathBuf) {
    let runtime = dir.join(format!("hangs-{}-{verb}", if after { "after" } else { "before" }));
    let flag = runtime.with_extension("flag");
    let (brisk, hang) = (program("BRISK").display().to_string(), "exec sleep 1000");
    let work = if after { format!("{brisk} \"$@\"; {hang}") } else { hang.to_owned() };
    let text = format!(
        "#!/bin/sh\ncase \" $* \" in *' {verb} '*) [ -e {} ] && {{ {work}; }} ;; esac\nexec {brisk} \"$@\"\n",
        flag.display()
    );
    script(&runtime, &text);
    std::fs::write(&flag, "").unwrap();
    (options_with(runtime.to_str().unwrap()), flag)
}

fn create(
    shim: &Shim,
    bundle: &TaskBundle,
    context: Context,
    change: impl FnOnce(&mut api::CreateTaskRequest),
) -> ttrpc::Result<()> {
    let mut request = api::CreateTaskRequest {
        id: bundle.id.clone(),
        bundle: bundle.path.to_str().unwrap().to_owned(),
        options: Some(brisk_shim_tests::options()).into(),
        ..Default::default()
    };
    change(&mut request);
    shim.client.create(context, &request).map(drop)
}

fn kill_and_delete(shim: &Shim, id: &str) {
    shim.kill(id, "", libc::SIGKILL).unwrap();
    shim.wait(id, "").unwrap();
    shim.delete(id, "").unwrap();
}

#[test]
fn of_a_creation_that_is_too_late_nothing_is_left() {
    let dir = directory();
    let bundle = bundle(&dir, "late-create", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    let fifo = bundle.fifo("out");
    let root = |request: &mut api::CreateTaskRequest| {
        let source = bundle.path.join("rootfs").to_str().unwrap().to_owned();
        let options = vec!["rbind".to_owned()];
        request.rootfs = vec![api::Mount { type_: "bind".into(), source, options, ..Default::default() }];
    };
    let (before, _) = hangs(&dir, "create", false);
    let (after, _) = hangs(&dir, "create", true);
    let late: [&dyn Fn(&mut api::CreateTaskRequest); 3] = [
        &|request| request.options = Some(before.clone()).into(),
        &|request| request.options = Some(after.clone()).into(),
        // Nobody reads.
        &|request| request.stdout = fifo.clone(),
    ];
    for (number, change) in late.iter().enumerate() {
        let made = create(&shim, &bundle, short(), |request| {
            root(request);
            change(request);
        });
        assert!(made.is_err());
        // Asked again at once it is made, when nothing is left of the first.
        create(&shim, &bundle, context(), |_| ()).unwrap();
        kill_and_delete(&shim, "late-create");
        let id = || shim.usage().2 == 0 && !Path::new("/run/containerd/runc/brisk-shim-tests/late-create").exists();
        until(&format!("nothing is left of the creation ({number})"), || id().then_some(()));
        let mounted =
            || std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(bundle.path.to_str().unwrap());
        until("the root is unmounted", || (!mounted()).then_some(()));
    }
    shim.shutdown();
}

#[test]
fn a_deletion_that_is_too_late_can_be_asked_for_again() {
    let dir = directory();
    let bundle = bundle(&dir, "late-delete", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    let delete = |context, exec: &str| {
        shim.client.delete(
            context,
            &api::DeleteRequest { id: "late-delete".into(), exec_id: exec.into(), ..Default::default() },
        )
    };
    for after in [false, true] {
        for started in [true, false] {
            let (options, flag) = hangs(&dir, "delete", after);
            create(&shim, &bundle, context(), |request| request.options = Some(options).into()).unwrap();
            if started {
                shim.start_process("late-delete", "").unwrap();
                shim.kill("late-delete", "", libc::SIGKILL).unwrap();
                shim.wait("late-delete", "").unwrap();
            }
            assert!(delete(short(), "").is_err());
            std::fs::remove_file(flag).unwrap();
            assert_eq!(delete(context(), "").unwrap().exit_status, 137, "{after} {started}");
            assert_eq!(shim.usage().2, 0, "a runtime is left");
            // The memory cgroup (v1) went before the container did.
            assert!(shim.events.all().iter().all(|told| told.topic != "/tasks/oom"), "{after} {started}");
        }
    }
    // What is waited for is somebody who has been left with the output.
    create(&shim, &bundle, context(), |_| ()).unwrap();
    shim.start_process("late-delete", "").unwrap();
    let fifo = bundle.fifo("out");
    let _reader = brisk_shim_tests::open_reader(&fifo);
    shim.exec("late-delete", "e", &["sh", "-c", "sleep 1000 & exit 3"], |request| request.stdout = fifo.clone())
        .unwrap();
    shim.start_process("late-delete", "e").unwrap();
    shim.wait("late-delete", "e").unwrap();
    let began = Instant::now();
    assert!(delete(short(), "e").is_err());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // It goes on, and who asks again is told what it came to.
    assert_eq!(delete(context(), "e").unwrap().exit_status, 3);
    kill_and_delete(&shim, "late-delete");
    shim.shutdown();
}

#[test]
fn a_start_that_is_too_late_can_be_asked_for_again() {
    let dir = directory();
    let bundle = bundle(&dir, "late-start", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    let (options, start_flag) = hangs(&dir, "start", false);
    let start = |context, exec: &str| {
        shim.client
            .start(context, &api::StartRequest { id: "late-start".into(), exec_id: exec.into(), ..Default::default() })
    };
    create(&shim, &bundle, context(), |request| request.options = Some(options).into()).unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| start(ttrpc::context::with_timeout(2_000_000_000), ""));
        until("it hangs", || (shim.usage().2 == 2).then_some(()));
        // One that waits for the first, and whose time is over before its turn, does nothing.
        assert!(start(short(), "").is_err());
        assert!(first.join().unwrap().is_err());
    });
    std::fs::remove_file(start_flag).unwrap();
    until("no runtime is left", || (shim.usage().2 == 1).then_some(()));
    assert_eq!(shim.state("late-start", "").unwrap().status.unwrap(), api::Status::CREATED);
    start(context(), "").unwrap();
    kill_and_delete(&shim, "late-start");
    for after in [false, true] {
        let (options, exec_flag) = hangs(&dir, "exec", after);
        create(&shim, &bundle, context(), |request| request.options = Some(options).into()).unwrap();
        start(context(), "").unwrap();
        shim.exec("late-start", "e", &["sh", "-c", "exit 7"], |_| ()).unwrap();
        assert!(start(short(), "e").is_err());
        std::fs::remove_file(exec_flag).unwrap();
        until("nothing of it is left", || (shim.usage().2 == 1).then_some(()));
        start(context(), "e").unwrap();
        assert_eq!(shim.wait("late-start", "e").unwrap(), 7);
        shim.delete("late-start", "e").unwrap();
        kill_and_delete(&shim, "late-start");
    }
    shim.shutdown();
}

#[test]
fn what_was_not_paused_in_time_runs() {
    let dir = directory();
    let bundle = bundle(&dir, "late-pause", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    let (options, flag) = hangs(&dir, "pause", true);
    let pid = shim.create(&bundle, |request| request.options = Some(options).into()).unwrap();
    shim.start_process("late-pause", "").unwrap();
    let request = api::PauseRequest { id: "late-pause".into(), ..Default::default() };
    assert!(shim.client.pause(short(), &request).is_err());
    std::fs::remove_file(flag).unwrap();
    until("it runs", || (shim.state("late-pause", "").unwrap().status.unwrap() == api::Status::RUNNING).then_some(()));
    shim.client.pause(context(), &request).unwrap();
    shim.client.resume(context(), &api::ResumeRequest { id: "late-pause".into(), ..Default::default() }).unwrap();
    kill_and_delete(&shim, "late-pause");
    assert!(!lives(pid.cast_signed()));
    shim.shutdown();
}

/// containerd gives up a creation so: a deletion, and an end that it asks for once.
#[test]
fn a_shim_ends_when_nothing_is_left_of_a_creation_that_was_given_up() {
    for (number, after) in [false, true].into_iter().enumerate() {
        let dir = directory();
        let bundle = bundle(&dir, &format!("late-end{number}"), &["sleep", "1000"]);
        let shim = Shim::start(&dir, &bundle);
        let (options, _) = hangs(&dir, "create", after);
        assert!(create(&shim, &bundle, short(), |request| request.options = Some(options).into()).is_err());
        let ends = shim.connect();
        ends.shutdown(context(), &api::ShutdownRequest::new()).unwrap();
        until("the shim ends", || (!shim.lives()).then_some(()));
        let state = format!("/run/containerd/runc/brisk-shim-tests/{}", bundle.id);
        assert!(!Path::new(&state).exists(), "{state} is left");
        shim.shutdown();
    }
}

/// The same of a deletion, which waits here for the reader of the output.
#[test]
fn a_shim_ends_when_a_deletion_that_was_given_up_is_done() {
    let dir = directory();
    let bundle = bundle(&dir, "late-last", &["echo", "unread"]);
    let shim = Shim::start(&dir, &bundle);
    let fifo = bundle.fifo("out");
    let _reader = brisk_shim_tests::open_reader(&fifo);
    shim.create(&bundle, |request| request.stdout = fifo.clone()).unwrap();
    shim.start_process("late-last", "").unwrap();
    shim.wait("late-last", "").unwrap();
    let delete = api::DeleteRequest { id: "late-last".into(), ..Default::default() };
    assert!(shim.client.delete(short(), &delete).is_err());
    shim.connect().shutdown(context(), &api::ShutdownRequest::new()).unwrap();
    until("the shim ends", || (!shim.lives()).then_some(()));
    shim.events.first("/tasks/delete", |_| true);
    shim.shutdown();
}

/// A runtime that is killed when it has done its work has done it.
#[test]
fn what_was_done_when_its_time_was_over_is_believed() {
    let dir = directory();
    let bundle = bundle(&dir, "late-done", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    let status = || shim.state("late-done", "").unwrap().status.unwrap();
    let (options, flag) = hangs(&dir, "start", true);
    shim.create(&bundle, |request| request.options = Some(options).into()).unwrap();
    let start = api::StartRequest { id: "late-done".into(), ..Default::default() };
    assert!(shim.client.start(short(), &start).is_err());
    shim.events.first("/tasks/start", |_| true);
    assert_eq!(status(), api::Status::RUNNING);
    kill_and_delete(&shim, "late-done");
    std::fs::remove_file(flag).unwrap();

    let (options, flag) = hangs(&dir, "resume", true);
    shim.create(&bundle, |request| request.options = Some(options).into()).unwrap();
    shim.start_process("late-done", "").unwrap();
    let pause = api::PauseRequest { id: "late-done".into(), ..Default::default() };
    let resume = api::ResumeRequest { id: "late-done".into(), ..Default::default() };
    shim.client.pause(context(), &pause).unwrap();
    assert!(shim.client.resume(short(), &resume).is_err());
    shim.events.first("/tasks/resumed", |_| true);
    assert_eq!(status(), api::Status::RUNNING);
    std::fs::remove_file(flag).unwrap();
    shim.client.pause(context(), &pause).unwrap();
    shim.client.resume(context(), &resume).unwrap();
    kill_and_delete(&shim, "late-done");
    shim.shutdown();
}

/// Whenever the time is over: what is answered with an error is not there, and what is there can be told so.
#[test]
fn a_creation_is_made_or_it_is_not() {
    let dir = directory();
    let bundle = bundle(&dir, "late-any", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    for micros in (500..9_000).step_by(170) {
        let made = create(&shim, &bundle, ttrpc::context::with_timeout(micros * 1000), |_| ());
        // The client may give up while the answer is on its way.
        let (deleted, there) = (shim.delete("late-any", ""), made.is_ok());
        assert!(deleted.is_ok() || !there, "{micros} µs: {deleted:?}");
        create(&shim, &bundle, context(), |_| ()).unwrap_or_else(|error| panic!("{micros} µs: {error}"));
        shim.delete("late-any", "").unwrap();
    }
    shim.shutdown();
}

/// mount(8) and what it starts may wait for a server.
#[test]
fn a_root_that_is_not_mounted_in_time_holds_up_nobody() {
    let dir = directory();
    let bundle = bundle(&dir, "late-mount", &["sleep", "1000"]);
    let path = dir.join("path");
    std::fs::create_dir(&path).unwrap();
    // As mount(8) waits for its helper.
    script(&path.join("mount"), "#!/bin/sh\n/bin/sleep 1000\nexit 1\n");
    let mut command = brisk_shim_tests::command(&dir, &bundle.path, "late-mount", "start");
    command.env("PATH", format!("{}:{}", path.display(), std::env::var("PATH").unwrap()));
    let shim = Shim::start_by(&dir, command);
    let root = api::Mount { type_: "fuse.none".into(), source: "none".into(), ..Default::default() };
    std::thread::scope(|scope| {
        let made = scope.spawn(|| create(&shim, &bundle, short(), |request| request.rootfs = vec![root]));
        until("mount(8) waits", || (shim.usage().2 == 1).then_some(()));
        shim.client.connect(context(), &api::ConnectRequest::new()).unwrap();
        assert!(made.join().unwrap().is_err());
    });
    until("mount(8) is gone", || (shim.usage().2 == 0).then_some(()));
    create(&shim, &bundle, context(), |_| ()).unwrap();
    kill_and_delete(&shim, "late-mount");
    shim.shutdown();
}
