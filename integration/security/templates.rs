//! A template's process has more rights than its program will have, and takes what it is sent: only who may trace it
//! can send it something, and who shares a pid namespace with it may not.

use std::fs;

use serde_json::json;

use super::{ALL_CAPS, with_caps};
use crate::common::{Bundle, Container, brisk_only, host, process, time_limit};

/// A template in the pid namespace of another container, all of whose processes may do everything there but trace.
fn beside(neighbour: &Container, bundle: Bundle) -> Container {
    let container = bundle.join("pid", &format!("/proc/{}/ns/pid", neighbour.pid())).container();
    container.create_with(&["--template"]).ok();
    container
}

#[test]
fn a_neighbour_in_its_pid_namespace_reaches_nothing_of_it() {
    if brisk_only("templates") {
        return;
    }
    for with in [|bundle: Bundle| bundle, Bundle::userns] {
        // With these of the machine it could look into every process that it sees; in a user namespace it has them.
        let looks = ["CAP_SYS_PTRACE", "CAP_PERFMON", "CAP_SYS_ADMIN"];
        let caps: Vec<&str> = ALL_CAPS.iter().copied().filter(|cap| !looks.contains(cap)).collect();
        let mapped = with(Bundle::idle());
        let caps = if mapped.config["linux"]["uidMappings"].is_array() { ALL_CAPS } else { &caps };
        let neighbour = with_caps(mapped, caps).container();
        neighbour.up();
        let bundle = Bundle::idle();
        let container = match neighbour.bundle.config["linux"].get("uidMappings") {
            // The same user namespace, so that nothing but the kernel's rule about who may trace whom is in the way.
            Some(_) => {
                let user = format!("/proc/{}/ns/user", neighbour.pid());
                crate::common::bundle::chown_tree(&bundle.rootfs(), 100_000);
                fs::set_permissions(&bundle.dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
                beside(&neighbour, bundle.join("user", &user))
            }
            None => beside(&neighbour, bundle),
        };
        let status = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
        let inside = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
        let inside = inside.split_whitespace().last().unwrap();
        // Its memory, its socket, its namespaces and its root: all of it asks for the right to trace it.
        let script = format!(
            "kill -0 {inside} && echo seen; for f in mem fd/2 root/etc/passwd ns/mnt environ; do (: < /proc/{inside}/$f) && echo $f; done; exit 0"
        );
        let reached = neighbour.exec(&["/bin/sh", "-c", &script]).ok();
        assert_eq!(reached.stdout(), "seen\n", "{}", reached.stderr());
        let take = format!("take-descriptor:{inside}=1");
        assert_eq!(neighbour.exec_probe(&[&take])[&take]["errno"], json!("EPERM"));
        // It still does what it is for.
        let pidfd = process::pidfd_open(container.pid()).unwrap();
        let started = container.call(&["start", &container.id, "--", "/bin/echo", "mine"]).ok();
        assert!(process::wait_readable(std::os::fd::AsFd::as_fd(&pidfd), time_limit()));
        assert_eq!(started.stdout(), "mine\n");
    }
}

/// Its programs' bounding set, and what it needs to go on; whoever has CAP_SYS_PTRACE may take it over, and nobody else.
#[test]
fn what_waits_has_no_more_rights_than_it_needs() {
    if brisk_only("templates") {
        return;
    }
    let needed = [2, 6, 7, 8, 19];
    let of_machine = [23, 24];
    let bounding = [5, 10, 29];
    let filtered = |own: bool| Bundle::idle().with_docker_seccomp().set("/process/noNewPrivileges", json!(own));
    let cases = [
        (Bundle::idle(), &of_machine[..]),
        (filtered(true), &of_machine),
        (filtered(false), &[21, 23, 24]),
        (Bundle::idle().userns(), &[]),
    ];
    for (bundle, more) in cases {
        let in_userns = bundle.config["linux"]["uidMappings"].is_array();
        let container = bundle.container();
        container.create_with(&["--template"]).ok();
        let status = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
        let wanted = needed.iter().chain(more).chain(&bounding);
        let wanted = wanted.filter(|cap| in_userns || host::has_cap(**cap)).fold(0u64, |mask, cap| mask | 1 << cap);
        for (set, wanted) in [("CapPrm:", wanted), ("CapEff:", wanted), ("CapInh:", 0), ("CapAmb:", 0)] {
            let found = status.lines().find_map(|line| line.strip_prefix(set)).unwrap();
            assert_eq!(u64::from_str_radix(found.trim(), 16).unwrap(), wanted, "{set} {found}");
        }
        let pidfd = process::pidfd_open(container.pid()).unwrap();
        let flags = ["start", "--user", "1000:1000", "--additional-gids", "7", "--cwd", "/tmp", &container.id];
        let done = container.call(&[&flags[..], &["--", "/bin/echo", "mine"]].concat()).ok();
        assert!(process::wait_readable(std::os::fd::AsFd::as_fd(&pidfd), time_limit()));
        assert_eq!(done.stdout(), "mine\n");
    }
}

/// The streams, the directory and the program are those of one `start`: another's are dropped with its message.
#[test]
fn nothing_of_a_start_that_lost_is_in_the_program() {
    if brisk_only("templates") {
        return;
    }
    for _ in 0..6 {
        let container = Bundle::idle().container();
        container.create_with(&["--template"]).ok();
        let pidfd = process::pidfd_open(container.pid()).unwrap();
        let starts: Vec<_> = ["/tmp", "/mnt", "/root"]
            .iter()
            .map(|dir| {
                let script = "pwd; echo $WHO; ls /proc/self/fd | busybox wc -l";
                let who = format!("WHO={dir}");
                let args = ["start", "--cwd", dir, "--env", &who, &container.id, "--", "/bin/sh", "-c", script];
                (*dir, process::start(container.command(&args), std::process::Stdio::null()))
            })
            .collect();
        let done: Vec<_> = starts.into_iter().map(|(dir, start)| (dir, start.wait())).collect();
        assert!(process::wait_readable(std::os::fd::AsFd::as_fd(&pidfd), time_limit()));
        for (dir, start) in &done {
            let text = if start.code == 0 { format!("{dir}\n{dir}\n4\n") } else { String::new() };
            assert_eq!(start.stdout(), text, "{start:?}");
        }
        assert_eq!(done.iter().filter(|(_, start)| start.code == 0).count(), 1);
    }
}
