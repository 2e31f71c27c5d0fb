//! The formats of files that tell numbers.

use super::types::Psi;
use crate::cgroup::member::Member;
use crate::error::Result;
use crate::plan::cgroup::files;

/// A file with one number; `max` is the largest one, as in runc.
pub(in crate::cgroup) fn number(member: &Member, file: &str) -> Result<Option<u64>> {
    Ok(member.read_if_any(file)?.as_deref().and_then(|text| match text.trim() {
        files::MAX => Some(u64::MAX),
        // v1 files of signed numbers: -1 is no limit.
        "-1" => Some(u64::MAX),
        number => number.parse().ok(),
    }))
}

/// Lines of a key and a number.
pub(in crate::cgroup) fn pairs(text: &str) -> impl Iterator<Item = (&str, u64)> {
    text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key, value.trim().parse().ok()?))
    })
}

/// A pressure file.
pub(in crate::cgroup) fn psi(member: &Member, file: &str) -> Result<Option<Psi>> {
    let Some(text) = member.read_if_any(file)? else { return Ok(None) };
    let mut psi = Psi::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let data = match words.next() {
            Some("some") => &mut psi.some,
            Some("full") => &mut psi.full,
            _ => continue,
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "avg10" => data.avg10 = value.parse().unwrap_or_default(),
                "avg60" => data.avg60 = value.parse().unwrap_or_default(),
                "avg300" => data.avg300 = value.parse().unwrap_or_default(),
                "total" => data.total = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
    }
    Ok(Some(psi))
}

/// The huge page sizes of this machine, as the names of cgroup files have them.
pub(in crate::cgroup) fn huge_page_sizes() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return Vec::new() };
    let mut sizes: Vec<String> = entries.filter_map(|entry| page_size(entry.ok()?.file_name().to_str()?)).collect();
    sizes.sort_unstable();
    sizes
}

/// `hugepages-2048kB` is `2MB`.
pub(in crate::cgroup) fn page_size(name: &str) -> Option<String> {
    let kb: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kb {
        kb if kb >= 1 << 20 => format!("{}GB", kb >> 20),
        kb if kb >= 1 << 10 => format!("{}MB", kb >> 10),
        kb => format!("{kb}KB"),
    })
}
