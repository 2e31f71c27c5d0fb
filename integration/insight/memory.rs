//! `memory`: its numbers are those of smaps, and what is shared is what the kernel shares.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use super::{call, cannot_look, command, of_others};
use crate::common::host::Cgroups;
use crate::common::{Bundle, Container, host, lacks, process, time_limit};

/// What is mapped of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bytes {
    rss: u64,
    shared: u64,
    private: u64,
    pss: u64,
    anonymous: u64,
}

/// By file, as smaps has it: read here on its own.
fn smaps(pid: i32) -> BTreeMap<String, Bytes> {
    let text = std::fs::read(format!("/proc/{pid}/smaps")).unwrap();
    let mut files: BTreeMap<String, Bytes> = BTreeMap::new();
    let mut path = String::new();
    for line in String::from_utf8_lossy(&text).lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let Some(name) = words[0].strip_suffix(':') else {
            path = line.get(73..).unwrap_or("").to_owned();
            if path.is_empty() {
                path = "[anon]".to_owned();
            }
            continue;
        };
        let Some(bytes) = words.get(1).and_then(|number| number.parse::<u64>().ok()).map(|kib| kib * 1024) else {
            continue;
        };
        let file = files.entry(path.clone()).or_default();
        match name {
            "Rss" => file.rss += bytes,
            "Pss" => file.pss += bytes,
            "Shared_Clean" | "Shared_Dirty" => file.shared += bytes,
            "Private_Clean" | "Private_Dirty" => file.private += bytes,
            "Anonymous" => file.anonymous += bytes,
            _ => {}
        }
    }
    files
}

fn told(value: &Value) -> Bytes {
    let field = |name: &str| value[name].as_u64().unwrap_or_else(|| panic!("{name}: {value}"));
    Bytes {
        rss: field("rssBytes"),
        shared: field("sharedBytes"),
        private: field("privateBytes"),
        pss: field("pssBytes"),
        anonymous: field("anonymousBytes"),
    }
}

/// A second container below the state root of the first.
struct Neighbour(Container);

impl Neighbour {
    /// Both run the probe, which waits; `args` are those of their `create`. They are paused: nothing of them changes.
    fn start(first: &Container, other: Bundle, args: &[&str]) -> Neighbour {
        let neighbour = Neighbour(other.container());
        let (bundle, id) = (neighbour.0.bundle.dir.to_str().unwrap(), neighbour.0.id.as_str());
        neighbour.call(first, &[&["create", "--bundle", bundle], args, &[id]].concat());
        neighbour.call(first, &["start", id]);
        pause(first, id);
        neighbour
    }

    fn call(&self, first: &Container, args: &[&str]) {
        let root = first.bundle.state_root();
        process::run(self.0.command(&[&["--root", root.to_str().unwrap()], args].concat())).ok();
    }

    fn end(self, first: &Container) {
        self.call(first, &["delete", "--force", &self.0.id]);
    }
}

/// Waits until its program does, and pauses it.
fn pause(first: &Container, id: &str) {
    let pid = first.call(&["state", id]).ok().json()["pid"].as_i64().unwrap();
    let end = std::time::Instant::now() + time_limit();
    // pause(2) on x86_64, ppoll(2) of aarch64's C library.
    let waits = || {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        comm.trim() == "probe" && ["34 ", "73 "].iter().any(|number| call.starts_with(number))
    };
    while !waits() {
        assert!(std::time::Instant::now() < end, "the probe does not wait");
        std::thread::yield_now();
    }
    first.call(&["pause", id]).ok();
}

/// What it gives a file to be compared has an end, by which a busy machine may not be done: that is asked again.
fn look(container: &Container) -> Value {
    let end = std::time::Instant::now() + time_limit();
    loop {
        let value = call(container, &["memory", "--json"]).ok().json();
        if !value["problems"].to_string().contains("not compared") || std::time::Instant::now() > end {
            return value;
        }
    }
}

fn of<'a>(value: &'a Value, id: &str) -> &'a Value {
    let containers = value["containers"].as_array().unwrap();
    containers.iter().find(|one| one["id"] == id).unwrap_or_else(|| panic!("{id}: {value}"))
}

fn file<'a>(one: &'a Value, path: &str) -> &'a Value {
    let files = one["files"].as_array().unwrap();
    files.iter().find(|file| file["path"] == path).unwrap_or_else(|| panic!("{path}: {one}"))
}

/// Each file of the container is as smaps has it, and so is their sum.
#[track_caller]
fn agrees(value: &Value, id: &str) -> BTreeMap<String, Bytes> {
    let one = of(value, id);
    let pid = i32::try_from(one["pid"].as_i64().unwrap()).unwrap();
    let expected = smaps(pid);
    let files: BTreeMap<String, Bytes> = one["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (file["path"].as_str().unwrap().to_owned(), told(file)))
        .collect();
    assert_eq!(files, expected, "{one}");
    let sum = expected.values().fold(Bytes::default(), |sum, file| Bytes {
        rss: sum.rss + file.rss,
        shared: sum.shared + file.shared,
        private: sum.private + file.private,
        pss: sum.pss + file.pss,
        anonymous: sum.anonymous + file.anonymous,
    });
    assert_eq!(told(&one["mapped"]), sum);
    assert_eq!(one["processes"].as_array().unwrap().len(), 1, "{one}");
    assert_eq!((told(&one["processes"][0]), &one["processes"][0]["pid"]), (sum, &json!(pid)));
    assert_eq!((&one["processes"][0]["name"], &one["unreadProcesses"]), (&json!("probe"), &json!(0)));
    expected
}

/// The entries of a list that are of this file.
fn entries<'a>(list: &'a Value, path: &str) -> Vec<&'a Value> {
    list.as_array().unwrap().iter().filter(|entry| entry["path"] == path).collect()
}

/// The experiment of PolyPod's paper: a process in one container, in two over the same files, and in two over copies.
/// What is not seen is not 0.
#[test]
fn processes_that_a_pid_namespace_hides_are_not_read() {
    if cannot_look() || !host::is_root() || lacks(&["pids"]) {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    let command = command(&container, &["memory", "--json"]);
    let value = process::run(process::under(&["unshare", "--pid", "--fork"], &command)).ok().json();
    let one = &value["containers"][0];
    assert_eq!((&one["mapped"], &one["unreadProcesses"]), (&Value::Null, &json!(1)), "{value}");
    assert!(value["problems"][0].as_str().unwrap().contains("cannot be read"), "{value}");
}

#[test]
fn one_file_is_shared_and_copies_are_not() {
    if cannot_look() || lacks(&["freezer"]) {
        return;
    }
    let first = Bundle::idle().container();
    first.up().ok();
    pause(&first, &first.id);
    let alone = look(&first);
    let probe = agrees(&alone, &first.id)["/probe"];
    // A page that two segments of a program begin and end in is mapped twice.
    assert!(probe.shared < 64 << 10 && probe.shared + probe.private == probe.rss, "nobody else has it: {probe:?}");
    assert_eq!((&alone["shared"], &alone["copies"]), (&json!([]), &json!([])), "{alone}");
    assert_eq!(file(of(&alone, &first.id), "/probe")["inContainers"], 1);

    // The same files.
    let same = Bundle::idle().set("/root/path", json!(first.bundle.rootfs()));
    let neighbour = Neighbour::start(&first, same, &[]);
    let two = look(&first);
    let with = agrees(&two, &first.id)["/probe"];
    agrees(&two, &neighbour.0.id);
    assert!(
        with.shared > 10 * probe.shared.max(4096) && with.pss < probe.pss,
        "alone {probe:?}, with another {with:?}"
    );
    let shared = entries(&two["shared"], "/probe");
    assert_eq!(shared.len(), 1, "{two}");
    let mut ids = [first.id.as_str(), &neighbour.0.id];
    ids.sort_unstable();
    assert_eq!((&shared[0]["containers"], &two["copies"]), (&json!(ids), &json!([])), "{two}");
    assert_eq!(file(of(&two, &first.id), "/probe")["inContainers"], 2);
    neighbour.end(&first);

    // Copies of them.
    let neighbour = Neighbour::start(&first, Bundle::idle(), &[]);
    let two = look(&first);
    let pair = [agrees(&two, &first.id), agrees(&two, &neighbour.0.id)].map(|files| files["/probe"]);
    assert_eq!(pair.map(|with| with.shared), [probe.shared; 2], "alone as before");
    assert_eq!(two["shared"].as_array().unwrap().len(), 0, "{two}");
    let sets = two["copies"].as_array().unwrap();
    assert_eq!(sets.len(), 1, "{two}");
    let of_file = pair.map(|probe| probe.pss - probe.anonymous);
    assert_eq!(sets[0]["wouldSaveBytes"].as_u64().unwrap(), of_file.into_iter().min().unwrap(), "{two}");
    assert_eq!(entries(&sets[0]["files"], "/probe").len(), 2, "{two}");
    let digest = process::run({
        let mut command = Command::new("sha256sum");
        command.arg(first.bundle.rootfs().join("probe"));
        command
    });
    assert_eq!(digest.ok().stdout().split(' ').next().unwrap(), sets[0]["sha256"], "{two}");
    let table = call(&first, &["memory", "--format", "table"]).ok().stdout();
    assert!(table.lines().any(|line| line.starts_with("/probe") && line.contains("copies")), "{table}");
    neighbour.end(&first);
    first.call(&["resume", &first.id]).ok();
}

/// Each overlay has a device of its own, and the files below are the same.
#[test]
fn what_two_overlays_have_below_is_one() {
    if cannot_look() || lacks(&["freezer"]) {
        return;
    }
    let first = Bundle::idle().container();
    let bundle = first.bundle.dir.to_str().unwrap();
    first.call(&["create", "--overlay", "tmpfs", "--bundle", bundle, &first.id]).ok();
    first.start().ok();
    pause(&first, &first.id);
    let same = Bundle::idle().set("/root/path", json!(first.bundle.rootfs()));
    let neighbour = Neighbour::start(&first, same, &["--overlay", "tmpfs"]);
    let two = look(&first);
    let probe = agrees(&two, &first.id)["/probe"];
    assert!(probe.shared > 0, "{two}");
    assert_eq!(two["copies"], json!([]), "{two}");
    let shared = entries(&two["shared"], "/probe");
    assert_eq!(shared.len(), 1, "{two}");
    assert_eq!(shared[0]["containers"].as_array().unwrap().len(), 2, "{two}");
    neighbour.end(&first);
    first.call(&["resume", &first.id]).ok();
}

/// What a container may do to the names that are shown, and to its processes.
#[test]
fn names_and_ends_are_the_containers() {
    if cannot_look() || lacks(&["freezer"]) {
        return;
    }
    // Removed when both programs run, which their names say.
    let script = "name=\"$(printf '/tmp/busybox\\033[2J\\n<x>')\"; cp /bin/busybox \"$name\"; cp /bin/busybox /tmp/sleep; \
        \"$name\" sleep 1000 & one=$!; /tmp/sleep 1000 & other=$!; \
        while :; do case \"$(cat /proc/$one/comm)/$(cat /proc/$other/comm)\" in busybox*/sleep) break;; esac; done; \
        rm \"$name\" /tmp/sleep; kill -STOP $other; echo there; while :; do /bin/true; done";
    let container = Bundle::sh(script).mount("tmpfs", "tmpfs", "/tmp", &[]).container();
    let running = container.start_run(&["--keep"]);
    running.wait_for_stdout(|text| text.contains("there"));
    // One that ends all the time, one that is stopped, one whose file has a name that a terminal would obey.
    let value = look(&container);
    let one = of(&value, &container.id);
    assert_eq!((&one["unreadProcesses"], &value["problems"]), (&json!(0), &json!([])), "{value}");
    let paths: Vec<&str> = one["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert!(
        paths.iter().any(|path| path.starts_with("/tmp/busybox\u{1b}[2J\\012") && path.ends_with("(deleted)")),
        "{paths:?}"
    );
    assert!(paths.contains(&"/tmp/sleep (deleted)"), "{paths:?}");
    let svg = container.bundle.dir.join("memory.svg");
    let shown = call(&container, &["memory", "--svg", svg.to_str().unwrap()]).ok().stdout();
    let picture = std::fs::read_to_string(svg).unwrap();
    for text in [shown, picture.clone()] {
        assert!(!text.contains('\u{1b}'), "{text}");
    }
    assert!(!picture.contains("<x>"), "{picture}");
    container.call(&["kill", &container.id, "KILL"]).ok();
    drop(running.wait());
    let value = look(&container);
    let one = of(&value, &container.id);
    assert_eq!(
        (&one["status"], &one["processes"], &one["files"]),
        (&json!("stopped"), &json!([]), &json!([])),
        "{value}"
    );
}

#[test]
fn it_is_drawn_and_chosen() {
    if cannot_look() || lacks(&["memory"]) {
        return;
    }
    let container = Bundle::idle().container();
    container.up().ok();
    // A start is over before the program is begun.
    let comm = format!("/proc/{}/comm", container.pid());
    host::wait_until(|| std::fs::read_to_string(&comm).unwrap() == "probe\n");
    let svg = container.bundle.dir.join("memory.svg");
    let picture = || std::fs::read_to_string(&svg).unwrap();
    let table = call(&container, &["memory", "--plain", "--svg", svg.to_str().unwrap(), &container.id]).ok().stdout();
    assert!(
        table.is_ascii() && table.contains("/probe") && table.lines().nth(1).unwrap().starts_with(&container.id),
        "{table}"
    );
    assert!(picture().starts_with("<svg ") && picture().contains("/probe"), "{}", picture());
    let alone = call(&container, &["memory", "--svg", "-"]).ok().stdout();
    assert!(alone.starts_with("<svg ") && alone.ends_with("</svg>\n"), "{alone}");
    let both = call(&container, &["memory", "--svg", "-", "--json"]).fails();
    assert!(both.contains("cannot have both JSON"), "{both}");
    let none = call(&container, &["memory", "--json", "--filter", "status=paused"]).ok().json();
    assert_eq!(none["containers"], json!([]));
    assert!(call(&container, &["memory", "nobody"]).fails().contains("container does not exist"));
    let value = look(&container);
    let memory = &of(&value, &container.id)["memory"];
    let (name, tmpfs) = match Cgroups::detect() {
        Cgroups::V1 => ("memory.usage_in_bytes", "total_shmem "),
        Cgroups::V2 => ("memory.current", "shmem "),
    };
    assert!(memory["bytes"].as_u64().unwrap() > 0, "{name}: {memory}");
    let stat = container.cgroup_file("memory", "memory.stat");
    let kernels = stat.lines().find_map(|line| line.strip_prefix(tmpfs)).map(|number| number.parse::<u64>().unwrap());
    assert_eq!(memory["tmpfsBytes"].as_u64(), kernels, "{memory}");
}

/// Containers of runc and crun, below their own roots as here.
#[test]
fn memory_of_others_is_read() {
    if cannot_look() || lacks(&["memory", "pids"]) {
        return;
    }
    of_others(Bundle::idle, |runtime, container, pid| {
        let value = look(container);
        let one = of(&value, &container.id);
        assert_eq!((&one["runtime"], &one["processes"][0]["pid"]), (&json!(runtime), &json!(pid)), "{value}");
        assert!(one["mapped"]["rssBytes"].as_u64().unwrap() > 0, "{value}");
    });
}
