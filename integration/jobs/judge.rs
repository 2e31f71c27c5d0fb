//! contrib/judge: its verdicts, and what hostile programs and impatient callers can do to it.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use super::ONLY;
use crate::common::{Bundle, Container, Need, brisk_only, host, lacks, process, skip_unless};

/// The judge, and a directory of states for its containers.
struct Judge {
    script: PathBuf,
    programs: PathBuf,
    place: Container,
}

impl Judge {
    /// Where it can be run.
    fn new() -> Option<Judge> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (script, programs) = (here.join("contrib/judge"), here.join("fixtures/judge"));
        let tools = ["/usr/bin/gcc", "/usr/bin/g++", "/usr/bin/python3"].iter().all(|tool| Path::new(tool).exists());
        let can = host::is_root() && script.exists() && tools;
        if brisk_only(ONLY)
            || lacks(&["memory", "pids"])
            || skip_unless(Need::from(can), "root, a checkout, gcc, g++ and python3")
        {
            return None;
        }
        Some(Judge { script, programs, place: Bundle::idle().container() })
    }

    fn of(&self, program: &Path) -> Command {
        let runtime = host::resolve_program(&crate::common::runtime());
        let brisk = format!("{} --root {}", runtime.display(), self.place.bundle.state_root().display());
        let mut command = Command::new(&self.script);
        command.arg(program).arg(self.programs.join("tests")).env("BRISK", brisk);
        command
    }

    /// The name of the container in which the program runs that is judged.
    fn program(&self) -> Option<String> {
        self.containers().into_iter().find(|id| {
            let output = self.place.call(&["state", id]);
            let pid = serde_json::from_str::<Value>(&output.stdout()).ok().and_then(|state| state["pid"].as_i64());
            pid.is_some_and(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "program\n"))
        })
    }

    /// The names of the containers that there are.
    fn containers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.place.bundle.state_root()).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }
}

/// What each program's first line says that it gets.
fn verdict(program: &Path) -> String {
    let text = fs::read_to_string(program).unwrap();
    text.trim_start_matches(['/', '#', ' ']).split(':').next().unwrap().to_owned()
}

/// Forty programs, honest and hostile, and a judge of sixty lines.
#[test]
fn a_judge_is_right() {
    let Some(judge) = Judge::new() else { return };
    assert!(fs::read_to_string(&judge.script).unwrap().lines().count() <= 60);
    let mut todo: Vec<PathBuf> = fs::read_dir(&judge.programs).unwrap().map(|entry| entry.unwrap().path()).collect();
    todo.retain(|path| path.extension().is_some());
    assert_eq!(todo.len(), 40);
    let todo = Mutex::new(todo);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    // Not in the loop's head, where the lock would be held as long as the body runs.
                    let Some(program) = todo.lock().unwrap().pop() else { break };
                    let output = process::run(judge.of(&program));
                    if (output.code, output.stdout().trim()) != (0, &verdict(&program)) {
                        wrong.lock().unwrap().push(format!("{}: {output:?}", program.display()));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(judge.containers().is_empty(), "{:?}", judge.containers());
}

/// What the compiler writes goes to the host's disk, past every limit of the container: a section that takes no room in the
/// source and in the object is zeros in the program.
#[test]
fn a_program_is_not_larger_than_the_judge_allows() {
    let Some(judge) = Judge::new() else { return };
    let large = r#"
__asm__(".section .data.a,\"aw\",@nobits\n.skip 100 << 20\n.section .data.b,\"aw\",@progbits\n.byte 1\n");
"#;
    let program = judge.place.bundle.dir.join("large.c");
    fs::write(&program, fs::read_to_string(judge.programs.join("adds.c")).unwrap() + large).unwrap();
    let output = process::run(judge.of(&program)).ok();
    assert_eq!(output.stdout().trim(), "compile error", "{output:?}");
}

/// It is nobody's fault but his who did it.
#[test]
fn what_somebody_kills_gets_no_verdict() {
    let Some(judge) = Judge::new() else { return };
    let running = process::start(judge.of(&judge.programs.join("sleeps.c")), Stdio::null());
    host::wait_until(|| judge.program().is_some());
    judge.place.call(&["kill", &judge.program().unwrap(), "KILL"]).ok();
    let output = running.wait();
    assert_eq!((output.code, &*output.stdout()), (1, ""), "{output:?}");
    assert!(output.stderr().contains("judge: killed"), "{output:?}");
}

/// Ctrl-C ends the judge, and with it the program, which would else run for ever without limits.
#[test]
fn an_interrupted_judge_leaves_no_program() {
    ended_by(|judge| killpg(judge, Signal::SIGINT));
}

/// So does who loses patience with it, as timeout(1).
#[test]
fn a_judge_that_is_ended_leaves_nothing() {
    // A closed terminal sends SIGHUP.
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        ended_by(|judge| kill(judge, signal));
    }
}

fn ended_by(end: impl Fn(Pid) -> nix::Result<()>) {
    let Some(judge) = Judge::new() else { return };
    let temporary = judge.place.bundle.host_dir("temporary");
    let mut command = judge.of(&judge.programs.join("sleeps.c"));
    command.process_group(0).env("TMPDIR", &temporary);
    let running = process::start(command, Stdio::null());
    host::wait_until(|| judge.program().is_some());
    // The container is gone before its brisk is.
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).unwrap();
    let brisks: Vec<_> =
        children.split_whitespace().map(|pid| process::pidfd_open(pid.parse().unwrap()).unwrap()).collect();
    end(Pid::from_raw(running.pid())).unwrap();
    running.wait().fails();
    assert!(
        !brisks.is_empty()
            && brisks.iter().all(|brisk| process::wait_readable(brisk.as_fd(), crate::common::time_limit()))
    );
    assert!(judge.containers().is_empty());
    assert_eq!(fs::read_dir(temporary).unwrap().count(), 0);
}
