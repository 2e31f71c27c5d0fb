//! `update --move`: what one container gives another one gets, and at no time do both have more than they had.

use std::cell::Cell;
use std::fs;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::update::{MIB, Pair, memory_file};
use crate::common::host::Cgroups;
use crate::common::{Bundle, Container, brisk_only, host, lacks, process};
use crate::held;

fn skip() -> bool {
    brisk_only("--move") || lacks(&["memory", "pids"])
}

fn limits(pids: u64, mib: u64) -> Value {
    json!({ "pids": { "limit": pids }, "memory": { "limit": mib * MIB } })
}

impl Pair {
    fn command(&self, flags: &[&str], from: &Container, to: &Container) -> Command {
        self.first.command(&[&["update"], flags, &[&from.id, &to.id]].concat())
    }

    fn together(&self) -> (u64, u64) {
        let [first, second] = self.limits();
        (first.0 + second.0, first.1 + second.1)
    }

    /// What the records say that each has.
    fn recorded(&self) -> [(u64, u64); 2] {
        [&self.first, &self.second].map(|container| {
            let read = |path: &std::path::Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
            let record = self.first.record_file();
            let dir = record.parent().unwrap().parent().unwrap().join(&container.id);
            let record = read(&dir.join("state.json"));
            // Until the first update they are those of config.json.
            let config = || read(&dir.join("config.json"))["linux"]["resources"].clone();
            let limits = Some(record["resources"].clone()).filter(Value::is_object).unwrap_or_else(config);
            let limit = |of: &str| limits[of]["limit"].as_u64().unwrap();
            (limit("pids"), limit("memory") / MIB)
        })
    }

    /// What both can come to have: each keeps what it has, or gets what its record says when it is restarted or when a third one moves
    /// something.
    fn at_most(&self) -> (u64, u64) {
        let each = self.limits().into_iter().zip(self.recorded());
        each.fold((0, 0), |sum, (has, noted)| (sum.0 + has.0.max(noted.0), sum.1 + has.1.max(noted.1)))
    }

    fn memory(&self) -> [u64; 2] {
        [&self.first, &self.second].map(|container| {
            let path = self.cgroup("memory").join(&container.id).join(memory_file());
            fs::read_to_string(path).unwrap().trim().parse::<u64>().unwrap() / MIB
        })
    }

    /// The CPU time of each, in thousandths of a CPU.
    fn thousandths(&self) -> [u64; 2] {
        [&self.first, &self.second].map(|container| {
            let read = |file: &str| {
                let text = fs::read_to_string(self.cgroup("cpu").join(&container.id).join(file)).unwrap();
                text.split_ascii_whitespace().map(|word| word.parse::<u64>().unwrap()).collect::<Vec<_>>()
            };
            let [quota, period] = match Cgroups::detect() {
                Cgroups::V1 => [read("cpu.cfs_quota_us")[0], read("cpu.cfs_period_us")[0]],
                Cgroups::V2 => [read("cpu.max")[0], read("cpu.max")[1]],
            };
            assert_eq!(quota * 1000 % period, 0, "{quota} of {period}");
            quota * 1000 / period
        })
    }

    #[track_caller]
    fn moves(&self, flags: &[&str]) -> Value {
        let flags = [&["update"], flags, &[&*self.first.id, &*self.second.id]].concat();
        self.first.call(&flags).ok().json()
    }
}

#[test]
fn what_one_gives_the_other_gets() {
    if skip() {
        return;
    }
    let pair = Pair::new(&limits(60, 128), &limits(40, 64));
    // There is no more than what both have.
    pair.total(100, 192);
    let told = pair.moves(&["--json", "--move", "memory=32m,pids=10"]);
    assert_eq!(pair.limits(), [(50, 96), (50, 96)]);
    assert_eq!(
        (&told["done"], &told["from"], &told["to"]),
        (&json!(true), &json!(pair.first.id), &json!(pair.second.id))
    );
    let [before, after] = [&told["steps"][0], &told["steps"][1]];
    assert_eq!(before["from"], json!({ "memoryBytes": 128 * MIB, "cpus": null, "tasks": 60 }), "{told}");
    assert_eq!(after["to"], json!({ "memoryBytes": 96 * MIB, "cpus": null, "tasks": 50 }), "{told}");
    assert_eq!((&before["together"], before["together"]["tasks"].as_u64()), (&after["together"], Some(100)), "{told}");
    // And back, with others' names first in order.
    pair.first.call(&["update", "--move", "memory=32m,pids=10", &pair.second.id, &pair.first.id]).ok();
    assert_eq!(pair.limits(), [(60, 128), (40, 64)]);
}

#[test]
fn a_dry_run_says_what_would_be_done() {
    if skip() {
        return;
    }
    let pair = Pair::new(&limits(60, 128), &limits(40, 64));
    let flags = ["--move", "memory=64m,pids=7", "--steps", "3"];
    let foretold = pair.moves(&[&["--format", "json", "--dry-run"][..], &flags].concat());
    assert_eq!(pair.limits(), [(60, 128), (40, 64)]);
    assert_eq!(foretold["steps"].as_array().unwrap().len(), 4, "{foretold}");
    assert_eq!(foretold["done"], false);
    let text =
        pair.first.call(&["update", "--dry-run", "--move", "pids=7", &pair.first.id, &pair.second.id]).ok().stdout();
    let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_ascii_whitespace().collect()).collect();
    assert_eq!(words[0], ["STEP", "WHAT", &pair.first.id, &pair.second.id, "TOGETHER"], "{text}");
    assert_eq!(words[1..], [["0", "tasks", "60", "40", "100"], ["1", "tasks", "53", "47", "100"]], "{text}");

    let done = pair.moves(&[&["--format", "json"][..], &flags].concat());
    assert_eq!(done["steps"], foretold["steps"]);
    assert_eq!(pair.limits(), [(53, 64), (47, 128)]);
    // What could not be done is told without being tried.
    let text = pair.first.call(&["update", "--dry-run", "--move", "pids=53", &pair.first.id, &pair.second.id]).fails();
    assert!(text.contains("take 53 tasks from") && text.contains("hint: 52 is the most"), "{text}");
}

/// At each system call that the command makes both limits are looked at: wherever it is killed, that is what is left.
#[test]
fn at_no_time_is_there_more_than_there_was() {
    if skip() {
        return;
    }
    let pair = Pair::new(&limits(60, 128), &limits(40, 64));
    let mut seen = std::collections::BTreeSet::new();
    let mut writes = 0;
    for (from, to) in [(&pair.first, &pair.second), (&pair.second, &pair.first)] {
        let look = |call: &held::Call| {
            writes += usize::from(call.number == libc::SYS_write);
            let together = pair.together();
            assert!(together.0 <= 100 && together.1 <= 192, "{together:?}");
            seen.insert(pair.limits());
            call.number == libc::SYS_exit_group
        };
        let flags = ["--move", "memory=30m,pids=20", "--steps", "2"];
        held::at_call(pair.command(&flags, from, to), look, || {}).ok();
    }
    assert_eq!(pair.limits(), [(60, 128), (40, 64)]);
    // It was looked at while it was done, not only before and after.
    assert!(seen.len() > 8 && writes > 16, "{writes} writes, {seen:?}");
}

/// Killed before each of its writes in turn, and called again: what both have is never more, nor what a third one makes of it.
#[test]
fn a_move_that_is_killed_leaves_no_more() {
    if skip() {
        return;
    }
    let pair = Pair::new(&limits(60, 128), &limits(40, 64));
    let flags = ["--move", "memory=32m,pids=10"];
    let mut halves = std::collections::BTreeSet::new();
    for at in 1.. {
        assert!(at < 60, "it never comes to its end");
        let (pid, writes) = (Cell::new(0), Cell::new(0));
        let wanted = |call: &held::Call| {
            pid.set(call.pid);
            writes.set(writes.get() + usize::from(call.number == libc::SYS_write));
            writes.get() == at || call.number == libc::SYS_exit_group
        };
        // It comes to the end of the call that it is about to make, and no further.
        let end = || {
            let signal = (writes.get() == at).then_some(Signal::SIGTERM);
            kill(Pid::from_raw(pid.get()), signal).unwrap();
        };
        let output = held::at_call(pair.command(&flags, &pair.first, &pair.second), wanted, end);
        let mut within = || {
            let together = pair.together();
            assert!(together.0 <= 100 && together.1 <= 192, "{at}: {together:?}");
            let at_most = pair.at_most();
            assert!(at_most.0 <= 100 && at_most.1 <= 192, "{at}: {at_most:?} of {:?}", pair.recorded());
            halves.insert(pair.recorded());
        };
        within();
        if output.code == 0 {
            assert!(at > 6, "{at} writes");
            // It was killed between the two records, too.
            assert!(halves.contains(&[(50, 96), (40, 64)]), "{halves:?}");
            assert_eq!(pair.limits(), [(50, 96), (50, 96)]);
            break;
        }
        assert_eq!(output.code, 128 + 15, "{output:?}");
        // Once more, and what is still to be done is done; what was lost is not made up for.
        process::run(pair.command(&flags, &pair.first, &pair.second)).ok();
        within();
        assert!(pair.limits()[1] == (50, 96) || pair.limits()[1] == (60, 128), "{at}: {:?}", pair.limits());
        pair.update(&["--force"], &limits(60, 128), &limits(40, 64)).ok();
        assert_eq!(pair.limits(), [(60, 128), (40, 64)]);
    }
}

/// Whoever gets the name of one of them meanwhile is not the one that was meant.
#[test]
fn a_container_that_was_made_again_neither_gives_nor_gets() {
    if skip() {
        return;
    }
    let pair = Pair::new(&limits(60, 128), &limits(40, 64));
    for (replaced, left) in [(&pair.second, [(58, 128), (40, 64)]), (&pair.first, [(60, 128), (42, 64)])] {
        let waits = |call: &held::Call| {
            let polls = call.number == libc::SYS_ppoll || cfg!(target_arch = "x86_64") && call.number == 7;
            polls && pair.limits() == [(58, 128), (42, 64)]
        };
        let replace = || {
            pair.first.call(&["delete", "--force", &replaced.id]).ok();
            pair.first.call(&["create", "--bundle", replaced.bundle.dir.to_str().unwrap(), &replaced.id]).ok();
        };
        let flags = ["--move", "pids=4", "--steps", "2", "--interval", "1ms"];
        let output = held::at_call(pair.command(&flags, &pair.first, &pair.second), waits, replace);
        let text = output.fails();
        assert!(text.contains(&format!("{} is another container", replaced.id)), "{text}");
        assert!(text.contains("hint: 1 of 2 steps were done") && !text.contains("takes them back"), "{text}");
        assert_eq!(pair.limits(), left);
        pair.update(&["--force"], &limits(60, 128), &limits(40, 64)).ok();
    }
}

/// Two that move in opposite directions, as often as they can: each waits for the other, and nothing is lost.
#[test]
fn two_movers_wait_for_each_other() {
    if skip() {
        return;
    }
    let pair = Pair::new(&limits(60, 128), &limits(40, 64));
    pair.total(100, 192);
    let movers: Vec<_> = [(&pair.first, &pair.second), (&pair.second, &pair.first)]
        .into_iter()
        .map(|(from, to)| {
            process::start(pair.command(&["--move", "memory=16m,pids=5", "--steps", "40"], from, to), Stdio::null())
        })
        .collect();
    for mover in movers {
        mover.wait().ok();
    }
    assert_eq!(pair.limits(), [(60, 128), (40, 64)]);
}

#[test]
fn what_cannot_be_moved_is_refused() {
    if skip() {
        return;
    }
    let pair = Pair::new(&limits(60, 128), &json!({ "memory": { "limit": 64 * MIB } }));
    let refused = |flags: &[&str], from: &Container, to: &Container, what: &str, hint: &str| {
        let text = pair.first.call(&[&["update"], flags, &[&*from.id, &*to.id]].concat()).fails();
        assert!(text.contains(what) && text.contains(hint), "{flags:?}: {text}");
    };
    let (first, second) = (&pair.first, &pair.second);
    refused(&["--move", "memory=1g"], first, second, "its limit is 134217728", "hint: 134217727 is the most");
    refused(&["--move", "pids=1"], first, second, "has no limit of it", "brisk update --pids-limit N");
    refused(&["--move", "pids=1"], second, first, "has no limit of it", "brisk update --pids-limit N");
    // As little as a hint of what was done may name.
    refused(&["--move", "cpus=0.00001"], first, second, "has no limit of it", "brisk update --cpu-quota N");
    refused(&["--move", "cpus=0.000001"], first, second, "invalid value", "");
    // Both or none: the memory stays where it is when the tasks cannot be moved.
    refused(&["--move", "memory=1m,pids=1"], first, second, "has no limit of it", "");
    for flags in [
        &["--move", "memory=1m", "--force"][..],
        &["--move", "memory=1m", "--memory", "1g"],
        &["--move", "memory=1m", "--resources", "/dev/null"],
        &["--steps", "2"],
        &["--dry-run", "--memory", "1g"],
        &["--move", "memory=0"],
        &["--move", "memory=1m,memory=2m"],
        &["--move", "tasks=1"],
        &["--move", ""],
        &["--move", "memory=1m", "--steps", "0"],
    ] {
        refused(flags, first, second, "brisk: error: ", "");
    }
    refused(&["--move", "memory=1m"], first, first, "twice", "");
    assert_eq!(pair.memory(), [128, 64]);
}

/// Whoever asks for a table and cannot get it has moved nothing.
#[test]
fn what_cannot_be_told_is_not_moved() {
    if skip() {
        return;
    }
    let pair = Pair::new(&limits(60, 128), &limits(40, 64));
    let command = pair.command(&["--move", "pids=4", "--json"], &pair.first, &pair.second);
    process::run(process::in_shell("exec \"$@\" >&-", &command)).fails();
    assert_eq!(pair.limits(), [(60, 128), (40, 64)]);
}

/// What the first uses cannot be taken from it, whatever else could be.
#[test]
fn what_is_in_use_is_not_taken() {
    if skip() {
        return;
    }
    let busy = "sleep 1000000 & sleep 1000000 & sleep 1000000 & exec sleep 1000000";
    let giver = Bundle::sh(busy).resources("pids", json!({ "limit": 12 })).container();
    let taker = Bundle::idle().resources("pids", json!({ "limit": 2 })).container();
    giver.up();
    host::wait_until(|| giver.cgroup_file("pids", "pids.current") == "4");
    // Both in one state root, which is the giver's.
    giver.call(&["create", "--bundle", taker.bundle.dir.to_str().unwrap(), &taker.id]).ok();
    let limits = || [&giver, &taker].map(|of| of.cgroup_file("pids", "pids.max"));
    let text = giver.call(&["update", "--move", "pids=9", &giver.id, &taker.id]).fails();
    assert!(text.contains("in use is 4") && text.contains("hint: nothing was changed"), "{text}");
    assert_eq!(limits(), ["12", "2"]);
    // What was done before a step that cannot be done stays, and how to go back is said.
    let text = giver.call(&["update", "--move", "pids=9", "--steps", "3", &giver.id, &taker.id]).fails();
    // In the state root that was named.
    let root = giver.bundle.state_root().display().to_string();
    let back = format!(
        "2 of 3 steps were done, and stay; brisk --root {root} update --move pids=6 {} {} takes them back, while both run",
        taker.id, giver.id
    );
    assert!(text.contains("in use is 4") && text.contains(&back), "{text}");
    assert_eq!(limits(), ["6", "8"]);
    giver.call(&["update", "--move", "pids=6", &taker.id, &giver.id]).ok();
    assert_eq!(limits(), ["12", "2"]);
    // As a shell takes it.
    let moved = format!("{root} of two");
    fs::rename(&root, &moved).unwrap();
    let mut again = Command::new(giver.command(&[]).get_program());
    again.args(["--root", &moved, "update", "--move", "pids=9", "--steps", "3", &giver.id, &taker.id]);
    let text = process::run(again).fails();
    let back = back.replace(&root, &format!("'{moved}'"));
    assert!(text.contains(&back), "{text}");
    fs::rename(&moved, &root).unwrap();
    giver.call(&["update", "--move", "pids=6", &taker.id, &giver.id]).ok();
    // A name that looks like a flag.
    let dashed = Bundle::idle().resources("pids", json!({ "limit": 2 })).container();
    giver.call(&["create", "--bundle", dashed.bundle.dir.to_str().unwrap(), "--", "-taker"]).ok();
    let text = giver.call(&["update", "--move", "pids=9", "--steps", "3", "--", &giver.id, "-taker"]).fails();
    assert!(text.contains(&format!("update --move pids=6 -- -taker {} takes them back", giver.id)), "{text}");
    giver.call(&["update", "--move", "pids=6", "--", "-taker", &giver.id]).ok();
    giver.call(&["delete", "--force", "--", "-taker"]).ok();
    // Steps that are too many for the tasks: the first two move none, and there is nothing to take back.
    giver.call(&["update", "--pids-limit", "4", &giver.id]).ok();
    let text = giver.call(&["update", "--move", "pids=1", "--steps", "3", &giver.id, &taker.id]).fails();
    assert!(
        text.contains("hint: 2 of 3 steps were done, which moved nothing") && !text.contains("takes them back"),
        "{text}"
    );
    giver.call(&["delete", "--force", &taker.id]).ok();
}

/// A step waits as long as was asked for, and an answer to a signal is not waited for.
#[test]
fn steps_have_time_between_them() {
    if skip() {
        return;
    }
    let pair = Pair::new(&limits(60, 128), &limits(40, 64));
    let flags = ["--move", "pids=4", "--steps", "2", "--interval", "1h"];
    let mover = process::start(pair.command(&flags, &pair.first, &pair.second), Stdio::null());
    host::wait_until(|| pair.limits()[1].0 == 42);
    // It has no lock while it waits.
    pair.first.call(&["update", "--cpu-share", "100", &pair.first.id]).ok();
    kill(Pid::from_raw(mover.pid()), Signal::SIGTERM).unwrap();
    let output = mover.wait();
    let text = output.stderr();
    assert_eq!(output.code, 128 + 15, "{text}");
    assert!(text.contains("asked to end") && text.contains("1 of 2 steps were done"), "{text}");
    assert_eq!(pair.limits(), [(58, 128), (42, 64)]);
}

/// A migration of users from an old version of a service to a new one, after "Flexible Migration in Blue-Green Deployments within
/// a Fixed Cost" (WOC 2020, doi:10.1145/3429885.3429963): 1750 thousandths of a CPU are all that there is, and the old version has 18
/// users. While some move both versions have to be able to serve them.
struct Scenario {
    name: &'static str,
    /// What a user takes in the old and in the new version.
    each: [u64; 2],
}

const TOTAL: u64 = 1750;
const USERS: u64 = 18;
/// A container has no less.
const LEAST: u64 = 10;

const SCENARIOS: [Scenario; 3] = [
    Scenario { name: "R1 = R2", each: [90, 90] },
    Scenario { name: "R1 > R2", each: [90, 60] },
    Scenario { name: "R1 < R2", each: [60, 90] },
];

impl Scenario {
    /// How many users move in each step: as many as what is free has room for.
    fn steps(&self) -> Vec<u64> {
        let [old, new] = self.each;
        let (mut moved, mut steps) = (0, Vec::new());
        while moved < USERS {
            let free = TOTAL - (USERS - moved) * old - moved * new;
            let users = (free / new).min(USERS - moved);
            assert!(users > 0, "{}: nobody can move", self.name);
            steps.push(users);
            moved += users;
        }
        steps
    }

    /// Its row in docs/JOBS.md.
    fn row(&self) -> String {
        let steps = self.steps();
        let users: Vec<String> = steps.iter().map(u64::to_string).collect();
        let users = if steps.iter().all(|users| *users == 1) { "1 each".to_owned() } else { users.join(", ") };
        let [old, new] = self.each;
        format!("| {} | {old} | {new} | {} | {users} |", self.name, steps.len())
    }
}

#[test]
fn users_migrate_within_a_fixed_total() {
    let documented = include_str!("../../docs/JOBS.md");
    for scenario in &SCENARIOS {
        assert!(documented.contains(&scenario.row()), "docs/JOBS.md has no {}", scenario.row());
    }
    if brisk_only("--move") || lacks(&["cpu"]) {
        return;
    }
    for scenario in SCENARIOS {
        let [each_old, each_new] = scenario.each;
        // The old version has what its users take, and the new one what is left.
        let quota = |thousandths: u64| json!({ "cpu": { "quota": thousandths * 100 } });
        let old = USERS * each_old;
        let pair = Pair::new(&quota(old), &quota(TOTAL - old));
        let mut moved = 0;
        for users in scenario.steps() {
            let [old, new] = pair.thousandths();
            assert_eq!(old + new, TOTAL, "{}", scenario.name);
            // All are served where they are, and those who move where they come to.
            assert!(old >= (USERS - moved) * each_old, "{}: {old} for {}", scenario.name, USERS - moved);
            assert!(new >= (moved + users) * each_new, "{}: {new} for {}", scenario.name, moved + users);
            moved += users;
            // What they have left follows them.
            let left = ((USERS - moved) * each_old).max(LEAST);
            let amount = format!("cpus={}.{:03}", (old - left) / 1000, (old - left) % 1000);
            pair.first.call(&["update", "--move", &amount, &pair.first.id, &pair.second.id]).ok();
        }
        assert_eq!((moved, pair.thousandths()), (USERS, [LEAST, TOTAL - LEAST]), "{}", scenario.name);
    }
}
