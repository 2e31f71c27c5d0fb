//! The tables of `trace`.

use brisk::error::printable;
use brisk::error::width;

use super::compare::{ComparedStep, largest};
use super::timeline::{Emphasis, Timeline, TracedStep};
use crate::looks::{Looks, Tone};
use crate::table::{Cell, Column, lines, number, text};
use crate::units;

/// The longest bar.
const BAR: usize = 14;

const STEPS: &[Column] = &[
    number("START us", 5),
    number("TOOK us", 0),
    number("SHARE", 3),
    number("", 1),
    number("", 4),
    number("SIDE", 2),
    text("WHAT", 0),
];

const CHANGES: &[Column] = &[
    number("FIRST us", 2),
    number("SECOND us", 3),
    number("CHANGE us", 0),
    number("", 1),
    number("", 4),
    number("SIDE", 2),
    text("WHAT", 0),
];

/// Microseconds.
pub fn us(us: f64) -> String {
    // No -0.0.
    format!("{:.1}", us + 0.0)
}

/// Microseconds more or less.
pub fn signed(us: f64) -> String {
    if us == 0.0 { "0.0".to_owned() } else { format!("{us:+.1}") }
}

/// A bar that is as long as the part of the longest, and filled up with spaces.
fn bar(took: f64, longest: f64, fill: char) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "at most BAR"
    )]
    let length = if longest > 0.0 { (took / longest * BAR as f64).round() as usize } else { 0 };
    let length = length.min(BAR);
    fill.to_string().repeat(length) + &" ".repeat(BAR - length)
}

fn looks_of(emphasis: Emphasis) -> (&'static str, Tone) {
    match emphasis {
        Emphasis::Most => ("*", Tone::Alarm),
        Emphasis::Waits => ("w", Tone::Faint),
        Emphasis::Plain => ("", Tone::Plain),
    }
}

/// Each step, and all of it.
pub fn steps(line: &Timeline, looks: Looks) -> Vec<String> {
    let [work, wait] = if looks.unicode { ['█', '░'] } else { ['#', '.'] };
    let longest = line.steps.iter().map(|step| step.took).fold(0.0, f64::max);
    let slowest = line.slowest();
    let row = |(at, step): (usize, &TracedStep)| {
        let (mark, tone) = looks_of(step.emphasis(at, slowest));
        let text = [
            us(step.start),
            us(step.took),
            units::percent(line.share(step.took)) + "%",
            mark.to_owned(),
            bar(step.took, longest, if step.waits { wait } else { work }),
            step.side.name().to_owned(),
            printable(&step.what),
        ];
        text.into_iter().map(|text| Cell::new(text).toned(tone)).collect()
    };
    let mut rows: Vec<Vec<Cell>> = line.steps.iter().enumerate().map(row).collect();
    let all = ["", &us(line.total), "100.0%", "", "", "", "all of it, on both sides"];
    rows.push(all.map(|text| Cell::new(text).toned(Tone::Title)).to_vec());
    lines(STEPS, &rows, looks)
}

/// Each step of both, and all of it.
pub fn changes(first: &Timeline, second: &Timeline, steps: &[ComparedStep], looks: Looks) -> Vec<String> {
    let longest = steps.iter().map(|step| step.change().abs()).fold(0.0, f64::max);
    let marked = largest(steps);
    let known = |time: Option<f64>| time.map_or_else(|| looks.unknown().to_owned(), us);
    let row = |(at, step): (usize, &ComparedStep)| {
        let (mark, tone) = looks_of(step.emphasis(at, marked));
        let change = step.change();
        let text = [
            known(step.first),
            known(step.second),
            signed(change),
            mark.to_owned(),
            bar(change.abs(), longest, if change < 0.0 { '-' } else { '+' }),
            step.side.name().to_owned(),
            printable(&step.what),
        ];
        text.into_iter().map(|text| Cell::new(text).toned(tone)).collect()
    };
    let mut rows: Vec<Vec<Cell>> = steps.iter().enumerate().map(row).collect();
    let total = [us(first.total), us(second.total), signed(second.total - first.total)];
    let words = ["", "", "", "all of it, on both sides"].map(str::to_owned);
    rows.push(total.into_iter().chain(words).map(|text| Cell::new(text).toned(Tone::Title)).collect());
    lines(CHANGES, &rows, looks)
}

/// A sentence in lines of this width.
pub fn wrapped(text: &str, looks: Looks) -> Vec<String> {
    let Some(room) = looks.width else { return vec![text.to_owned()] };
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last().map_or(0, |line| width(line));
        if line > 0 && line + 1 + width(word) > room {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::compare;
    use super::*;
    use crate::stats::tests::view;

    #[test]
    fn tables_of_a_trace_fit_their_width() {
        let (first, second) = compare::tests::two();
        let both = compare::compare(&first, &second);
        for width in [40, 80, 160] {
            let looks = Looks { width: Some(width), ..Looks::PLAIN };
            let mut text = wrapped(&first.sentence(), looks);
            text.extend(steps(&first, looks));
            text.extend(wrapped(&compare::sentence(&first, &second, &both), looks));
            text.extend(changes(&first, &second, &both, looks));
            assert!(text.iter().all(|line| line.chars().count() <= width && line.is_ascii()), "{width}: {text:#?}");
            view(&format!("trace-{width}.txt"), &(text.join("\n") + "\n"));
        }
        let colours = steps(&first, Looks { colours: true, unicode: true, ..Looks::PLAIN });
        assert!(colours.iter().any(|line| line.contains("\x1b[1;31m") && line.contains('█')), "{colours:?}");
    }
}
