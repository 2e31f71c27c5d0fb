//! /proc/sys/fs/binfmt_misc (the kernel's admin-guide/binfmt-misc.rst): which files an interpreter of the host's is registered for.

use std::ffi::OsStr;
use std::path::Path;

/// Where systemd mounts it, when somebody looks.
const DIR: &str = "/proc/sys/fs/binfmt_misc";
/// How many bytes of a file the kernel looks at; those beyond its end are 0 (`BINPRM_BUF_SIZE`).
const LOOKED_AT: usize = 256;

/// Whether an entry takes a file of this path that begins with these bytes.
pub fn takes(path: &str, head: &[u8]) -> bool {
    if std::fs::read(Path::new(DIR).join("status")).is_ok_and(|status| status.starts_with(b"disabled")) {
        return false;
    }
    let Ok(entries) = std::fs::read_dir(DIR) else { return false };
    let own = |name: &OsStr| name != "register" && name != "status";
    let texts = entries.flatten().filter(|entry| own(&entry.file_name())).flat_map(|entry| std::fs::read(entry.path()));
    texts.into_iter().any(|text| entry_takes(&String::from_utf8_lossy(&text), path, head))
}

/// Whether the entry with this text does.
fn entry_takes(text: &str, path: &str, head: &[u8]) -> bool {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    if text.lines().next() != Some("enabled") {
        return false;
    }
    if let Some(extension) = value("extension") {
        return path.rsplit_once('.').is_some_and(|(_, end)| extension.strip_prefix('.') == Some(end));
    }
    let Some(magic) = value("magic").and_then(bytes) else { return false };
    let offset = value("offset").and_then(|offset| offset.parse().ok()).unwrap_or(0);
    let mask = value("mask").and_then(bytes);
    let at = |index: usize| head.get(index).copied().unwrap_or(0);
    offset + magic.len() <= LOOKED_AT
        && magic.iter().enumerate().all(|(index, byte)| {
            let mask = mask.as_ref().map_or(0xff, |mask| mask.get(index).copied().unwrap_or(0xff));
            (at(offset + index) ^ byte) & mask == 0
        })
}

/// Hexadecimal digits as bytes.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pairs = (0..digits.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::entry_takes;

    #[test]
    fn an_entry_takes_what_its_magic_or_extension_says() {
        let python = "enabled\ninterpreter /usr/bin/python3.11\nflags: \noffset 0\nmagic a70d0d0a\n";
        assert!(entry_takes(python, "/x.pyc", b"\xa7\r\r\nrest"));
        assert!(!entry_takes(python, "/x", b"hello\n"));
        assert!(!entry_takes(python, "/x", b""));
        assert!(!entry_takes(&python.replace("enabled", "disabled"), "/x.pyc", b"\xa7\r\r\nrest"));
        let masked = "enabled\ninterpreter /qemu\nflags: OCF\noffset 2\nmagic 00ff10\nmask 00fff0\n";
        assert!(entry_takes(masked, "/x", b"abc\xff\x1f"));
        assert!(!entry_takes(masked, "/x", b"abc\xff\x2f"));
        let zeros = "enabled\ninterpreter /z\nflags: \noffset 4\nmagic 0000\n";
        assert!(entry_takes(zeros, "/x", b"abcd"));
        assert!(!entry_takes(zeros, "/x", b"abcdx"));
        let by_name = "enabled\ninterpreter /wine\nflags: \nextension .exe\n";
        assert!(entry_takes(by_name, "/a.b/setup.exe", b""));
        assert!(!entry_takes(by_name, "/exe", b"") && !entry_takes(by_name, "/setup.exe2", b""));
    }
}
