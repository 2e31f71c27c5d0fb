//! Where a field is in a JSON text, and what the line looks like: for errors only. Pure.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;

use crate::error::{is_unseen, width};

/// A value of a text: the path of the field, as `mounts[3].options`, and the bytes it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSpan {
    /// Empty for the whole document.
    pub path: String,
    /// From its first byte to behind its last, or to where reading ended.
    pub bytes: Range<usize>,
}

/// The value that was being read when serde_json had read up to a line and column.
pub fn at(text: &[u8], line: usize, column: usize) -> FieldSpan {
    let end = offset(text, line, column);
    // What may not begin so was looked at, and not read.
    at_offset(text, end + usize::from(matches!(text.get(end), Some(b'{' | b'['))))
}

/// How many bytes serde_json had read when it was at a line and column.
pub fn offset(text: &[u8], line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    text.len().min(start + column)
}

/// The line and column at which serde_json is when it has read a number of bytes.
pub fn position(text: &[u8], offset: usize) -> (usize, usize) {
    let read = &text[..text.len().min(offset)];
    let line = read.iter().filter(|byte| **byte == b'\n').count() + 1;
    (line, read.iter().rev().take_while(|byte| **byte != b'\n').count())
}

/// The value that was being read when serde_json had read up to a number of bytes.
pub fn at_offset(text: &[u8], offset: usize) -> FieldSpan {
    let end = text.len().min(offset);
    let mut walk = JsonWalk { text: &text[..end], at: 0, depth: 0, path: String::new(), found: None };
    let mut stop = |_: &str, bytes: &Range<usize>| bytes.end >= end;
    walk.value(&mut stop);
    walk.found.unwrap_or_default()
}

/// The field of this path in a text that is valid, or the nearest that holds it and is there.
pub fn of(text: &[u8], path: &str) -> FieldSpan {
    let mut path = path;
    loop {
        let mut walk = JsonWalk { text, at: 0, depth: 0, path: String::new(), found: None };
        walk.value(&mut |found, _| found == path);
        match (walk.found, path.rfind(['.', '['])) {
            (Some(span), _) => return span,
            (None, Some(end)) => path = &path[..end],
            (None, None) if path.is_empty() => return FieldSpan::default(),
            (None, None) => path = "",
        }
    }
}

/// The line of each of these fields, or of the nearest that holds it and is there; in one walk over the text, however many
/// they are.
pub fn lines_of(text: &[u8], fields: &[impl AsRef<str>]) -> Vec<usize> {
    let holders = |field| std::iter::successors(Some(field), |field: &&str| Some(&field[..field.rfind(['.', '['])?]));
    let mut starts: HashMap<&str, Option<usize>> =
        fields.iter().flat_map(|field| holders(field.as_ref())).map(|field| (field, None)).collect();
    let mut whole = 0;
    let mut walk = JsonWalk { text, at: 0, depth: 0, path: String::new(), found: None };
    walk.value(&mut |path, bytes| {
        match starts.get_mut(path) {
            Some(start) => _ = start.get_or_insert(bytes.start),
            None if path.is_empty() => whole = bytes.start,
            None => {}
        }
        false
    });
    let breaks: Vec<usize> = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
    let start = |field| holders(field).find_map(|field| *starts.get(field)?).unwrap_or(whole);
    fields.iter().map(|field| breaks.partition_point(|at| *at < start(field.as_ref())) + 1).collect()
}

/// How much of a line is shown on each side: engines write config.json as one line.
const AROUND: usize = 60;

/// The line of a value, with carets under it; lines end with a newline.
pub fn excerpt(text: &[u8], span: &FieldSpan) -> String {
    let start = span.bytes.start.min(text.len());
    let line_start = text[..start].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line_end = text[start..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| start + at);
    let number = text[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
    let (from, to) = (line_start.max(start.saturating_sub(AROUND)), line_end.min(start + AROUND));
    // A tab is as wide as one letter here, and so is whatever else is not printed.
    let shown = |bytes: &[u8]| -> String {
        String::from_utf8_lossy(bytes).chars().map(|c| if is_unseen(c) { ' ' } else { c }).collect()
    };
    let before = shown(&text[from..start]);
    let (lead, tail) = (if from > line_start { "…" } else { "" }, if to < line_end { "…" } else { "" });
    let marked = width(shown(&text[start..span.bytes.end.clamp(start, to)]).trim_end()).max(1);
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{number:>6} | {lead}{before}{}{tail}", shown(&text[start..to]));
    let indent = width(lead) + width(&before);
    let _ = writeln!(out, "       | {}{}", " ".repeat(indent), "^".repeat(marked));
    out
}

/// How deep values are looked into, as by serde_json. What a document has more of is nothing that we know, and is passed over.
const DEEPEST: usize = 128;

/// A walk over the values of a text, which is valid as far as it goes.
struct JsonWalk<'t> {
    text: &'t [u8],
    at: usize,
    depth: usize,
    path: String,
    found: Option<FieldSpan>,
}

impl JsonWalk<'_> {
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.text.get(self.at) {
            if !byte.is_ascii_whitespace() {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    /// Reads one value and what is in it, until `is_it` says of one that it is looked for.
    fn value(&mut self, is_it: &mut dyn FnMut(&str, &Range<usize>) -> bool) {
        let Some(first) = self.peek() else { return self.note(self.at) };
        let start = self.at;
        match first {
            b'{' | b'[' if self.depth == DEEPEST => self.pass(),
            b'{' | b'[' => {
                self.depth += 1;
                self.members(first, is_it);
                self.depth -= 1;
            }
            // What is in it is of no account here.
            b'"' => drop(self.string()),
            _ => {
                let rest = &self.text[self.at..];
                let ends = |byte: &u8| byte.is_ascii_whitespace() || b",]}:".contains(byte);
                self.at += rest.iter().position(ends).unwrap_or(rest.len()).max(1);
            }
        }
        let bytes = start..self.at;
        if self.found.is_none() && is_it(&self.path, &bytes) {
            self.note(start);
        }
    }

    fn note(&mut self, start: usize) {
        if self.found.is_none() {
            self.found = Some(FieldSpan { path: self.path.clone(), bytes: start..self.at.max(start) });
        }
    }

    /// The values in an object or a list.
    fn members(&mut self, open: u8, is_it: &mut dyn FnMut(&str, &Range<usize>) -> bool) {
        self.at += 1;
        let outer = self.path.len();
        for index in 0.. {
            match self.peek() {
                None => return,
                Some(b'}' | b']') => break,
                Some(_) => {}
            }
            if open == b'[' {
                self.path += &format!("[{index}]");
            } else {
                let key = self.string();
                if !self.path.is_empty() {
                    self.path.push('.');
                }
                self.path += &key;
                if self.peek() == Some(b':') {
                    self.at += 1;
                }
            }
            self.value(is_it);
            if self.found.is_some() {
                return;
            }
            self.path.truncate(outer);
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}' | b']') => break,
                // Not valid from here on, or the end.
                _ => return,
            }
        }
        self.at += 1;
    }

    /// Passes over an object or a list without a look at what is in it.
    fn pass(&mut self) {
        let mut open = 0_usize;
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'"' => {
                    self.string();
                    continue;
                }
                b'{' | b'[' => open += 1,
                b'}' | b']' => open = open.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
            if open == 0 {
                return;
            }
        }
    }

    /// A string, without its quotes; escapes stay as they are.
    fn string(&mut self) -> String {
        let start = self.at + 1;
        self.at = start;
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        let end = self.at.min(self.text.len());
        self.at = (self.at + 1).min(self.text.len());
        String::from_utf8_lossy(self.text.get(start..end).unwrap_or_default()).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] =
        b"{\n  \"a\": 1,\n\t\"mounts\": [\n    {\"options\": [\"ro\", \"x\\\"y\"]}, {\"n\": {}}\n  ]\n}\n";

    fn shown(path: &str) -> String {
        String::from_utf8(TEXT[of(TEXT, path).bytes].to_vec()).unwrap()
    }

    #[test]
    fn fields_are_found_by_path() {
        assert_eq!(shown("a"), "1");
        assert_eq!(shown("mounts[0].options[1]"), "\"x\\\"y\"");
        assert_eq!(shown("mounts[1].n"), "{}");
        // What is not there is looked for in what holds it.
        assert_eq!(shown("mounts[1].m.k"), "{\"n\": {}}");
        assert_eq!(shown("b"), std::str::from_utf8(TEXT).unwrap().trim_end());
    }

    #[test]
    fn a_position_has_a_path() {
        for (text, path) in [("\"ro\"", "mounts[0].options[0]"), ("{}", "mounts[1].n"), ("1", "a")] {
            let end = TEXT.windows(text.len()).position(|part| part == text.as_bytes()).unwrap() + text.len();
            let line = TEXT[..end].iter().filter(|byte| **byte == b'\n').count() + 1;
            let column = end - TEXT[..end].iter().rposition(|byte| *byte == b'\n').unwrap() - 1;
            assert_eq!(at(TEXT, line, column).path, path);
        }
        for cut in 0..=TEXT.len() {
            at_offset(TEXT, cut);
            of(&TEXT[..cut], "mounts[0].options[1]");
        }
    }

    #[test]
    fn the_deepest_is_passed_over() {
        for (open, close) in [(r#"{"a":"#, "}"), ("[", "]")] {
            let (open, close) = (open.repeat(200_000), close.repeat(200_000));
            let whole = format!(r#"{{"x": {open}"}}]"{close}, "y": 5}}"#);
            let span = of(whole.as_bytes(), "y");
            assert_eq!((&whole[span.bytes], &span.path[..]), ("5", "y"));
            for cut in [open.len(), open.len() + 12] {
                assert!(at_offset(whole.as_bytes(), cut).path.starts_with('x'));
            }
        }
    }

    #[test]
    fn lines_of_many_fields_are_those_of_each() {
        let fields = ["a", "mounts[1].n", "mounts[0].options[7]", "mounts[0].options[1]", "nothing.here", "", "mounts"];
        let lines = lines_of(TEXT, &fields);
        let line = |field: &str| TEXT[..of(TEXT, field).bytes.start].iter().filter(|byte| **byte == b'\n').count() + 1;
        assert_eq!(lines, fields.map(line));
    }

    #[test]
    fn an_excerpt_has_carets_under_the_value() {
        assert_eq!(excerpt(TEXT, &of(TEXT, "a")), "     2 |   \"a\": 1,\n       |        ^\n");
        let long = format!("{{\"x\": \"{}\", \"y\": 5, \"z\": \"{}\"}}", "a".repeat(200), "b".repeat(200));
        let lines = excerpt(long.as_bytes(), &of(long.as_bytes(), "y"));
        let lines: Vec<Vec<char>> = lines.lines().map(|line| line.chars().collect()).collect();
        assert!(lines[0].len() < 140);
        assert_eq!(lines[0][lines[1].iter().position(|c| *c == '^').unwrap()], '5');
    }
}
