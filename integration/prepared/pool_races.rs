//! Commands that meet at one pool, some of them ended on the way: none waits for ever, and `delete --force` and `pool delete` leave
//! nothing.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::pools::{bundle, pool};
use crate::common::{brisk_only, host, process, time_limit};

const ROUNDS: u64 = 40;

/// The same numbers in every run (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

#[test]
fn whoever_meets_at_a_pool_and_is_ended_leaves_nothing() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "1");
    let (name, id) = (pool.0.id.clone(), format!("{}-run", pool.0.id));
    let dir = pool.0.bundle.dir.to_str().unwrap();
    let create = ["pool", "create", &name, "--bundle", dir, "--size", "2"];
    let commands: [&[&str]; 8] = [
        &create,
        &["pool", "fill", &name],
        &["pool", "drain", &name],
        &["pool", "delete", &name],
        &["run", "--pool", &name, &id, "--", "/bin/true"],
        &["run", "--detach", "--pool", &name, &id, "--", "/bin/true"],
        &["run", "--pool", &name, "--result", "/dev/null", &id, "--", "/bin/true"],
        &["delete", "--force", &id],
    ];
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for round in 0..ROUNDS {
        process::run(pool.0.command(&create));
        let mut begun = Vec::new();
        for _ in 0..2 + numbers.below(2) {
            let command = numbers.one(&commands);
            begun.push((command, process::start(pool.0.command(command), Stdio::null())));
            spin(numbers.below(8_000));
        }
        // Short waits end by a signal's own action, long ones by what takes it.
        for (_, running) in &begun {
            let signal = numbers.one(&[Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT]);
            spin(numbers.below(20_000));
            if numbers.below(2) == 0 {
                kill(Pid::from_raw(running.pid()), signal).unwrap();
            }
        }
        for (command, running) in begun {
            let ended = process::wait_readable(running.pidfd(), time_limit());
            assert!(ended, "round {round}: {command:?} does not end");
            let output = running.wait();
            assert!(![101, 134].contains(&output.code), "round {round}: {output:?}");
        }
        let left: Vec<String> = pool.0.call(&["list", "--quiet"]).ok().stdout().lines().map(str::to_owned).collect();
        for id in left.iter().chain([&id]) {
            pool.0.call(&["delete", "--force", id]).ok();
        }
        let deleted = pool.does("delete");
        assert!(deleted.code == 0 || deleted.stderr().contains("does not exist"), "round {round}: {deleted:?}");
        host::wait_until(|| pool.0.leftovers().is_empty());
    }
}

/// So many microseconds, too short to sleep.
fn spin(time: u64) {
    let end = Instant::now() + Duration::from_micros(time);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}
