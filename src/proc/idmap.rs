//! `/proc/self/uid_map`: what this process's user ids are outside of its user namespace (user_namespaces(7)).

use std::io::{Error, ErrorKind, Result};

/// The ranges of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcIdMap(Vec<ProcIdRange>);

/// As many ids as there are, from one inside on and from one outside on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ProcIdRange {
    inside: u32,
    outside: u32,
    count: u32,
}

impl ProcIdMap {
    /// The map of this process's user ids.
    pub fn of_users() -> Result<ProcIdMap> {
        match super::file::read_text("/proc/self/uid_map") {
            // No user namespaces in this kernel, so this is the only one.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(ProcIdMap(vec![ProcIdRange { inside: 0, outside: 0, count: u32::MAX }]))
            }
            text => ProcIdMap::parse(&text?).ok_or_else(|| Error::from(ErrorKind::InvalidData)),
        }
    }

    /// Reads the text of a map: a line a range.
    pub fn parse(text: &str) -> Option<ProcIdMap> {
        let range = |line: &str| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse::<u32>);
            let mut next = || numbers.next()?.ok();
            Some(ProcIdRange { inside: next()?, outside: next()?, count: next()? })
        };
        text.lines().map(range).collect::<Option<_>>().map(ProcIdMap)
    }

    /// Whether this is the map of the initial user namespace: all ids onto themselves, in one line.
    pub fn is_initial(&self) -> bool {
        matches!(self.0[..], [ProcIdRange { inside: 0, outside: 0, count: u32::MAX }])
    }

    /// The id outside that one inside stands for.
    pub fn outside(&self, id: u32) -> Option<u32> {
        self.0.iter().find_map(|range| {
            id.checked_sub(range.inside).filter(|offset| *offset < range.count)?.checked_add(range.outside)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_tells_ids_outside() {
        let map = ProcIdMap::parse("         0       1000          1\n1 100000 65536\n").unwrap();
        assert_eq!((map.outside(0), map.outside(5), map.outside(70_000)), (Some(1000), Some(100_004), None));
        assert!(!map.is_initial());
        let initial = ProcIdMap::parse("         0          0 4294967295\n").unwrap();
        assert!(initial.is_initial() && initial.outside(7) == Some(7));
        assert_eq!(ProcIdMap::parse("0 0\n"), None);
    }
}
