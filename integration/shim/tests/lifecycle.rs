//! Every request, its answer and the events it makes, in the crate's types.

use brisk_shim_tests::{
    SOON, Shim, bundle, command, context, directory, lives, options, options_with, program, script, start_address,
};
use containerd_shim_protos::protobuf::{Message, MessageField};
use containerd_shim_protos::ttrpc::{Code, Error};
use containerd_shim_protos::{api, cgroups, cgroups_v2, events::task as task_events, shim::oci};

use std::fs;
use std::os::unix::fs::PermissionsExt;

pub fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> Code {
    match result.unwrap_err() {
        Error::RpcStatus(status) => status.code(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_container_lives_and_dies() {
    let dir = directory();
    let bundle = bundle(&dir, "one", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    let pid = shim.create(&bundle, |_| ()).unwrap();
    assert!(lives(pid.cast_signed()));
    let state = shim.state("one", "").unwrap();
    assert_eq!((state.id.as_str(), state.pid, state.status.unwrap()), ("one", pid, api::Status::CREATED));
    assert_eq!(state.bundle, bundle.path.to_str().unwrap());
    assert_eq!(shim.start_process("one", "").unwrap(), pid);
    assert_eq!(shim.state("one", "").unwrap().status.unwrap(), api::Status::RUNNING);
    let connect =
        shim.client.connect(context(), &api::ConnectRequest { id: "one".into(), ..Default::default() }).unwrap();
    assert_eq!((connect.task_pid, connect.shim_pid), (pid, shim.pid.cast_unsigned()));
    shim.kill("one", "", libc::SIGKILL).unwrap();
    assert_eq!(shim.wait("one", "").unwrap(), 137);
    let state = shim.state("one", "").unwrap();
    assert_eq!((state.status.unwrap(), state.exit_status), (api::Status::STOPPED, 137));
    let deleted = shim.delete("one", "").unwrap();
    assert_eq!((deleted.pid, deleted.exit_status), (pid, 137));
    assert_eq!(deleted.exited_at.seconds, state.exited_at.seconds);
    assert_eq!(code(shim.state("one", "")), Code::NOT_FOUND);
    shim.events.first("/tasks/delete", |_| true);
    let topics: Vec<String> = shim.events.all().into_iter().map(|told| told.topic).collect();
    assert_eq!(topics, ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]);
    shim.shutdown();
}

#[test]
fn what_cannot_be_done_now_is_refused_with_containerds_codes() {
    let dir = directory();
    let bundle = bundle(&dir, "refuse", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    assert_eq!(code(shim.start_process("refuse", "")), Code::NOT_FOUND);
    shim.create(&bundle, |_| ()).unwrap();
    assert_eq!(code(shim.create(&bundle, |_| ())), Code::ALREADY_EXISTS);
    assert_eq!(code(shim.start_process("refuse", "nobody")), Code::NOT_FOUND);
    shim.start_process("refuse", "").unwrap();
    let message = shim.start_process("refuse", "").unwrap_err().to_string();
    assert!(message.contains("cannot start a running process"), "{message}");
    let message = shim.delete("refuse", "").unwrap_err().to_string();
    assert!(message.contains("cannot delete a running process"), "{message}");
    let message = shim.client.resume(context(), &api::ResumeRequest { id: "refuse".into(), ..Default::default() });
    assert!(message.unwrap_err().to_string().contains("cannot resume a running process"));
    for bad in ["", "../x", "a/b", ".x"] {
        assert_eq!(code(shim.exec("refuse", bad, &["true"], |_| ())), Code::INVALID_ARGUMENT, "{bad:?}");
    }
    shim.exec("refuse", "e", &["true"], |_| ()).unwrap();
    assert_eq!(code(shim.exec("refuse", "e", &["true"], |_| ())), Code::ALREADY_EXISTS);
    assert_eq!(code(shim.kill("refuse", "e", 9)), Code::FAILED_PRECONDITION);
    shim.kill("refuse", "", libc::SIGKILL).unwrap();
    shim.wait("refuse", "").unwrap();
    assert_eq!(code(shim.start_process("refuse", "e")), Code::FAILED_PRECONDITION);
    assert_eq!(code(shim.kill("refuse", "", 9)), Code::NOT_FOUND);
    shim.delete("refuse", "e").unwrap();
    shim.delete("refuse", "").unwrap();
    shim.shutdown();
}

#[test]
fn a_runtime_that_is_not_there_is_named() {
    let dir = directory();
    let bundle = bundle(&dir, "none", &["true"]);
    let shim = Shim::start(&dir, &bundle);
    for (runtime, words) in [
        ("no-runtime", "exec: \"no-runtime\": executable file not found in $PATH"),
        ("/no/runtime", "exec: \"/no/runtime\": No such file or directory"),
    ] {
        let made = shim.create(&bundle, |request| request.options = Some(options_with(runtime)).into());
        let Err(Error::RpcStatus(status)) = made else { panic!("{made:?}") };
        assert!(status.message.contains(words), "{}", status.message);
    }
    shim.shutdown();
}

/// The shim reads its signals, which are blocked in it; a runtime in which they are hands that on to the container.
#[test]
fn no_signal_is_blocked_in_a_runtime() {
    let dir = directory();
    let bundle = bundle(&dir, "mask", &["true"]);
    let (runtime, masks) = (dir.join("runtime"), dir.join("masks"));
    let brisk = program("BRISK");
    script(
        &runtime,
        // A shell would begin with a mask of its own.
        &format!(
            "#!/usr/bin/perl\nopen I, '/proc/self/status'; open O, '>>', '{}'; print O grep /SigBlk/, <I>; close O; exec '{}', @ARGV;\n",
            masks.display(),
            brisk.display()
        ),
    );
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |request| request.options = Some(options_with(runtime.to_str().unwrap())).into()).unwrap();
    shim.start_process("mask", "").unwrap();
    assert_eq!(shim.wait("mask", "").unwrap(), 0);
    shim.delete("mask", "").unwrap();
    shim.shutdown();
    assert_eq!(fs::read_to_string(&masks).unwrap(), "SigBlk:\t0000000000000000\n".repeat(3), "create, start, delete");
}

/// containerd's own client test for its issue 10589 wants the first half.
#[test]
fn a_process_that_cannot_be_started_stays_created() {
    let dir = directory();
    let bundle = bundle(&dir, "again", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("again", "").unwrap();
    for name in ["e", "never"] {
        shim.exec("again", name, &["/later"], |_| ()).unwrap();
        assert!(shim.start_process("again", name).is_err());
        let state = shim.state("again", name).unwrap();
        assert_eq!((state.status.value(), state.exit_status), (1, 0), "created");
        // Nobody has to wait for what does not run, whether he asked before or after.
        assert_eq!(shim.wait("again", name).unwrap(), 0);
    }
    let later = bundle.path.join("rootfs/later");
    fs::write(&later, "#!/bin/sh\nexit 3\n").unwrap();
    fs::set_permissions(&later, fs::Permissions::from_mode(0o755)).unwrap();
    shim.start_process("again", "e").unwrap();
    assert_eq!(shim.wait("again", "e").unwrap(), 3);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let request = api::WaitRequest { id: "again".into(), exec_id: "never".into(), ..Default::default() };
            shim.client.wait(context(), &request)
        });
        assert_eq!(shim.delete("again", "never").unwrap().exit_status, 0);
        // It ends with the process that never was, unless it came after that.
        match waits.join().unwrap() {
            Ok(response) => assert_eq!(response.exit_status, 0),
            Err(error) => assert_eq!(code(Err::<(), _>(error)), Code::NOT_FOUND),
        }
    });
    shim.kill("again", "", libc::SIGKILL).unwrap();
    shim.wait("again", "").unwrap();
    shim.delete("again", "e").unwrap();
    shim.delete("again", "").unwrap();
    shim.shutdown();
}

#[test]
fn processes_are_added_listed_and_counted() {
    let dir = directory();
    let bundle = bundle(&dir, "exec", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    let init = shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("exec", "").unwrap();
    shim.exec("exec", "e1", &["sleep", "1000"], |_| ()).unwrap();
    assert_eq!(shim.state("exec", "e1").unwrap().status.unwrap(), api::Status::CREATED);
    let pid = shim.start_process("exec", "e1").unwrap();
    assert_eq!(shim.state("exec", "e1").unwrap().status.unwrap(), api::Status::RUNNING);
    let listed = shim.client.pids(context(), &api::PidsRequest { id: "exec".into(), ..Default::default() }).unwrap();
    let mut found: Vec<(u32, String)> = Vec::new();
    for info in &listed.processes {
        let exec = info.info.as_ref().map(|any| {
            assert_eq!(any.type_url, "containerd.runc.v1.ProcessDetails");
            oci::ProcessDetails::parse_from_bytes(&any.value).unwrap().exec_id
        });
        found.push((info.pid, exec.unwrap_or_default()));
    }
    found.sort();
    let mut wanted = vec![(init, String::new()), (pid, "e1".to_owned())];
    wanted.sort();
    assert_eq!(found, wanted);
    shim.exec("exec", "e2", &["sh", "-c", "exit 42"], |_| ()).unwrap();
    shim.start_process("exec", "e2").unwrap();
    assert_eq!(shim.wait("exec", "e2").unwrap(), 42);
    assert_eq!(shim.delete("exec", "e2").unwrap().exit_status, 42);
    shim.exec("exec", "e3", &["no-such-program"], |_| ()).unwrap();
    let message = shim.start_process("exec", "e3").unwrap_err().to_string();
    assert!(message.contains("executable file not found"), "{message}");
    shim.delete("exec", "e3").unwrap();
    shim.kill("exec", "e1", libc::SIGTERM).unwrap();
    assert_eq!(shim.wait("exec", "e1").unwrap(), 143);
    shim.kill("exec", "", libc::SIGKILL).unwrap();
    shim.wait("exec", "").unwrap();
    shim.delete("exec", "e1").unwrap();
    shim.delete("exec", "").unwrap();
    assert!(!bundle.path.join("e1.pid").exists());
    shim.shutdown();
}

#[test]
fn statistics_are_containerds_messages() {
    let dir = directory();
    let bundle = bundle(&dir, "stats", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("stats", "").unwrap();
    let stats = shim.client.stats(context(), &api::StatsRequest { id: "stats".into(), ..Default::default() }).unwrap();
    let any = stats.stats.unwrap();
    let (pids, memory) = match any.type_url.as_str() {
        "io.containerd.cgroups.v1.Metrics" => {
            let metrics = cgroups::metrics::Metrics::parse_from_bytes(&any.value).unwrap();
            assert!(metrics.cpu.usage.total > 0);
            assert!(!metrics.cpu.usage.per_cpu.is_empty());
            (metrics.pids.current, metrics.memory.usage.usage)
        }
        "io.containerd.cgroups.v2.Metrics" => {
            let metrics = cgroups_v2::metrics::Metrics::parse_from_bytes(&any.value).unwrap();
            assert!(metrics.cpu.usage_usec > 0);
            (metrics.pids.current, metrics.memory.usage)
        }
        other => panic!("{other}"),
    };
    assert_eq!(pids, 1);
    assert!(memory > 0 && memory < 64 << 20, "{memory}");
    shim.kill("stats", "", libc::SIGKILL).unwrap();
    shim.wait("stats", "").unwrap();
    shim.delete("stats", "").unwrap();
    shim.shutdown();
}

#[test]
fn paused_resumed_updated() {
    let dir = directory();
    let bundle = bundle(&dir, "pause", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("pause", "").unwrap();
    shim.client.pause(context(), &api::PauseRequest { id: "pause".into(), ..Default::default() }).unwrap();
    assert_eq!(shim.state("pause", "").unwrap().status.unwrap(), api::Status::PAUSED);
    let exec = shim.exec("pause", "e", &["true"], |_| ()).unwrap_err().to_string();
    assert!(exec.contains("cannot exec in a paused state"), "{exec}");
    shim.client.resume(context(), &api::ResumeRequest { id: "pause".into(), ..Default::default() }).unwrap();
    let resources = brisk_shim_tests::any(
        "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources",
        br#"{"pids":{"limit":77}}"#.to_vec(),
    );
    let request =
        api::UpdateTaskRequest { id: "pause".into(), resources: MessageField::some(resources), ..Default::default() };
    shim.client.update(context(), &request).unwrap();
    let stats = shim.client.stats(context(), &api::StatsRequest { id: "pause".into(), ..Default::default() }).unwrap();
    let any = stats.stats.unwrap();
    let limit = if any.type_url.contains(".v1.") {
        cgroups::metrics::Metrics::parse_from_bytes(&any.value).unwrap().pids.limit
    } else {
        cgroups_v2::metrics::Metrics::parse_from_bytes(&any.value).unwrap().pids.limit
    };
    assert_eq!(limit, 77);
    // Paused, killed and dead: the runtime thaws it, or nothing of it could end.
    shim.client.pause(context(), &api::PauseRequest { id: "pause".into(), ..Default::default() }).unwrap();
    shim.kill("pause", "", libc::SIGKILL).unwrap();
    assert_eq!(shim.wait("pause", "").unwrap(), 137);
    shim.delete("pause", "").unwrap();
    for topic in ["/tasks/paused", "/tasks/resumed"] {
        shim.events.first(topic, |_| true);
    }
    shim.shutdown();
}

#[test]
fn a_pod_shares_one_shim() {
    let dir = directory();
    let group = |config: &mut serde_json::Value| {
        config["annotations"] = serde_json::json!({ "io.kubernetes.cri.sandbox-id": "pod" })
    };
    let first = bundle(&dir, "pause-container", &["sleep", "1000"]).with(group);
    let shim = Shim::start(&dir, &first);
    shim.create(&first, |_| ()).unwrap();
    shim.start_process(&first.id, "").unwrap();
    let others: Vec<_> =
        (0..5).map(|number| bundle(&dir, &format!("c{number}"), &["sleep", "1000"]).with(group)).collect();
    let (_, _, _, before) = shim.usage();
    for other in &others {
        assert_eq!(start_address(&dir, other), shim.address);
        shim.create(other, |_| ()).unwrap();
        shim.start_process(&other.id, "").unwrap();
    }
    let (_, threads, children, after) = shim.usage();
    assert_eq!((threads, children), (1, 6));
    assert!(after <= before + 5 * 100, "{before} kB of anonymous memory with one container, {after} kB with six");
    // Not while there are containers.
    shim.client.shutdown(context(), &api::ShutdownRequest::new()).unwrap();
    assert!(shim.state("c0", "").is_ok());
    for bundle in others.iter().chain([&first]) {
        shim.kill(&bundle.id, "", libc::SIGKILL).unwrap();
        shim.wait(&bundle.id, "").unwrap();
        shim.delete(&bundle.id, "").unwrap();
    }
    shim.shutdown();
}

#[test]
fn the_new_way_to_start_is_answered_in_kind() {
    use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult, Extension};
    use std::io::Write;
    let dir = directory();
    let bundle = bundle(&dir, "params", &["true"]);
    let sockets = dir.join("sockets");
    let params = BootstrapParams {
        instance_id: "params".into(),
        namespace: brisk_shim_tests::NAMESPACE.into(),
        containerd_ttrpc_address: dir.join("c.sock.ttrpc").to_str().unwrap().into(),
        socket_dir: Some(sockets.to_str().unwrap().into()),
        extensions: vec![Extension { value: MessageField::some(options()), ..Default::default() }],
        ..Default::default()
    };
    let mut command = command(&dir, &bundle.path, "params", "start");
    let mut child = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&params.write_to_bytes().unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    let result = BootstrapResult::parse_from_bytes(&output.stdout).unwrap();
    assert_eq!((result.version, result.protocol.as_str()), (3, "ttrpc"));
    assert!(result.address.starts_with(&format!("unix://{}/", sockets.display())), "{}", result.address);
    let client =
        containerd_shim_protos::TaskClient::new(containerd_shim_protos::Client::connect(&result.address).unwrap());
    client.shutdown(context(), &api::ShutdownRequest::new()).unwrap();
}

#[test]
fn info_says_what_the_runtime_can() {
    use std::io::Write;
    let mut child = std::process::Command::new(program("SHIM"))
        .arg("-info")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&options().write_to_bytes().unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let info = containerd_shim_protos::types::introspection::RuntimeInfo::parse_from_bytes(&output.stdout).unwrap();
    assert_eq!(info.name, "io.containerd.brisk.v2");
    assert_eq!(info.options.unwrap(), options());
    let features: serde_json::Value = serde_json::from_slice(&info.features.unwrap().value).unwrap();
    assert!(features["hooks"].is_array());
    assert!(!info.version.version.is_empty());
}

#[test]
fn the_end_of_a_container_without_its_own_pids_is_the_end_of_all() {
    let dir = directory();
    let bundle = bundle(&dir, "shared", &["sh", "-c", "sleep 1000 & echo $! >/tmp/pid; sleep 1000"]);
    let bundle = bundle.with(|config| {
        config["linux"]["namespaces"] = serde_json::json!([{ "type": "mount" }]);
    });
    let shim = Shim::start(&dir, &bundle);
    let pid = shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("shared", "").unwrap();
    let file = bundle.path.join("rootfs/tmp/pid");
    let other: i32 =
        brisk_shim_tests::until("the second process", || std::fs::read_to_string(&file).ok()?.trim().parse().ok());
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.cast_signed()), nix::sys::signal::SIGKILL).unwrap();
    assert_eq!(shim.wait("shared", "").unwrap(), 137);
    brisk_shim_tests::until("the other process ends", || (!lives(other)).then_some(()));
    shim.delete("shared", "").unwrap();
    // Whatever was left to the shim has been reaped.
    brisk_shim_tests::until("no children are left", || (shim.usage().2 == 0).then_some(()));
    shim.shutdown();
}

#[test]
fn rootfs_mounts_are_made_and_taken_away() {
    let dir = directory();
    let bundle = bundle(&dir, "mounts", &["cat", "/added"]);
    let (lower, upper, work) = (dir.join("lower"), dir.join("upper"), dir.join("work"));
    std::fs::rename(bundle.path.join("rootfs"), &lower).unwrap();
    for made in [&upper, &work] {
        std::fs::create_dir(made).unwrap();
    }
    std::fs::write(upper.join("added"), "").unwrap();
    let shim = Shim::start(&dir, &bundle);
    let overlay = api::Mount {
        type_: "overlay".into(),
        source: "overlay".into(),
        options: vec![
            format!("lowerdir={}", lower.display()),
            format!("upperdir={}", upper.display()),
            format!("workdir={}", work.display()),
        ],
        ..Default::default()
    };
    let mounted = || std::fs::read_to_string("/proc/self/mountinfo").unwrap().contains(bundle.path.to_str().unwrap());
    let broken =
        api::Mount { type_: "bind".into(), source: "/no/such".into(), target: "/x".into(), ..Default::default() };
    let failed = shim.create(&bundle, |request| request.rootfs = vec![overlay.clone(), broken]);
    assert!(failed.unwrap_err().to_string().contains("/no/such"));
    assert!(!mounted());
    shim.create(&bundle, |request| request.rootfs = vec![overlay.clone()]).unwrap();
    assert!(mounted());
    let told: task_events::TaskCreate = shim.events.first("/tasks/create", |_| true).message();
    assert_eq!(told.rootfs, [overlay]);
    shim.start_process("mounts", "").unwrap();
    assert_eq!(shim.wait("mounts", "").unwrap(), 0);
    shim.delete("mounts", "").unwrap();
    assert!(!mounted());
    shim.shutdown();
}

#[test]
fn a_wait_ends_with_its_time() {
    let dir = directory();
    let bundle = bundle(&dir, "late", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    let began = std::time::Instant::now();
    let request = api::WaitRequest { id: "late".into(), ..Default::default() };
    let context = containerd_shim_protos::ttrpc::context::with_timeout(50_000_000);
    assert!(shim.client.wait(context, &request).is_err());
    assert!(began.elapsed() < SOON);
    shim.kill("late", "", libc::SIGKILL).unwrap();
    shim.wait("late", "").unwrap();
    shim.delete("late", "").unwrap();
    shim.shutdown();
}

/// What was added and never started ends with the container, for those who wait for it.
#[test]
fn a_wait_for_what_can_no_longer_be_started_ends() {
    let dir = directory();
    let bundle = bundle(&dir, "unstarted", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("unstarted", "").unwrap();
    shim.exec("unstarted", "e", &["true"], |_| ()).unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| shim.wait("unstarted", "e"));
        shim.kill("unstarted", "", libc::SIGKILL).unwrap();
        assert_eq!(shim.wait("unstarted", "").unwrap(), 137);
        assert_eq!(waits.join().unwrap().unwrap(), 0);
    });
    assert_eq!(shim.delete("unstarted", "e").unwrap().exit_status, 0);
    shim.delete("unstarted", "").unwrap();
    shim.shutdown();
}

#[test]
fn what_is_deleted_before_its_start_has_been_killed() {
    let dir = directory();
    let bundle = bundle(&dir, "unused", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    let pid = shim.create(&bundle, |_| ()).unwrap();
    let deleted = shim.delete("unused", "").unwrap();
    assert_eq!((deleted.pid, deleted.exit_status), (pid, 137));
    assert!(deleted.exited_at.seconds > 1_700_000_000);
    assert!(!lives(pid.cast_signed()));
    let told: task_events::TaskDelete = shim.events.first("/tasks/delete", |_| true).message();
    assert_eq!((told.container_id.as_str(), told.pid, told.exit_status), ("unused", pid, 137));
    assert_eq!(told.exited_at.seconds, deleted.exited_at.seconds);
    let topics: Vec<String> = shim.events.all().into_iter().map(|told| told.topic).collect();
    assert_eq!(topics, ["/tasks/create", "/tasks/exit", "/tasks/delete"]);
    shim.shutdown();
}

/// Whatever has kept it from starting: the runtime, or afterwards its streams.
#[test]
fn a_process_whose_streams_fail_may_be_started_again() {
    let dir = directory();
    let bundle = bundle(&dir, "streams", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |_| ()).unwrap();
    shim.start_process("streams", "").unwrap();
    let file = dir.join("later/out");
    fs::write(dir.join("later"), "").unwrap();
    shim.exec("streams", "e", &["sh", "-c", "echo word; exit 3"], |request| {
        request.stdout = format!("file://{}", file.display());
    })
    .unwrap();
    for _ in 0..2 {
        assert!(shim.start_process("streams", "e").is_err());
        let state = shim.state("streams", "e").unwrap();
        assert_eq!((state.status.unwrap(), state.exit_status, state.pid), (api::Status::CREATED, 0, 0));
        assert_eq!(shim.wait("streams", "e").unwrap(), 0);
    }
    fs::remove_file(dir.join("later")).unwrap();
    shim.start_process("streams", "e").unwrap();
    assert_eq!(shim.wait("streams", "e").unwrap(), 3);
    assert_eq!(shim.delete("streams", "e").unwrap().exit_status, 3);
    assert_eq!(fs::read_to_string(&file).unwrap(), "word\n");
    shim.kill("streams", "", libc::SIGKILL).unwrap();
    shim.wait("streams", "").unwrap();
    shim.delete("streams", "").unwrap();
    shim.shutdown();
}

#[test]
fn a_bundle_is_one_containers() {
    let dir = directory();
    let bundle = bundle(&dir, "first", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    let image = dir.join("image");
    fs::rename(bundle.path.join("rootfs"), &image).unwrap();
    let root = api::Mount {
        type_: "bind".into(),
        source: image.to_str().unwrap().into(),
        options: vec!["rbind".into()],
        ..Default::default()
    };
    let rootfs = bundle.path.join("rootfs/bin/busybox");
    shim.create(&bundle, |request| request.rootfs = vec![root.clone()]).unwrap();
    let other = {
        let bundle = brisk_shim_tests::bundle(&dir, "other", &["true"]);
        Shim::start(&dir, &bundle)
    };
    std::os::unix::fs::symlink(&bundle.path, dir.join("alias")).unwrap();
    let options = fs::read(bundle.path.join("options.json")).unwrap();
    for (shim, path) in [(&shim, &bundle.path), (&shim, &dir.join("alias")), (&other, &bundle.path)] {
        let second = brisk_shim_tests::TaskBundle { id: "second".into(), path: path.clone() };
        for (runtime, mounts) in [("/no/runtime", vec![root.clone()]), ("/no/runtime", Vec::new())] {
            let made = shim.create(&second, |request| {
                request.rootfs = mounts;
                request.options = Some(options_with(runtime)).into();
            });
            assert_eq!(code(made), Code::FAILED_PRECONDITION);
            assert!(rootfs.exists(), "the root of the first is unmounted");
        }
    }
    assert_eq!(fs::read(bundle.path.join("options.json")).unwrap(), options);
    other.shutdown();
    shim.kill("first", "", libc::SIGKILL).unwrap();
    shim.wait("first", "").unwrap();
    shim.delete("first", "").unwrap();
    assert!(!rootfs.exists());
    // Then it is free, also of one that could not be made.
    let second = brisk_shim_tests::TaskBundle { id: "second".into(), path: bundle.path.clone() };
    assert!(shim.create(&second, |request| request.options = Some(options_with("/no/runtime")).into()).is_err());
    shim.create(&second, |request| request.rootfs = vec![root.clone()]).unwrap();
    shim.kill("second", "", libc::SIGKILL).unwrap();
    shim.wait("second", "").unwrap();
    shim.delete("second", "").unwrap();
    shim.shutdown();
}

#[test]
fn a_restore_that_fails_may_be_asked_for_again_and_its_wait_ends() {
    let dir = directory();
    let bundle = bundle(&dir, "restore", &["sleep", "1000"]);
    let shim = Shim::start(&dir, &bundle);
    shim.create(&bundle, |request| request.checkpoint = dir.join("no-checkpoint").to_str().unwrap().into()).unwrap();
    let failed = || shim.start_process("restore", "").unwrap_err().to_string();
    assert_eq!(failed(), failed());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| shim.wait("restore", ""));
        assert_eq!(shim.delete("restore", "").unwrap().exit_status, 0);
        // It ends with the container, unless it came after that.
        match waits.join().unwrap() {
            Ok(status) => assert_eq!(status, 0),
            Err(error) => assert_eq!(code(Err::<(), _>(error)), Code::NOT_FOUND),
        }
    });
    shim.shutdown();
}
