//! Tables that fit a width: what matters least is left out first, and names are cut last.

use crate::looks::{Looks, Tone};

/// A column.
pub struct Column {
    pub title: &'static str,
    /// The larger, the sooner it is left out where all do not fit; those with 0 stay.
    pub spare: u8,
    /// Its width at least, so that it stays as it is while numbers change.
    pub least: usize,
    pub side: Align,
}

/// Where a cell stands in its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Names: they are cut where nothing else helps.
    Left,
    /// Paths: what is cut of them is the beginning.
    Path,
    /// Numbers.
    Right,
}

/// A column of numbers.
pub const fn number(title: &'static str, spare: u8) -> Column {
    Column { title, spare, least: 0, side: Align::Right }
}

/// A column of names.
pub const fn text(title: &'static str, spare: u8) -> Column {
    Column { title, spare, least: 0, side: Align::Left }
}

/// A column of paths, which stays.
pub const fn path(title: &'static str) -> Column {
    Column { title, spare: 0, least: 0, side: Align::Path }
}

/// What stands in a line and a column. Its text is ours or was made printable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    pub tone: Tone,
}

impl Cell {
    pub fn new(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), tone: Tone::Plain }
    }

    pub fn toned(self, tone: Tone) -> Cell {
        Cell { tone, ..self }
    }
}

const GAP: usize = 2;
/// No name is cut shorter than this.
const LEAST_NAME: usize = 4;
/// To this length the first name is cut before a column is left out: as long as the short ids of engines, and some.
const SHORT_NAME: usize = 16;

/// The title and the lines.
pub fn lines(columns: &[Column], rows: &[Vec<Cell>], looks: Looks) -> Vec<String> {
    let width = |index: usize| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.text.chars().count());
        cells.chain([columns[index].title.len(), columns[index].least]).max().unwrap_or(0)
    };
    let mut shown: Vec<(usize, usize)> = (0..columns.len()).map(|index| (index, width(index))).collect();
    if let Some(room) = looks.width {
        fit(columns, &mut shown, room);
    }
    let line = |cell: &dyn Fn(usize) -> (String, Tone)| {
        let mut line = String::new();
        for (position, (index, width)) in shown.iter().enumerate() {
            let (text, tone) = cell(*index);
            let path = columns[*index].side == Align::Path;
            let text = if path { cut_front(&text, *width, looks) } else { cut(&text, *width, looks) };
            let padding = " ".repeat(width - text.chars().count());
            if position > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            let painted = looks.paint(tone, &text);
            let last = position + 1 == shown.len();
            match columns[*index].side {
                Align::Right => line = line + &padding + &painted,
                Align::Left | Align::Path if last => line.push_str(&painted),
                Align::Left | Align::Path => line = line + &painted + &padding,
            }
        }
        line
    };
    let title = line(&|index| (columns[index].title.to_owned(), Tone::Title));
    let cell =
        |row: &Vec<Cell>, index: usize| row.get(index).map_or_else(Default::default, |c| (c.text.clone(), c.tone));
    std::iter::once(title).chain(rows.iter().map(|row| line(&|index| cell(row, index)))).collect()
}

/// Shortens names, leaves out columns, and gives names the room that is left.
fn fit(columns: &[Column], shown: &mut Vec<(usize, usize)>, room: usize) {
    let total = |shown: &[(usize, usize)]| {
        shown.iter().map(|(_, width)| width).sum::<usize>() + GAP * shown.len().saturating_sub(1)
    };
    if total(shown) <= room {
        return;
    }
    let name = shown.iter().position(|(index, _)| columns[*index].side != Align::Right);
    let whole = name.map_or(0, |at| shown[at].1);
    if let Some(at) = name {
        shown[at].1 = whole.min(SHORT_NAME);
    }
    while total(shown) > room {
        let spare = shown.iter().enumerate().max_by_key(|(_, (index, _))| columns[*index].spare);
        match spare.filter(|(_, (index, _))| columns[*index].spare > 0).map(|(position, _)| position) {
            Some(position) => drop(shown.remove(position)),
            None => break,
        }
    }
    // Columns before it may be gone.
    if let Some(at) = shown.iter().position(|(index, _)| columns[*index].side != Align::Right) {
        let others = total(shown) - shown[at].1;
        shown[at].1 = whole.min(room.saturating_sub(others)).max(LEAST_NAME);
    }
    // In a terminal that is narrower than this goes what is last, whatever it is: a line that is too long would be two.
    while total(shown) > room && shown.len() > 1 {
        shown.pop();
    }
    if let [(_, width)] = shown.as_mut_slice() {
        *width = room.min(*width);
    }
}

/// The text, or as much of it as fits.
pub fn cut(text: &str, width: usize, looks: Looks) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain([looks.ellipsis()]).take(width).collect()
}

/// The text, or as much of its end as fits.
fn cut_front(text: &str, width: usize, looks: Looks) -> String {
    match text.chars().count() {
        length if length <= width => text.to_owned(),
        length => [looks.ellipsis()].into_iter().chain(text.chars().skip(length - width + 1)).take(width).collect(),
    }
}
