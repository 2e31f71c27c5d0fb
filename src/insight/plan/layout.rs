//! Lines that fit: a label, and text beside it that goes on below itself.

use brisk::cli::log::printable;

use crate::looks::{Looks, Tone};

/// No column of text is narrower.
const LEAST_TEXT: usize = 12;

/// The text beside the label, in as many lines as it takes. What fits no line is broken where the line ends, and nothing is lost.
///
/// Both may be anybody's: every line of a plan comes through here, and what a terminal would obey is escaped.
pub fn beside(label: &str, text: &str, tone: Tone, looks: Looks) -> Vec<String> {
    let (label, text) = (printable(label), &printable(text));
    let indent = label.chars().count();
    let Some(width) = looks.width else { return vec![label + &looks.paint(tone, text)] };
    let room = width.saturating_sub(indent).max(LEAST_TEXT);
    let parts = broken(text, room);
    let line = |(at, part): (usize, &String)| {
        let before = if at == 0 { label.clone() } else { " ".repeat(indent) };
        before + &looks.paint(tone, part)
    };
    let lines: Vec<String> = parts.iter().enumerate().map(line).collect();
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// The text in lines of at most `room` characters: broken behind a space or a comma where there is one.
fn broken(text: &str, room: usize) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let mut lines = Vec::new();
    let mut rest = &letters[..];
    while rest.len() > room {
        let end = rest[..room].iter().rposition(|c| matches!(c, ' ' | ',')).map(|at| at + 1);
        // One space more may hang over the end.
        let end = if rest[room] == ' ' { room } else { end.unwrap_or(room) };
        lines.push(rest[..end].iter().collect::<String>().trim_end().to_owned());
        rest = &rest[end..];
        while let [' ', after @ ..] = rest {
            rest = after;
        }
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(rest.iter().collect());
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
            assert!(lines.iter().all(|line| line.chars().count() <= room), "{room}: {lines:?}");
        }
    }
}
