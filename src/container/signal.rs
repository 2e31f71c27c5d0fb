//! Names of signals.

use std::str::FromStr;

use nix::sys::signal::Signal;

use crate::error::{Error, Result, Stage};

/// Further names, see signal(7).
const ALIASES: &[(&str, i32)] =
    &[("CLD", libc::SIGCHLD), ("IOT", libc::SIGABRT), ("POLL", libc::SIGIO), ("UNUSED", libc::SIGSYS)];
/// The largest number the kernel knows.
const LAST: i32 = 64;
/// The first of the real time, as whoever uses them counts (systemd stops at `RTMIN+3`): with glibc, and with Go. That of musl, which
/// keeps one more to itself, is another.
const RTMIN: i32 = 34;

/// The number of a signal given as a number, or as a name in any case with or without `SIG`, `RTMIN+n` and
/// `RTMAX-n` among them. 0 only asks whether the process is there, as with kill(2).
pub fn parse(text: &str) -> Result<i32> {
    let unknown = || {
        let name = text.to_ascii_uppercase();
        let error = Error::new(Stage::Args, format!("unknown signal {text:?}"));
        let advice = format!("the shell's `kill -l` lists the names, and a number is 0 to {LAST}");
        error.with_hint(advice).meant(name.strip_prefix("SIG").unwrap_or(&name), names())
    };
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=LAST).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = match name.strip_prefix("RT") {
        Some(real_time) => real_time_signal(real_time),
        None => Signal::from_str(&format!("SIG{name}"))
            .map(|signal| signal as i32)
            .ok()
            .or_else(|| ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, number)| *number)),
    };
    number.ok_or_else(unknown)
}

/// Its name, with `SIG`; those of the real time are counted from the first.
pub fn name(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => signal.as_str().to_owned(),
        Err(_) => format!("SIGRTMIN+{}", number - RTMIN),
    }
}

/// The names of the signals, without `SIG`.
pub fn names() -> impl Iterator<Item = &'static str> {
    Signal::iterator().map(|signal| signal.as_str().trim_start_matches("SIG"))
}

fn real_time_signal(name: &str) -> Option<i32> {
    let (base, offset, sign) = match (name.strip_prefix("MIN"), name.strip_prefix("MAX")) {
        (Some(""), _) => return Some(RTMIN),
        (_, Some("")) => return Some(LAST),
        (Some(rest), _) => (RTMIN, rest.strip_prefix('+')?, 1),
        (_, Some(rest)) => (LAST, rest.strip_prefix('-')?, -1),
        _ => return None,
    };
    let number = base + sign * i32::from(offset.parse::<u8>().ok()?);
    (RTMIN..=LAST).contains(&number).then_some(number)
}
