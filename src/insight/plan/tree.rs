//! The root that a plan leads to, as a tree.

use std::collections::{BTreeMap, BTreeSet};

use brisk::error::printable;
use brisk::error::width;

use super::document::PlanDocument;
use super::layout::beside;
use super::root::{PlannedRoot, RootEntry};
use crate::looks::{Looks, Tone};

/// One path of the tree.
#[derive(Clone, Debug, Default)]
struct TreeRow {
    /// Before everything: what has become of it.
    mark: &'static str,
    text: String,
    tone: Tone,
}

const NOTE: &str = "What the image itself has is not shown. A link of the image may lead a mount elsewhere in the root; \
    it never leads out of it.";
const HOOKS: &str = "Hooks run in the container before its root is entered: what they mount is not known.";

/// What is where, and what is hidden.
pub fn lines(plan: &PlanDocument, looks: Looks) -> Vec<String> {
    let root = PlannedRoot::of(plan);
    let row = |entry: &RootEntry| TreeRow { text: entry.text(), ..TreeRow::default() };
    let seen = root.entries.iter().filter(|entry| entry.hidden.is_none());
    let mut lines = drawn(&seen.map(|entry| (entry.path.clone(), row(entry))).collect(), looks);
    let hidden: Vec<&RootEntry> = root.entries.iter().filter(|entry| is_lost(entry)).collect();
    if !hidden.is_empty() {
        lines.extend([String::new(), looks.paint(Tone::Title, "hidden by what is mounted later")]);
        for entry in hidden {
            let over = entry.hidden.as_deref().unwrap_or_default();
            let text = format!("{}: {} ({}), below {over}", entry.path_text(), entry.text(), entry.by);
            lines.extend(beside("  ", &text, Tone::Warning, looks));
        }
    }
    lines.push(String::new());
    lines.extend(beside("", NOTE, Tone::Faint, looks));
    if root.hooks {
        lines.extend(beside("", HOOKS, Tone::Warning, looks));
    }
    lines
}

/// Whether somebody would miss it. An overlay is made to lie over its root.
fn is_lost(entry: &RootEntry) -> bool {
    entry.hidden.is_some() && !entry.path.is_empty()
}

/// What is different, on its way from the root: `+` is only in the second, `-` only in the first, `~` otherwise there.
pub fn changes(first: &PlanDocument, second: &PlanDocument, looks: Looks) -> Vec<String> {
    let [one, other] = [first, second].map(|plan| {
        let entries = PlannedRoot::of(plan).entries.into_iter().filter(|entry| entry.hidden.is_none());
        entries.map(|entry| (entry.path.clone(), entry.text())).collect::<BTreeMap<_, _>>()
    });
    let paths: BTreeSet<&Vec<String>> = one.keys().chain(other.keys()).collect();
    let row = |path: &Vec<String>| {
        let (mark, text, tone) = match (one.get(path), other.get(path)) {
            (Some(one), Some(other)) if one == other => return None,
            (Some(one), Some(other)) => ("~", format!("{other}; was {one}"), Tone::Warning),
            (Some(one), None) => ("-", one.clone(), Tone::Alarm),
            (None, other) => ("+", other.cloned().unwrap_or_default(), Tone::Title),
        };
        Some((path.clone(), TreeRow { mark, text, tone }))
    };
    let rows: BTreeMap<Vec<String>, TreeRow> = paths.into_iter().filter_map(row).collect();
    if rows.is_empty() {
        return vec!["no difference".to_owned()];
    }
    drawn(&rows, looks)
}

/// The tree of these paths and of those on the way to them.
fn drawn(rows: &BTreeMap<Vec<String>, TreeRow>, looks: Looks) -> Vec<String> {
    let mut paths: BTreeSet<&[String]> = BTreeSet::from([&[][..]]);
    for path in rows.keys() {
        paths.extend((0..=path.len()).map(|end| &path[..end]));
    }
    let marked = rows.values().any(|row| !row.mark.is_empty());
    let paths: Vec<&[String]> = paths.into_iter().collect();
    let named: Vec<(String, Option<&TreeRow>)> = branches(&paths, looks)
        .into_iter()
        .zip(&paths)
        .map(|(branch, path)| {
            let row = rows.get(*path);
            let mark = row.map_or("", |row| row.mark);
            let mark = if marked { format!("{mark:<2}") } else { String::new() };
            (mark + &branch + &printable(path.last().map_or("/", String::as_str)), row)
        })
        .collect();
    let longest = named.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    let column = looks.width.map_or(longest, |room| longest.min(room * 2 / 5)) + 2;
    let mut lines = Vec::new();
    for (name, row) in named {
        let Some(row) = row else {
            lines.push(name);
            continue;
        };
        let length = width(&name);
        let label = if length + 2 > column {
            // Its text begins below it.
            lines.push(name);
            " ".repeat(column)
        } else {
            name + &" ".repeat(column - length)
        };
        lines.extend(beside(&label, &row.text, row.tone, looks));
    }
    // A name may be longer than any line.
    let fits = |line: String| looks.width.is_none_or(|room| width(&line) <= room) || line.contains('\x1b');
    lines
        .into_iter()
        .flat_map(|line| if fits(line.clone()) { vec![line] } else { beside("", &line, Tone::Plain, looks) })
        .collect()
}

/// What stands before the name of each, from the root to its leaves.
fn branches(paths: &[&[String]], looks: Looks) -> Vec<String> {
    let [more, last, pass] =
        if looks.unicode { ["├── ", "└── ", "│   "] } else { ["|-- ", "`-- ", "|   "] };
    // In order of names whoever comes after this one with the same way to it is a sibling, or nobody is.
    let mut open: Vec<bool> = Vec::new();
    let mut reversed: Vec<String> = Vec::with_capacity(paths.len());
    for path in paths.iter().rev() {
        let depth = path.len();
        if depth == 0 {
            reversed.push(String::new());
            continue;
        }
        open.resize(depth, false);
        let way: String = open[..depth - 1].iter().map(|open| if *open { pass } else { "    " }).collect();
        reversed.push(way + if open[depth - 1] { more } else { last });
        open[depth - 1] = true;
    }
    reversed.reverse();
    reversed
}
