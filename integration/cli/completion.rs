//! Completions in the shells that they are for: what is offered, and at a prompt.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{Bundle, Container, Need, brisk_only, host, process, runtime, skip_unless};

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

fn is_there(shell: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {shell}")]).output().unwrap().status.success();
    !skip_unless(Need::from(found), &format!("{shell} is not installed (integration/install-deps tests)"))
}

/// The script of a shell, and a directory with a `brisk` that notes how it is called.
struct Shell<'c> {
    name: &'static str,
    container: &'c Container,
    script: PathBuf,
    bin: PathBuf,
}

impl<'c> Shell<'c> {
    fn new(name: &'static str, container: &'c Container) -> Self {
        let dir = &container.bundle.dir;
        let script = dir.join(format!("completion.{name}"));
        std::fs::write(&script, container.call(&["completion", name]).ok().stdout()).unwrap();
        let bin = dir.join(format!("bin-{name}"));
        std::fs::create_dir(&bin).unwrap();
        let brisk = host::resolve_program(&runtime());
        let text = format!("#!/bin/sh\necho \"$*\" >> {}/calls\nexec {} \"$@\"\n", bin.display(), brisk.display());
        container.bundle.script(&format!("bin-{name}/brisk"), &text);
        Shell { name, container, script, bin }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.bin.display())).env("TERM", "dumb");
        command.env("HOME", &self.bin).env("ZDOTDIR", &self.bin).env_remove("XDG_CONFIG_HOME");
        command.current_dir(&self.container.bundle.dir);
        command
    }

    /// What the shell offers at the end of a line.
    fn offers(&self, line: &str) -> Vec<String> {
        let script = self.script.display();
        let words: Vec<&str> = line.split(' ').collect();
        let quoted = |words: &[&str]| words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let mut command = self.command(self.name);
        match self.name {
            // Words as readline parts them.
            "bash" => {
                let parted = line.replace('=', " = ");
                let parted: Vec<&str> = parted.split(' ').collect();
                command.args(["--norc", "-c", &format!(
                    "source {script}; COMP_WORDS=({}); COMP_CWORD={}; _brisk 2>/dev/null; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
                    quoted(&parted),
                    parted.len() - 1
                )]);
            }
            // What the completion system would be given.
            "zsh" => {
                command.args([
                    "-f",
                    "-c",
                    &format!(
                    "compdef() {{ : }}; compset() {{ : }}; _files() {{ ls }}; compadd() {{ shift; print -l -- \"$@\" }}
                    source {script}; words=({}); CURRENT={}; _brisk",
                    quoted(&words),
                    words.len()
                ),
                ]);
            }
            _ => {
                command.args(["-c", &format!("source {script}; complete -C '{line}'")]);
            }
        }
        let out = process::run(command);
        let text = out.stdout();
        let last = words.last().unwrap().rsplit('=').next().unwrap();
        let flag = words.last().unwrap().strip_suffix(last).unwrap_or_default();
        let list = text.lines().map(|line| line.split('\t').next().unwrap().trim_end_matches('/'));
        list.map(|word| word.strip_prefix(flag).unwrap_or(word).to_owned())
            .filter(|word| !word.is_empty() && word.starts_with(last))
            .collect()
    }
}

#[test]
fn every_shell_offers_what_fits() {
    if brisk_only("its own completions") {
        return;
    }
    let container = Bundle::idle().container();
    container.create().ok();
    let (id, root) = (container.id.clone(), container.bundle.state_root());
    let root = root.to_str().unwrap();
    let bundle = container.bundle.dir.to_str().unwrap();
    container.call(&["pool", "create", "--size", "0", "--bundle", bundle, "pool-1"]).ok();
    for name in SHELLS.into_iter().filter(|shell| is_there(shell)) {
        let shell = Shell::new(name, &container);
        let is = |line: &str, wanted: &[&str]| {
            let mut found = shell.offers(line);
            found.sort_unstable();
            found.dedup();
            assert_eq!(found, wanted, "{name}: {line}");
        };
        is("brisk st", &["start", "state", "stats"]);
        is("brisk --log-format ", &["json", "text"]);
        is("brisk --log-format json st", &["start", "state", "stats"]);
        is("brisk --log-level=d", &["debug"]);
        is("brisk list --format p", &["pid"]);
        is("brisk list --format j", &["json"]);
        is("brisk list -f j", &["json"]);
        is("brisk list --format=t", &["table"]);
        is("brisk completion ", &["bash", "fish", "zsh"]);
        is("brisk mounts a", &["add"]);
        is("brisk help ru", &["run"]);
        is("brisk run --det", &["--detach"]);
        is("brisk exec --cap CAP_SYS_PT", &["CAP_SYS_PTRACE"]);
        is("brisk check roo", &["rootfs"]);
        is("brisk run --network ho", &["host"]);
        is("brisk run --network ", &["host", "none", "ns:"]);
        is("brisk run --seccomp doc", &["docker"]);
        is("brisk run --seccomp conf", &["config.json"]);
        is("brisk run --overlay tmp", &["tmpfs"]);
        is("brisk run --overlay roo", &["rootfs"]);
        is("brisk spec --with ns", &["nss"]);
        is(&format!("brisk --root {root} run --pool "), &["pool-1"]);
        is(&format!("brisk --root {root} pool fill "), &["pool-1"]);
        is(&format!("brisk --root {root} start "), &[&id]);
        is(&format!("brisk --root={root} state "), &[&id]);
        is(&format!("brisk --root {root} kill {id} USR"), &["USR1", "USR2"]);
        is(&format!("brisk --root {root} update {id} --memory 1m "), &[&id]);
        // A name that is not there yet.
        is(&format!("brisk --root {root} create "), &[]);
    }
    container.call(&["pool", "delete", "pool-1"]).ok();
}

#[test]
fn tab_completes_at_a_prompt() {
    if brisk_only("its own completions") || !is_there("script") {
        return;
    }
    let container = Bundle::idle().container();
    for name in SHELLS.into_iter().filter(|shell| is_there(shell)) {
        let shell = Shell::new(name, &container);
        let source = shell.script.display();
        let rc = |file: &str, text: &str| std::fs::write(shell.bin.join(file), text).unwrap();
        let line = match name {
            "bash" => {
                rc("rc", &format!("PS1='READY> '\nsource {source}\n"));
                format!("bash --rcfile {}/rc -i", shell.bin.display())
            }
            "zsh" => {
                // As it is installed: a file of the function's name in a directory that compinit looks into.
                std::fs::copy(&shell.script, shell.bin.join("_brisk")).unwrap();
                rc(
                    ".zshrc",
                    "PS1='READY> '\nunsetopt zle_bracketed_paste\nfpath=($ZDOTDIR $fpath)\nautoload -Uz compinit\ncompinit -u -D\n",
                );
                "zsh -i".to_owned()
            }
            _ => {
                rc(
                    "rc",
                    &format!("function fish_prompt; echo 'READY> '; end\nset -g fish_greeting\nsource {source}\n"),
                );
                format!("fish -i -C 'source {}/rc'", shell.bin.display())
            }
        };
        let mut command = shell.command("script");
        command.args(["-qefc", &line, "/dev/null"]);
        let (keys, mut hand) = std::io::pipe().unwrap();
        let running = process::start(command, Stdio::from(keys));
        running.wait_for_stdout(|text| text.contains("READY> "));
        hand.write_all(b"brisk comple\tba\t\n").unwrap();
        let calls = shell.bin.join("calls");
        host::wait_until(|| lines(&calls).contains(&"completion bash".to_owned()));
        hand.write_all(b"exit\n").unwrap();
        drop(hand);
        running.wait();
    }
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}
