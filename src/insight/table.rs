//! Tables that fit a width: what matters least is left out first, and names are cut last.

use brisk::error::{fitting, fitting_end, width};

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
    let widest = |index: usize| {
        let cells = rows.iter().filter_map(|row| row.get(index)).map(|cell| width(&cell.text));
        cells.chain([columns[index].title.len(), columns[index].least]).max().unwrap_or(0)
    };
    let mut shown: Vec<(usize, usize)> = (0..columns.len()).map(|index| (index, widest(index))).collect();
    if let Some(room) = looks.width {
        fit(columns, &mut shown, room);
    }
    let line = |cell: &dyn Fn(usize) -> (String, Tone)| {
        let mut line = String::new();
        for (position, (index, room)) in shown.iter().enumerate() {
            let (text, tone) = cell(*index);
            let path = columns[*index].side == Align::Path;
            let text = if path { cut_front(&text, *room, looks) } else { cut(&text, *room, looks) };
            let padding = " ".repeat(room - width(&text));
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
pub fn cut(text: &str, room: usize, looks: Looks) -> String {
    match (width(text) <= room, room.checked_sub(1)) {
        (true, _) => text.to_owned(),
        (false, Some(before)) => fitting(text, before).to_owned() + looks.ellipsis(),
        (false, None) => String::new(),
    }
}

/// The text, or as much of its end as fits.
pub fn cut_front(text: &str, room: usize, looks: Looks) -> String {
    match (width(text) <= room, room.checked_sub(1)) {
        (true, _) => text.to_owned(),
        (false, Some(behind)) => looks.ellipsis().to_owned() + fitting_end(text, behind),
        (false, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let columns = [text("NAME", 0), number("N", 0), path("PATH")];
        let names = [
            "web",
            "\u{5bb9}\u{5668}\u{1f433}",
            "e\u{301}te\u{301}",
            "\u{5bb9}\u{5668}\u{5bb9}\u{5668}\u{5bb9}\u{5668}",
        ];
        let row =
            |name: &&str| ["", "12", ""].map(|text| Cell::new(if text.is_empty() { *name } else { text })).to_vec();
        let rows: Vec<Vec<Cell>> = names.iter().map(row).collect();
        for room in [None, Some(40), Some(24), Some(17), Some(12), Some(8)] {
            let lines = lines(&columns, &rows, Looks { width: room, ..Looks::PLAIN });
            let at = |line: &String| line.find("12").map(|at| width(&line[..at]));
            let columns: Vec<_> = lines[1..].iter().map(at).collect();
            assert!(columns.iter().all(|at| *at == columns[0]), "{room:?} {lines:#?}");
            assert!(room.is_none_or(|room| lines.iter().all(|line| width(line) <= room)), "{room:?} {lines:#?}");
        }
    }
}
