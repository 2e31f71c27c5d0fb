//! The small languages of flag values: numbers, sizes, durations, users; and the limits `update` takes one by
//! one.

use std::str::FromStr;
use std::time::Duration;

use super::args::Given;
use crate::container::options::User;
use crate::error::{Error, Result, Stage};
use crate::spec::resources::{BlockIo, Cpu, Memory, Pids, Resources};

/// A whole number in range.
pub fn number<T: FromStr>(flag: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::new(Stage::Args, format!("--{flag} {text:?}: not a number in range")))
}

/// `UID[:GID]`: digits only, and both fit. Anything else is refused rather than read as far as it goes:
/// `--user app` that silently means root is CVE-2026-30892.
pub fn user(text: &str) -> Result<User> {
    let id = |part: &str| -> Result<u32> {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        // 2^32-1 is "no change" to setresuid(2) and no id.
        match part.parse() {
            Ok(id) if digits && id != u32::MAX => Ok(id),
            _ => Err(Error::new(Stage::Args, format!("--user {text:?}: must be UID or UID:GID in numbers"))),
        }
    };
    match text.split_once(':') {
        Some((uid, gid)) => Ok(User { uid: id(uid)?, gid: Some(id(gid)?) }),
        None => Ok(User { uid: id(text)?, gid: None }),
    }
}

/// 292 years; a date that is further away overflows.
const LONGEST: Duration = Duration::from_nanos(i64::MAX as u64);

/// A duration as Go writes it (`1m30s`, `500ms`, `1.5h`), or whole seconds as youki does. Greater than zero, and no
/// longer than Go's longest.
pub fn interval(text: &str) -> Result<Duration> {
    let error = || Error::new(Stage::Args, format!("--interval {text:?}: must be a duration such as 5s"));
    let seconds = if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse::<f64>().map_err(|_| error())?
    } else {
        go_duration(text).ok_or_else(error)?
    };
    let interval = Duration::try_from_secs_f64(seconds).map_err(|_| error())?;
    if interval.is_zero() || interval > LONGEST { Err(error()) } else { Ok(interval) }
}

fn go_duration(text: &str) -> Option<f64> {
    const UNITS: &[(&str, f64)] =
        &[("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("ns", 1e-9), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, seconds) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        sum += value * seconds;
        rest = &rest[unit.len()..];
    }
    Some(sum)
}

/// Bytes: a number, with a fraction if need be, and `k`, `m`, `g`, `t` or `p`, each 1024 times the one before
/// and each with `b` or `ib` after it if one likes. -1 lifts the limit.
pub fn size(flag: &str, text: &str) -> Result<i64> {
    let error = || Error::new(Stage::Args, format!("--{flag} {text:?}: must be a size such as 512m, or -1"));
    if text == "-1" {
        return Ok(-1);
    }
    let lower = text.to_ascii_lowercase();
    let split = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (value, unit) = lower.split_at(split);
    let unit = unit.trim_start();
    let letter = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
    let power = match (letter, unit) {
        ("", "" | "b") => 0,
        ("k", _) => 1,
        ("m", _) => 2,
        ("g", _) => 3,
        ("t", _) => 4,
        ("p", _) => 5,
        _ => return Err(error()),
    };
    let factor = 1_i64 << (10 * power);
    if let Ok(whole) = value.parse::<i64>() {
        return whole.checked_mul(factor).ok_or_else(error);
    }
    let value: f64 = value.parse().map_err(|_| error())?;
    #[expect(clippy::cast_precision_loss, reason = "powers of two below 2^53")]
    let bytes = value * factor as f64;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be in range; the fraction of a byte is dropped")]
    if (0.0..9.2e18).contains(&bytes) { Ok(bytes as i64) } else { Err(error()) }
}

/// The single flags of `update`.
pub(super) fn resources(given: &Given<'_>) -> Result<Resources> {
    let bytes = |flag: &str| given.text(flag)?.map(|text| size(flag, &text)).transpose();
    let memory = Memory {
        limit: bytes("memory")?,
        reservation: bytes("memory-reservation")?,
        swap: bytes("memory-swap")?,
        kernel: bytes("kernel-memory")?,
        kernel_tcp: bytes("kernel-memory-tcp")?,
        ..Memory::default()
    };
    let cpu = Cpu {
        shares: given.number("cpu-share")?,
        quota: given.number("cpu-quota")?,
        burst: given.number("cpu-burst")?,
        period: given.number("cpu-period")?,
        realtime_runtime: given.number("cpu-rt-runtime")?,
        realtime_period: given.number("cpu-rt-period")?,
        cpus: given.text("cpuset-cpus")?,
        mems: given.text("cpuset-mems")?,
        idle: given.number("cpu-idle")?,
    };
    let block_io = BlockIo { weight: given.number("blkio-weight")?, ..BlockIo::default() };
    let pids = Pids { limit: given.number("pids-limit")? };
    Ok(Resources {
        memory: (memory != Memory::default()).then_some(memory),
        cpu: (cpu != Cpu::default()).then_some(cpu),
        block_io: (block_io != BlockIo::default()).then_some(block_io),
        pids: (pids != Pids::default()).then_some(pids),
        ..Resources::default()
    })
}
