//! `linux.netDevices`: which devices of the host move into the container, and what they are called there.
//!
//! Pure; runs in the parent. Whether a device exists, and which number a template gets, is found out by `launch`.

use crate::error::{Error, Result, Stage};
use crate::plan::input::Input;
use crate::plan::namespace::NamespaceKind;
use crate::plan::step::Step;

/// IFNAMSIZ without the terminating NUL.
const NAME_MAX: usize = 15;

/// Where a name is used.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Host,
    Inside,
}

/// One step for each device.
pub(in crate::plan) fn plan(input: &Input<'_>) -> Result<Vec<Step>> {
    let devices = input.spec.linux.iter().flat_map(|linux| &linux.net_devices).collect::<Vec<_>>();
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    let refuse = |why: &str| Err(Error::of_field(Stage::Bundle, "linux.netDevices", format!("linux.netDevices {why}")));
    if input.options.joined_own & NamespaceKind::Network.flag() != 0 {
        return refuse("needs a network namespace other than the host's");
    }
    if input.host.uid != 0 {
        return refuse("takes devices from the host, which an ordinary user may not");
    }
    let mut inside: Vec<&str> = Vec::with_capacity(devices.len());
    let mut steps = Vec::with_capacity(devices.len());
    for (name, device) in devices {
        check(name, Side::Host).map_err(|why| invalid(name, "", name, &why))?;
        let new = device.name.as_deref().filter(|new| !new.is_empty()).unwrap_or(name);
        check(new, Side::Inside).map_err(|why| invalid(name, ".name", new, &why))?;
        if inside.contains(&new) && !new.contains('%') {
            return refuse(&format!("names two devices {new}"));
        }
        inside.push(new);
        steps.push(Step::MoveNetDevice(name.clone(), new.to_owned()));
    }
    Ok(steps)
}

fn invalid(device: &str, field: &str, name: &str, why: &str) -> Error {
    let field = format!("linux.netDevices.{device}{field}");
    Error::of_field(Stage::Bundle, field, format!("linux.netDevices: device name {name:?} {why}"))
}

/// What the kernel takes as a name (dev_valid_name() and dev_alloc_name() in net/core/dev.c): one `%d`, in the
/// name inside only, stands for the first number that is free.
fn check(name: &str, side: Side) -> std::result::Result<(), String> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(format!("must have 1 to {NAME_MAX} bytes"));
    }
    if matches!(name, "." | "..") {
        return Err("is reserved".into());
    }
    // isspace() of the kernel is that of Latin-1, which has 0xa0; in UTF-8 that byte is part of a character, but
    // the kernel looks at bytes.
    if name.bytes().any(|byte| matches!(byte, b'/' | b':' | b' ' | b'\t'..=b'\r' | 0 | 0xa0)) {
        return Err("contains `/`, `:` or white space".into());
    }
    match name.matches('%').count() {
        0 => Ok(()),
        1 if side == Side::Inside && name.contains("%d") => Ok(()),
        _ if side == Side::Inside => Err("may contain one %d and no other %".into()),
        _ => Err("is a template, but must name a device of the host".into()),
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::namespace::net_devices::{Side, check};

    #[test]
    fn names_the_kernel_takes() {
        for name in ["eth0", "a", "fifteen-letters", "eth0.100", "wlan-ä"] {
            assert_eq!(check(name, Side::Host), Ok(()), "{name}");
        }
        assert_eq!(check("eth%d", Side::Inside), Ok(()));
        for name in ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "a\0b", "sixteen-letters-", "%s", "a%d%d", "a%", "à"]
        {
            assert!(check(name, Side::Inside).is_err(), "{name:?}");
        }
        assert!(check("eth%d", Side::Host).is_err());
    }
}
