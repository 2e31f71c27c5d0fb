//! How many columns of a terminal a character takes. Pure.
//!
//! As terminals have it: what is wide in East Asia takes two, what is set upon another none, and what is wide in some surroundings one
//! (UAX #11, UAX #44). What nobody sees is not printed ([`super::is_unseen`]).

use unicode_width::UnicodeWidthChar;

/// The columns that a text takes.
pub fn width(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

/// The columns that a character takes.
pub fn width_of(c: char) -> usize {
    UnicodeWidthChar::width(c).unwrap_or(0)
}

/// As much of the beginning as fits so many columns.
pub fn fitting(text: &str, columns: usize) -> &str {
    let mut left = columns;
    let end = text.char_indices().find(|(_, c)| match left.checked_sub(width_of(*c)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    &text[..end.map_or(text.len(), |(at, _)| at)]
}

/// As much of the end as fits so many columns.
pub fn fitting_end(text: &str, columns: usize) -> &str {
    let mut left = columns;
    let mut start = text.len();
    for (at, c) in text.char_indices().rev() {
        match left.checked_sub(width_of(c)) {
            Some(rest) => left = rest,
            None => break,
        }
        start = at;
    }
    // What was set upon a character that does not fit.
    text[start..].trim_start_matches(|c| width_of(c) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_a_terminal() {
        for (text, columns) in [
            ("", 0),
            ("web", 3),
            ("\u{e9}", 1),
            ("e\u{301}", 1),
            ("\u{5bb9}\u{5668}", 4),
            ("\u{1f433}", 2),
            ("\u{2026}", 1),
            ("\u{1112}\u{1161}\u{11ab}", 2),
            ("\u{ff76}", 1),
            ("\u{ff21}", 2),
            ("\u{2f800}", 2),
            ("\u{3b1}", 1),
        ] {
            assert_eq!(width(text), columns, "{text:?}");
        }
    }

    #[test]
    fn no_character_is_cut_in_two() {
        let text = "a\u{5bb9}e\u{301}\u{1f433}";
        let begins = ["", "a", "a", "a\u{5bb9}", "a\u{5bb9}e\u{301}", "a\u{5bb9}e\u{301}", text, text];
        let ends = ["", "", "\u{1f433}", "e\u{301}\u{1f433}", "e\u{301}\u{1f433}", &text[1..], text, text];
        for columns in 0..8 {
            assert_eq!(fitting(text, columns), begins[columns]);
            assert_eq!(fitting_end(text, columns), ends[columns]);
        }
        assert_eq!(fitting_end("x\u{301}y", 1), "y", "a mark does not stand alone");
    }
}
