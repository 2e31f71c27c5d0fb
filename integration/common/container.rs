//! A container under test: runs the runtime's commands on it and sees to it that nothing stays behind.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::bundle::Bundle;
use super::plan::Lists;
use super::process::{self, Output, Running};
use super::{host, leftovers, runtime, runtime_name};

/// Deletes the container on drop and panics if the runtime left anything on the host.
pub struct Container {
    pub bundle: Bundle,
    pub id: String,
    /// The runtime, after a program to start it with, if any.
    pub program: Vec<PathBuf>,
    /// Whether the caller says that the annotations are to be followed.
    trusts: bool,
}

impl Bundle {
    /// Writes config.json and hands the bundle to a [`Container`].
    pub fn container(self) -> Container {
        self.write();
        Container::new(self)
    }
}

impl Container {
    pub fn new(bundle: Bundle) -> Self {
        let id = bundle.id.clone();
        Container { bundle, id, program: vec![runtime()], trusts: false }
    }

    /// With the annotations of the bundle followed, as an engine asks for that wrote them itself.
    pub fn trusting(mut self) -> Self {
        self.trusts = true;
        self
    }

    /// The runtime's command line up to and including `args`.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]);
        // A session leader without a terminal, whatever the developer's shell has.
        command.arg("--root").arg(self.bundle.state_root()).args(args).current_dir(&self.bundle.dir);
        command.env_remove("BRISK_TRUST_ANNOTATIONS");
        if self.trusts {
            command.env("BRISK_TRUST_ANNOTATIONS", "all");
        }
        command.env_remove("NOTIFY_SOCKET").env_remove("LISTEN_FDS").env_remove("XDG_RUNTIME_DIR");
        command
    }

    /// Runs the runtime with these arguments, to the end.
    #[track_caller]
    pub fn call(&self, args: &[&str]) -> Output {
        process::run(self.command(args))
    }

    #[track_caller]
    pub fn call_with_input(&self, args: &[&str], input: &str) -> Output {
        process::run_with_input(self.command(args), input)
    }

    /// `VERB [args] --bundle DIR ID` for create and run.
    fn with_bundle<'a>(&'a self, verb: &'a str, args: &[&'a str]) -> Vec<&'a str> {
        let mut all = vec![verb, "--bundle", self.bundle.dir.to_str().unwrap()];
        all.extend(args);
        all.push(&self.id);
        all
    }

    #[track_caller]
    pub fn run(&self) -> Output {
        self.as_planned("run")
    }

    #[track_caller]
    pub fn run_with(&self, args: &[&str]) -> Output {
        self.call(&self.with_bundle("run", args))
    }

    /// Starts `run` in the foreground and does not wait for it.
    #[track_caller]
    pub fn start_run(&self, args: &[&str]) -> Running {
        process::start(self.command(&self.with_bundle("run", args)), Stdio::null())
    }

    #[track_caller]
    pub fn create(&self) -> Output {
        self.as_planned("create")
    }

    /// Carries a verb out and compares what was done with what `brisk plan` said before.
    #[track_caller]
    fn as_planned(&self, verb: &str) -> Output {
        // A guest's processor is emulated, and has the same plans.
        let compares =
            runtime_name() == "brisk" && self.program.len() == 1 && std::env::var_os("BRISK_GUEST").is_none();
        // A run does not wait on the fifo, for which a hook in the container has the runtime wait.
        let waits = verb == "run" && self.bundle.config["hooks"].get("startContainer").is_some();
        let Some(plan) = (compares && !waits).then(|| Lists::planned(self)).flatten() else {
            return self.call(&self.with_bundle(verb, &[]));
        };
        let trace = host::work_dir().join(format!("{}.trace", self.id));
        let output = self.call(&self.with_bundle(verb, &["--trace", trace.to_str().unwrap()]));
        let done = Lists::done(&trace);
        // There is none of a container that could not be made.
        let _ = std::fs::remove_file(trace);
        // Other tests may have changed the host meanwhile: the number of its mounts decides how they are made.
        if let Some(done) = done.filter(|_| Lists::planned(self).as_ref() == Some(&plan)) {
            plan.was_done(&done);
        }
        output
    }

    #[track_caller]
    pub fn create_with(&self, args: &[&str]) -> Output {
        self.call(&self.with_bundle("create", args))
    }

    #[track_caller]
    pub fn start(&self) -> Output {
        self.call(&["start", &self.id])
    }

    /// Create and start.
    #[track_caller]
    pub fn up(&self) -> Output {
        let output = self.create().ok();
        self.start().ok();
        output
    }

    #[track_caller]
    pub fn kill(&self, signal: &str) -> Output {
        self.call(&["kill", &self.id, signal])
    }

    #[track_caller]
    pub fn delete(&self) -> Output {
        self.call(&["delete", &self.id])
    }

    #[track_caller]
    pub fn delete_force(&self) -> Output {
        self.call(&["delete", "--force", &self.id])
    }

    #[track_caller]
    pub fn state(&self) -> Value {
        self.call(&["state", &self.id]).ok().json()
    }

    #[track_caller]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_string()
    }

    #[track_caller]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.state()["pid"].as_i64().unwrap()).unwrap()
    }

    /// What is kept of it between commands.
    pub fn record_file(&self) -> PathBuf {
        self.bundle.state_root().join(&self.id).join("state.json")
    }

    /// The mounts of its first process (proc_pid_mountinfo(5)).
    #[track_caller]
    pub fn mountinfo(&self) -> String {
        std::fs::read_to_string(format!("/proc/{}/mountinfo", self.pid())).unwrap()
    }

    /// `exec [args] ID command…`
    #[track_caller]
    pub fn exec_with(&self, args: &[&str], command: &[&str]) -> Output {
        let mut all = vec!["exec"];
        all.extend(args);
        all.push(&self.id);
        all.extend(command);
        self.call(&all)
    }

    #[track_caller]
    pub fn exec(&self, command: &[&str]) -> Output {
        self.exec_with(&[], command)
    }

    /// Runs the probe inside with `ops` and returns what it printed.
    #[track_caller]
    pub fn exec_probe(&self, ops: &[&str]) -> Value {
        let mut command = vec!["/probe"];
        command.extend(ops);
        self.exec(&command).ok().json()
    }

    /// Kills the container's process and waits until it is gone.
    #[track_caller]
    pub fn stop(&self) {
        let pidfd = process::pidfd_open(self.pid()).unwrap();
        self.kill("KILL").ok();
        use std::os::fd::AsFd;
        assert!(process::wait_readable(pidfd.as_fd(), super::time_limit()), "still alive after SIGKILL");
    }

    /// Starts a created container and waits for the end of its program.
    #[track_caller]
    pub fn start_and_wait(&self) {
        use std::os::fd::AsFd;
        let pidfd = process::pidfd_open(self.pid()).unwrap();
        self.start().ok();
        assert!(process::wait_readable(pidfd.as_fd(), super::time_limit()), "the program does not end");
    }

    /// A file of the container's cgroup.
    pub fn cgroup_file(&self, controller: &str, file: &str) -> String {
        let path = host::cgroup_dir(controller, &self.bundle.cgroup()).join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        text.trim_end().to_string()
    }

    fn state_dir(&self) -> PathBuf {
        self.bundle.state_root().join(&self.id)
    }

    /// What the container left on the host.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found = leftovers::of(&self.bundle.id, &self.bundle.dir);
        // " POINT " is the fifth field of a mountinfo line.
        let own: Vec<String> = self.bundle.own_mounts.iter().map(|p| format!(" {} ", p.display())).collect();
        found.retain(|line| !(line.starts_with("mount: ") && own.iter().any(|point| line.contains(point))));
        if self.state_dir().exists() {
            found.push(format!("state: {}", self.state_dir().display()));
        }
        found
    }

    /// Panics if anything is left, without deleting the container first.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let found = self.leftovers();
        assert!(found.is_empty(), "left behind:\n{}", found.join("\n"));
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // A runtime that hangs once does so again, and a panic while panicking would end all the other tests.
        let delete = std::panic::AssertUnwindSafe(|| process::run(self.command(&["delete", "--force", &self.id])));
        let output = std::panic::catch_unwind(delete);
        let found = self.leftovers();
        leftovers::clean_up(&found);
        if std::thread::panicking() {
            return;
        }
        assert!(found.is_empty(), "left behind after delete --force ({output:?}):\n{}", found.join("\n"));
    }
}

/// The topmost mount on `point` in a probe's report.
#[track_caller]
pub fn mount_at<'a>(report: &'a Value, point: &str) -> &'a Value {
    report["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .rfind(|m| m["point"] == point)
        .unwrap_or_else(|| panic!("nothing is mounted on {point}: {:#}", report["mounts"]))
}

/// True if a list of strings in JSON has `word`.
pub fn has(list: &Value, word: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|item| item == word))
}
