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
        let id = || shim.usage().2 == 0 && !Path::new("/run/containerd/runc/brisk-shim-tests/late-create").exists();
        until(&format!("nothing is left of the creation ({number})"), || id().then_some(()));
        let mounted =
            || std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(bundle.path.to_str().unwrap());
        until("the root is unmounted", || (!mounted()).then_some(()));
        // And asked again it is made.
        until("it can be created", || create(&shim, &bundle, context(), |_| ()).ok());
        kill_and_delete(&shim, "late-create");
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
    // It goes on, and who asks again hears of its end.
    let again = delete(context(), "e").unwrap_err().to_string();
    assert!(again.contains("does not exist") || again.contains("already deleted"), "{again}");
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
    until("it can be paused", || shim.client.pause(context(), &request).ok());
    shim.client.resume(context(), &api::ResumeRequest { id: "late-pause".into(), ..Default::default() }).unwrap();
    kill_and_delete(&shim, "late-pause");
    assert!(!lives(pid.cast_signed()));
    shim.shutdown();
}

/// mount(8) and what it starts may wait for a server.
#[test]
fn a_root_that_is_not_mounted_in_time_holds_up_nobody() {
    let dir = directory();
    let bundle = bundle(&dir, "late-mount", &["sleep", "1000"]);
    let path = dir.join("path");
    std::fs::create_dir(&path).unwrap();
    script(&path.join("mount"), "#!/bin/sh\nexec /bin/sleep 1000\n");
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
    until("it can be created", || create(&shim, &bundle, context(), |_| ()).ok());
    kill_and_delete(&shim, "late-mount");
    shim.shutdown();
}
