//! The word that a misspelled one was meant for. Pure.

/// The one of `known` that `typed` may have been meant for: at most a third of its letters differ, and at most three.
pub fn nearest<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let most = (typed.chars().count() / 3).clamp(1, 3);
    let near = known.map(|word| (distance(typed, word), word)).min_by_key(|(distance, _)| *distance);
    near.filter(|(distance, _)| *distance <= most).map(|(_, word)| word)
}

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
        let known = || ["create", "delete", "memory", "access", "start", "state"].into_iter();
        for (typed, meant) in
            [("crate", "create"), ("memmory", "memory"), ("acess", "access"), ("satrt", "start"), ("Delete", "delete")]
        {
            assert_eq!(nearest(typed, known()), Some(meant));
        }
        for typed in ["", "x", "frobnicate", "inspect"] {
            assert_eq!(nearest(typed, known()), None, "{typed}");
        }
    }
}
