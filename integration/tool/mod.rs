//! What the measuring and fault-injecting programs share: spawning with exact times, runtimes, a
//! place to run them in, a tracer.
#![allow(dead_code, reason = "several programs include this module and none of them uses all of it")]

pub mod hierarchies;
pub mod lab;
pub mod os;
pub mod process;
pub mod ptrace;
pub mod runtime;
pub mod syscalls;
pub mod trace;

/// These are test tools: any error ends the experiment with its text.
pub type Res<T> = Result<T, Box<dyn std::error::Error>>;

/// A line on standard error.
pub fn say(line: &str) -> std::io::Result<()> {
    use std::io::Write;
    writeln!(std::io::stderr(), "{line}")
}

/// One line for a check, as `integration/all` reads it: what is wrong, if anything. True if nothing is.
pub fn verdict(name: &str, wrong: &[String]) -> std::io::Result<bool> {
    use std::io::Write;
    let mut out = std::io::stdout();
    if wrong.is_empty() {
        writeln!(out, "ok {name}")?;
    } else {
        writeln!(out, "not ok {name}: {}", wrong.join("; "))?;
    }
    Ok(wrong.is_empty())
}
