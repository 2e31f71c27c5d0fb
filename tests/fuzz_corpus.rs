//! The fuzz targets without a fuzzer: everything in the corpus, and mutations of the fixtures from a fixed seed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use brisk::container::criu::protobuf::{self, FieldValue};
use brisk::dbus::message::MethodCall;
use brisk::dbus::value as dbus;
use serde_json::Value;

use crate::fixture;
use crate::seccomp::{bpf, interpreter};

#[path = "../fuzz/src/targets.rs"]
mod targets;

/// What ends that late does not end: the slowest input takes a quarter of a second in an unoptimised build, and some
/// forty times that where an emulated processor shares a busy machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Mutations of each seed.
const ROUNDS: usize = 25;
/// What all mutations together may take.
const BUDGET: Duration = Duration::from_secs(20);

fn target(name: &str) -> fn(&[u8]) {
    targets::ALL.iter().find(|(known, _)| *known == name).unwrap().1
}

/// For how long this thread has had a processor (proc_pid_schedstat(5)): a clock would say how busy the machine is.
pub fn cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[track_caller]
fn feed(name: &str, data: &[u8], origin: &str) {
    let start = cpu_time();
    target(name)(data);
    let taken = cpu_time() - start;
    assert!(taken < LIMIT, "{name} takes {taken:?}: {origin}")
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

/// The fixtures as input: (target, text).
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds = Vec::new();
    for path in [fixture("engines"), fixture("bench"), fixture("seccomp")].iter().flat_map(|dir| files(dir)) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read(&path).unwrap();
        let target = match name.as_str() {
            _ if path.parent().unwrap().ends_with("seccomp") || name.contains("seccomp") => "seccomp",
            _ if name.ends_with("-process.json") => "process",
            _ if name.ends_with("-resources.json") => "resources",
            _ => "config",
        };
        if target == "config"
            && let Ok(config) = serde_json::from_slice::<Value>(&text)
        {
            seeds.push(("resources", config["linux"]["resources"].to_string().into_bytes()));
            for mount in config["mounts"].as_array().into_iter().flatten() {
                let options = mount["options"].as_array().into_iter().flatten();
                let options: Vec<&str> = options.filter_map(Value::as_str).collect();
                seeds.push(("options", options.join("\n").into_bytes()));
            }
        }
        seeds.push((target, text));
    }
    seeds.push(("state", STATE.as_bytes().to_vec()));
    let mut own = fs::read(std::env::current_exe().unwrap()).unwrap();
    own.truncate(4096);
    let cache = fs::read("/etc/ld.so.cache").unwrap_or_default();
    for program in [own, b"#! /bin/sh -e\n".to_vec(), dynamic(), cache] {
        seeds.push(("program", program));
    }
    for table in ["/etc/passwd", "/proc/self/mountinfo", "/proc/self/cgroup"] {
        seeds.push(("tables", fs::read(table).unwrap()));
    }
    seeds.push((
        "messages",
        protobuf::encode(&[(1, FieldValue::from(3)), (2, FieldValue::Message(vec![(4, true.into())]))]),
    ));
    let call = MethodCall {
        destination: Some("org.freedesktop.systemd1"),
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member: "GetUnit",
        body: vec![dbus::Value::str("brisk.scope")],
    };
    seeds.push(("messages", call.encode(7)));
    seeds.sort();
    seeds.dedup();
    seeds
}

/// As much of an ELF file as says that it has a loader, for both of the machines that have a walker.
fn dynamic() -> Vec<u8> {
    let mut elf = vec![0; 0x80];
    elf[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\x00");
    elf[18] = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    // The table of program headers: where, the size of each, and how many.
    (elf[32], elf[54], elf[56]) = (64, 56, 1);
    // PT_INTERP: where its text is, and how long.
    (elf[64], elf[72], elf[96]) = (3, 0x80, 28);
    elf.extend(b"/lib64/ld-linux-x86-64.so.2\0");
    elf
}

const STATE: &str = r#"{"version":1,"ociVersion":"1.2.0","id":"web1","bundle":"/b","rootfs":"/b/rootfs",
"created":"2026-01-01T00:00:00Z","annotations":{"a":"b"},"bootId":"x","creator":{"pid":1,"startTime":2},
"init":{"pid":3,"startTime":4},"pidNamespace":"own","poststop":false,"resources":null,"cgroup":{"dirs":[]}}"#;

/// Inputs that were once a problem, and those a fuzzer found that reach something new (fuzz/README.md).
#[test]
fn the_corpus_is_survived() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut count = 0;
    for (name, _) in targets::ALL {
        for path in files(&corpus.join(name)) {
            feed(name, &fs::read(&path).unwrap(), &path.display().to_string());
            count += 1;
        }
    }
    assert!(count > 0, "{} is empty", corpus.display());
}

#[test]
fn mutations_of_the_fixtures_are_survived() {
    let end = Instant::now() + BUDGET;
    let mut random = Random(0x5eed_0bad_cafe_f00d);
    let seeds = seeds();
    let mut count = 0;
    for round in 0..ROUNDS {
        for (name, text) in &seeds {
            // Long inputs are slow to plan for every host: one of them in a few.
            if text.len() > 20_000 && !random.below(8).is_multiple_of(8) {
                continue;
            }
            // On a loaded machine the time may be over before each was fed once.
            if round > 0 && Instant::now() > end {
                break;
            }
            let mutated = if round == 0 { text.clone() } else { random.mutate(text) };
            feed(name, &mutated, &String::from_utf8_lossy(&mutated));
            count += 1;
        }
    }
    assert!(count > seeds.len() / 2, "only {count} inputs");
}

/// xorshift64*, so that a failure comes again.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end.max(1)
    }

    /// Mostly another value somewhere in the JSON, sometimes another byte.
    fn mutate(&mut self, text: &[u8]) -> Vec<u8> {
        match serde_json::from_slice::<Value>(text) {
            Ok(mut value) if self.below(8) != 0 => {
                for _ in 0..1 + self.below(4) {
                    self.change(&mut value);
                }
                value.to_string().into_bytes()
            }
            _ => self.bytes(text),
        }
    }

    fn bytes(&mut self, text: &[u8]) -> Vec<u8> {
        let mut bytes = text.to_vec();
        for _ in 0..1 + self.below(6) {
            let at = self.below(bytes.len() + 1);
            let byte = self.next() as u8;
            match self.below(4) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), byte),
                2 if at < bytes.len() => drop(bytes.remove(at)),
                _ if at < bytes.len() => bytes[at] = byte,
                _ => bytes.push(byte),
            }
        }
        bytes
    }

    /// Walks down at random and changes what is there.
    fn change(&mut self, value: &mut Value) {
        let deeper = self.below(5) != 0;
        match value {
            Value::Array(list) if deeper && !list.is_empty() => {
                let at = self.below(list.len());
                match self.below(8) {
                    0 => drop(list.remove(at)),
                    1 => list.push(list[at].clone()),
                    _ => self.change(&mut list[at]),
                }
            }
            Value::Object(map) if deeper && !map.is_empty() => {
                let at = self.below(map.len());
                let key = map.keys().nth(at).unwrap().clone();
                match self.below(12) {
                    0 => drop(map.remove(&key)),
                    1 => drop(map.insert(ODD[self.below(ODD.len())].to_owned(), map[&key].clone())),
                    _ => self.change(map.get_mut(&key).unwrap()),
                }
            }
            Value::String(text) if deeper => self.change_text(text),
            _ => *value = self.value(),
        }
    }

    fn change_text(&mut self, text: &mut String) {
        let odd = ODD[self.below(ODD.len())];
        match self.below(5) {
            0 => *text = odd.to_owned(),
            1 => text.insert_str(0, odd),
            2 => text.push_str(odd),
            3 => drop(text.pop()),
            _ => *text = text.repeat(1 + self.below(300)),
        }
    }

    fn value(&mut self) -> Value {
        match self.below(9) {
            0 => Value::Null,
            1 => Value::Bool(self.below(2) == 0),
            2 => NUMBERS[self.below(NUMBERS.len())].into(),
            3 => u64::MAX.into(),
            4 => 1.5.into(),
            5 => Value::Array(vec![]),
            6 => Value::Object(serde_json::Map::new()),
            7 => (0..100).fold(Value::Null, |inner, _| Value::Array(vec![inner])),
            _ => ODD[self.below(ODD.len())].into(),
        }
    }
}

const NUMBERS: &[i64] =
    &[0, 1, -1, 2, 63, 64, 65, 255, 256, 65_535, 65_536, i32::MAX as i64, u32::MAX as i64, 1 << 32, i64::MAX, i64::MIN];

const ODD: &[&str] = &[
    "",
    "/",
    "//",
    ".",
    "..",
    "../..",
    "/proc",
    "/proc/self/fd/3",
    "/dev",
    "/dev/null",
    "\u{0}",
    "\n",
    "=",
    ":",
    ",",
    ";",
    "é",
    "\u{10ffff}",
    "%s",
    "-1",
    "0",
    "18446744073709551616",
    "0x10",
    "+1",
    " ",
    "rbind",
    "ro",
    "idmap",
    "idmap=",
    "size=",
    "mode=99999",
    "user",
    "pid",
    "SCMP_ACT_NOTIFY",
    "SCMP_ARCH_X32",
    "CAP_ALL",
    "system.slice:a:b",
    "a.slice",
    "0-4095",
    "4294967295",
    "a/../b",
    "max",
    "socketcall",
    "RLIMIT_NOFILE",
];
