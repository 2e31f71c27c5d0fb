//! The word that a misspelled one was meant for. Pure.

/// The one of `known` that `typed` may have been meant for: at most a third of its letters differ, and at most three; or
/// the only one that begins with it. Of several that are as near, one that begins like it.
pub fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let known: Vec<&str> = known.collect();
    // What all of them begin with says nothing of which was meant.
    let shared = |one: &str, other: &str| one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let first = known.first().copied().unwrap_or_default();
    let alike = known.iter().map(|word| shared(first, word)).min().unwrap_or_default().min(shared(first, typed));
    let most = (typed.chars().count().saturating_sub(alike) / 3).clamp(1, 3);
    let common = |word: &str| typed.chars().zip(word.chars()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
    let near = known.iter().map(|word| (distance(typed, word), usize::MAX - common(word), *word)).min();
    if let Some((_, _, word)) = near.filter(|(distance, _, _)| *distance <= most) {
        return Some(word);
    }
    let mut begun = known.into_iter().filter(|word| typed.len() >= MIN_BEGUN && word.starts_with(typed));
    begun.next().filter(|_| begun.next().is_none())
}

/// Fewer letters say nothing.
const MIN_BEGUN: usize = 3;

/// How many letters have to be added, removed, exchanged or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.chars().flat_map(char::to_lowercase).collect(), b.chars().flat_map(char::to_lowercase).collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let exchanged = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            let swapped = if swapped { rows[i - 2][j - 2] + 1 } else { usize::MAX };
            row.push((rows[i - 1][j] + 1).min(row[j - 1] + 1).min(exchanged).min(swapped));
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_are_near_to_what_was_meant() {
        let known = || ["create", "delete", "memory", "access", "start", "state", "network"].into_iter();
        for (typed, meant) in [
            ("net", "network"),
            ("stat", "state"),
            ("crate", "create"),
            ("memmory", "memory"),
            ("acess", "access"),
            ("satrt", "start"),
            ("Delete", "delete"),
        ] {
            assert_eq!(nearest(typed, known()), Some(meant));
        }
        for typed in ["", "x", "frobnicate", "inspect"] {
            assert_eq!(nearest(typed, known()), None, "{typed}");
        }
        let known = || ["SCMP_ARCH_ARM", "SCMP_ARCH_X86"].into_iter();
        assert_eq!(nearest("SCMP_ARCH_VAX", known()), None);
        assert_eq!(nearest("SCMP_ARCH_x68", known()), Some("SCMP_ARCH_X86"));
    }
}
