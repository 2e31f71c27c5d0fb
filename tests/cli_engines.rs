//! The command lines of engines, and what they are read as.

use brisk::cli::args::{GlobalFlags, PsArgs};
use brisk::cli::log;
use brisk::cli::put::Format;
use brisk::cli::verbs::Request;
use brisk::container::options::{Checkpoint, Create, Criu, Delete, Exec, Kill, ProgramChoice, Restore, Run, Start};
use brisk::plan::cgroup::tolerance::Tolerance;
use brisk::plan::systemd::driver::CgroupDriver;

use super::cli::{one, read, refusal, request, text};

fn created(id: &str) -> Create {
    Create { id: id.into(), bundle: Some("/b".into()), pid_file: Some("/b/init.pid".into()), ..Create::default() }
}

#[test]
fn containerd() {
    let globals = "--root /run/r --log /b/log.json --log-format json";
    let (global, request_) = read(&format!(
        "{globals} --systemd-cgroup --debug --rootless=true create --bundle /b --pid-file /b/init.pid --console-socket /tmp/pty1/pty.sock --no-pivot --no-new-keyring ID"
    ));
    assert_eq!(
        global,
        GlobalFlags {
            root: Some("/run/r".into()),
            log: Some("/b/log.json".into()),
            log_format: log::LogFormat::Json,
            debug: true,
            systemd_cgroup: true,
            tolerance: Tolerance::Everything,
            ..GlobalFlags::default()
        }
    );
    assert_eq!(
        request_,
        Request::Create(Create {
            console_socket: Some("/tmp/pty1/pty.sock".into()),
            no_pivot: true,
            no_new_keyring: true,
            ..created("ID")
        })
    );
    let (global, _) = read(&format!("{globals} start ID"));
    assert_eq!((global.cgroups(), global.tolerance), (CgroupDriver::Files, Tolerance::Auto));
    assert_eq!(
        request(&format!("{globals} start ID")),
        Request::Start(Box::new(Start { id: "ID".into(), ..Start::default() }))
    );
    for (line, force) in [("delete ID", false), ("delete --force ID", true)] {
        let delete = Delete { which: one("ID"), force, trace: None };
        assert_eq!(request(&format!("{globals} {line}")), Request::Delete(delete));
    }
    for (line, all) in [("kill ID 9", false), ("kill --all ID 9", true)] {
        let kill = Kill { which: one("ID"), signal: Some("9".into()), all };
        assert_eq!(request(&format!("{globals} {line}")), Request::Kill(kill));
    }
    assert_eq!(request(&format!("{globals} pause ID")), Request::Pause("ID".into()));
    assert_eq!(request(&format!("{globals} resume ID")), Request::Resume("ID".into()));
    let ps = PsArgs { id: "ID".into(), format: Format::Json, options: vec![] };
    assert_eq!(request(&format!("{globals} ps --format json ID")), Request::Ps(ps));
    let exec = Exec {
        id: "ID".into(),
        program: ProgramChoice { process: Some("/tmp/runc-process1".into()), ..ProgramChoice::default() },
        console_socket: Some("/tmp/s".into()),
        detach: true,
        pid_file: Some("/b/e.pid".into()),
        ..Exec::default()
    };
    let line = "exec --process /tmp/runc-process1 --console-socket /tmp/s --detach --pid-file /b/e.pid ID";
    assert_eq!(request(&format!("{globals} {line}")), Request::Exec(exec));
    for line in ["update --resources=- ID", "update --resources - ID"] {
        let Request::Update(update) = request(&format!("{globals} {line}")) else { panic!("{line}") };
        assert_eq!((update.ids, update.files), (vec!["ID".to_owned()], vec!["-".into()]));
    }
    assert_eq!(request("features"), Request::Features(()));
    assert!(text("--version").starts_with("brisk version "));
}

/// crun's program has one name for it, its manual another.
#[test]
fn a_flag_that_is_in_cruns_manual_alone() {
    assert_eq!(request("restore --ext-unix ID"), request("restore --ext-unix-sk ID"));
}

#[test]
fn containerd_checkpoints() {
    let criu = Criu {
        image_path: Some("/i".into()),
        work_path: Some("/w".into()),
        tcp_established: true,
        ext_unix_sk: true,
        shell_job: true,
        file_locks: true,
        manage_cgroups_mode: Some("soft".into()),
        empty_ns: vec!["network".into()],
        ..Criu::default()
    };
    let flags = "--image-path /i --work-path /w --tcp-established --ext-unix-sk --shell-job --file-locks --manage-cgroups-mode soft --empty-ns network";
    let checkpoint = Checkpoint { id: "ID".into(), criu: criu.clone(), leave_running: true, ..Checkpoint::default() };
    assert_eq!(request(&format!("checkpoint {flags} --leave-running ID")), Request::Checkpoint(checkpoint));
    assert!(matches!(request("checkpointt ID"), Request::Checkpoint(_)), "youki's spelling");
    let restore = Restore {
        id: "ID".into(),
        criu,
        bundle: "/b".into(),
        pid_file: Some("/p".into()),
        console_socket: Some("/s".into()),
        detach: true,
        no_subreaper: true,
        no_pivot: true,
        ..Restore::default()
    };
    let line =
        format!("restore {flags} --bundle /b --pid-file /p --console-socket /s --detach --no-pivot -no-subreaper ID");
    assert_eq!(request(&line), Request::Restore(restore));
    assert!(refusal("checkpoint --manage-cgroups-mode hard ID").contains("soft, full, strict or ignore"));
}

#[test]
fn conmon_and_podman() {
    let (global, create) = read(
        "--log-format=json --log /run/oci-log --root=/r --cgroup-manager disabled create --bundle /b --pid-file /b/init.pid --console-socket /tmp/conmon-term.X --preserve-fds 2 --no-pivot --no-new-keyring ID",
    );
    assert_eq!((global.cgroups(), global.root), (CgroupDriver::Disabled, Some("/r".into())));
    assert_eq!(
        create,
        Request::Create(Create {
            console_socket: Some("/tmp/conmon-term.X".into()),
            preserve_fds: 2,
            no_pivot: true,
            no_new_keyring: true,
            ..created("ID")
        })
    );
    let restore = request("restore --bundle /b --pid-file /p --detach --image-path /i --work-path /w --tcp-close ID");
    let Request::Restore(restore) = restore else { panic!("{restore:?}") };
    assert!(restore.tcp_close && restore.detach);
    let exec = Exec {
        id: "ID".into(),
        pid_file: Some("/p".into()),
        program: ProgramChoice { process: Some("/f".into()), tty: true, ..ProgramChoice::default() },
        detach: true,
        preserve_fds: 1,
        console_socket: Some("/s".into()),
        ..Exec::default()
    };
    let line = "--log-format=json --log /e/oci-log exec --pid-file /p --process /f --detach --tty --console-socket /s --preserve-fds 1 ID";
    assert_eq!(request(line), Request::Exec(exec));
    let Request::Update(update) = request("update --resources=/var/tmp/podman1 ID") else { panic!() };
    assert_eq!(update.files, vec![std::path::PathBuf::from("/var/tmp/podman1")]);
    let line = "checkpoint --image-path /i --work-path /w --pre-dump --parent-path ../p ID";
    let Request::Checkpoint(checkpoint) = request(line) else { panic!() };
    assert_eq!((checkpoint.pre_dump, checkpoint.parent_path), (true, Some("../p".into())));
    assert!(text("checkpoint --help").contains("--tcp-established"), "podman probes this way");
}

#[test]
fn buildah_and_buildkit() {
    assert_eq!(
        request("--systemd-cgroup create --bundle /b --pid-file /b/init.pid --console-socket /s buildah-buildah1"),
        Request::Create(Create { console_socket: Some("/s".into()), ..created("buildah-buildah1") })
    );
    assert_eq!(request("state ID"), Request::State("ID".into()));
    assert_eq!(
        request("kill ID TERM"),
        Request::Kill(Kill { which: one("ID"), signal: Some("TERM".into()), all: false })
    );
    let (_, run) = read("--log /l --log-format json run --bundle /b --no-pivot --keep ID");
    assert_eq!(
        run,
        Request::Run(Box::new(Run {
            create: Create { pid_file: None, no_pivot: true, ..created("ID") },
            keep: true,
            ..Run::default()
        }))
    );
}
