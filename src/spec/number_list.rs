//! Lists of CPUs and memory nodes, `0-3,7` (cpuset(7), "List format"): of config.json, and as the kernel writes them. Pure.

/// Larger numbers are typing errors: the kernel's own limits are 8192 CPUs and 1024 memory nodes.
const MOST: usize = 1 << 16;

/// The numbers of a list as bits: number n is bit n of word n/64. Empty for a list that names nothing. Extra commas and
/// spaces are allowed, as in runc.
///
/// # Errors
/// The first part that is neither a number nor a range.
pub fn mask(list: &str) -> Result<Vec<u64>, &str> {
    let mut mask: Vec<u64> = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let range = match part.split_once('-') {
            Some((first, last)) => number(first).zip(number(last)),
            None => number(part).map(|single| (single, single)),
        };
        let (first, last) = range.filter(|(first, last)| first <= last && *last < MOST).ok_or(part)?;
        if mask.len() <= last / 64 {
            mask.resize(last / 64 + 1, 0);
        }
        for bit in first..=last {
            mask[bit / 64] |= 1 << (bit % 64);
        }
    }
    Ok(mask)
}

/// Digits only: `parse` alone would take `+1`.
fn number(text: &str) -> Option<usize> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The numbers that are in a mask, the lowest first.
pub fn numbers(mask: &[u64]) -> impl Iterator<Item = usize> {
    (0..mask.len() * 64).filter(|bit| mask[bit / 64] >> (bit % 64) & 1 == 1)
}

/// Whether a mask has no number that `all` lacks.
pub fn is_within(mask: &[u64], all: &[u64]) -> bool {
    mask.iter().enumerate().all(|(index, word)| word & !all.get(index).copied().unwrap_or(0) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_a_mask_and_back() {
        let read = |list| mask(list).map(|mask| numbers(&mask).collect::<Vec<_>>());
        assert_eq!(read("0-2, 70,,\n"), Ok(vec![0, 1, 2, 70]));
        assert_eq!(read(""), Ok(Vec::new()));
        for wrong in ["3-1", "+1", "1-", "0,x", "65536", "0-99999999999"] {
            assert_eq!(read(wrong), Err(wrong.rsplit(',').next().unwrap()), "{wrong}");
        }
    }

    #[test]
    fn a_mask_is_within_another() {
        let within = |part, all| is_within(&mask(part).unwrap(), &mask(all).unwrap());
        assert!(within("1-2", "0-3") && within("", "0") && within("0", "0,64"));
        assert!(!within("4", "0-3") && !within("64", "0-63") && !within("0", ""));
    }
}
