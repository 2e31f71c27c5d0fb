//! Lines that fit: a label, and text beside it that goes on below itself.

use brisk::error::printable;
use brisk::error::{fitting, width};

use crate::looks::{Looks, Tone};

/// No column of text is narrower.
const LEAST_TEXT: usize = 12;

/// The text beside the label, in as many lines as it takes. What fits no line is broken where the line ends, and nothing is lost.
///
/// Both may be anybody's: every line of a plan comes through here, and what a terminal would obey is escaped.
pub fn beside(label: &str, text: &str, tone: Tone, looks: Looks) -> Vec<String> {
    let (label, text) = (printable(label), &printable(text));
    let indent = width(&label);
    let Some(screen) = looks.width else { return vec![label + &looks.paint(tone, text)] };
    let room = screen.saturating_sub(indent).max(LEAST_TEXT);
    let parts = broken(text, room);
    let line = |(at, part): (usize, &String)| {
        let before = if at == 0 { label.clone() } else { " ".repeat(indent) };
        before + &looks.paint(tone, part)
    };
    let lines: Vec<String> = parts.iter().enumerate().map(line).collect();
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// The text in lines of at most `room` columns: broken behind a space or a comma where there is one.
fn broken(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    while width(rest) > room {
        // One character at least: of a line that is narrower than it, nothing can be made.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let fits = fitting(rest, room).len().max(first);
        let end = rest[..fits].rfind([' ', ',']).map(|at| at + 1);
        // One space more may hang over the end.
        let end = if rest[fits..].starts_with(' ') { fits } else { end.unwrap_or(fits) };
        lines.push(rest[..end].trim_end().to_owned());
        rest = rest[end..].trim_start_matches(' ');
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(rest.to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_on_below_itself() {
        let looks = Looks { width: Some(20), ..Looks::PLAIN };
        let lines = beside("ab  ", "one two,three four /a/very/long/path/indeed", Tone::Plain, looks);
        assert_eq!(lines, ["ab  one two,three", "    four", "    /a/very/long/pat", "    h/indeed"]);
        assert_eq!(beside("ab  ", "", Tone::Plain, looks), ["ab"]);
        assert_eq!(beside("ab  ", "one two", Tone::Plain, Looks::PLAIN), ["ab  one two"]);
    }

    #[test]
    fn nothing_of_the_text_is_lost() {
        let text = "mount tmpfs on /dev (nosuid,strictatime,mode=755,size=65536k)";
        let bare = |text: &str| text.replace(' ', "");
        for room in 1..70 {
            let lines = broken(text, room);
            assert_eq!(bare(&lines.concat()), bare(text), "{room}");
            assert!(lines.iter().all(|line| width(line) <= room), "{room}: {lines:?}");
        }
        let wide = "\u{5bb9}\u{5668} e\u{301}".repeat(9);
        for room in 2..30 {
            let lines = broken(&wide, room);
            assert_eq!(bare(&lines.concat()), bare(&wide), "{room}");
            assert!(lines.iter().all(|line| width(line) <= room), "{room}: {lines:?}");
        }
        assert_eq!(broken("\u{5bb9}\u{5668}", 1).len(), 2);
    }
}
