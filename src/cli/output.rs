//! Results as text.

use std::os::fd::AsFd;

use nix::errno::Errno;
use serde::Serialize;
use serde_json::json;

use crate::container::options::Transfer;
use crate::container::pool::PoolView;
use crate::container::{TransferRow, View};
use crate::error::{Context, Result, Stage, is_unseen, printable, width as shown_width};
use crate::plan::cgroup::transfer::Share;
use crate::sys::descriptor::is_writable;
use crate::sys::fs;
use crate::sys::poll::{self, PollFlags};
use crate::sys::process::was_closed;

/// Whether anybody reads what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Somebody does, as far as is known.
    There,
    /// Nobody any more.
    Gone,
}

/// Writes to standard output, at once. Not by std, which takes one that is not open for writing for one that loses everything.
pub fn write(text: &str) -> Result<Audience> {
    let out = std::io::stdout();
    let closed = was_closed(out.as_fd());
    let mut left = text.as_bytes();
    while !left.is_empty() {
        // /dev/null stands in the place of one that was closed.
        let written = match if closed { Err(Errno::EBADF) } else { fs::write(out.as_fd(), left) } {
            Ok(written) => left.get(written..).filter(|rest| rest.len() < left.len()).ok_or(Errno::EIO),
            // Whoever has the same file open may want it not to wait; we do.
            Err(Errno::EAGAIN) => poll::one(out.as_fd(), PollFlags::POLLOUT, None).map(|_| left),
            Err(Errno::EPIPE) => return Ok(Audience::Gone),
            Err(errno) => Err(errno),
        };
        left = written.at(Stage::Args, || "write standard output")?;
    }
    Ok(Audience::There)
}

/// Looks whether standard output is open for writing, for who could not do again what he is about to write.
pub fn check_open() -> Result<()> {
    let out = std::io::stdout();
    let open = is_writable(out.as_fd()).map(|writable| writable && !was_closed(out.as_fd()));
    open.and_then(|open| if open { Ok(()) } else { Err(Errno::EBADF) }).at(Stage::Args, || "write standard output")
}

/// [`write()`]; a reader that went away (`brisk list | head`) is no error.
pub fn print(text: &str) -> Result<()> {
    write(text).map(drop)
}

/// Writes lines for people. What is in them may be somebody else's (names of an image's files, words of its annotations),
/// and a terminal obeys some characters.
pub fn print_lines(text: &str) -> Result<()> {
    print(&text.lines().fold(String::with_capacity(text.len()), |out, line| out + &printable(line) + "\n"))
}

/// JSON on several lines, as `state` and `features` print it, with a newline.
pub fn pretty(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value).at(Stage::Args, || "write JSON").map(escaped)
}

/// JSON on one line, as `list` and `ps` print it, with a newline.
pub fn compact(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).at(Stage::Args, || "write JSON").map(escaped)
}

/// What a terminal would obey is escaped: JSON itself asks for that of some of it only.
fn escaped(json: String) -> String {
    let mut text = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        // Those that are ASCII are escaped already, but for DEL, or between values.
        if (!c.is_ascii() || c == '\u{7f}') && is_unseen(c) {
            // Two of them where four digits are too few.
            text.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            text.push(c);
        }
    }
    text.push('\n');
    text
}

/// The table of `list`, in runc's columns.
pub fn table(containers: &[View]) -> String {
    let title = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = containers.iter().map(|view| {
        [
            view.id.clone(),
            view.pid.to_string(),
            view.status.to_owned(),
            printable(&view.bundle),
            printable(&view.created),
            view.owner.clone(),
        ]
    });
    align(&std::iter::once(title).chain(rows).collect::<Vec<_>>())
}

/// The table of `pool list`.
pub fn pools(pools: &[PoolView]) -> String {
    let title = ["NAME", "WAITING", "SIZE", "BUNDLE"].map(str::to_owned);
    let rows = pools
        .iter()
        .map(|pool| [pool.name.clone(), pool.waiting.to_string(), pool.size.to_string(), printable(&pool.bundle)]);
    align(&std::iter::once(title).chain(rows).collect::<Vec<_>>())
}

/// What `update --move` has done, or would do.
pub fn transfer(asked: &Transfer, rows: &[TransferRow]) -> serde_json::Value {
    json!({ "version": 1, "from": asked.from, "to": asked.to, "done": !asked.dry_run, "steps": rows })
}

/// The table of `update --move`: a line for each step and what is moved.
pub fn steps(asked: &Transfer, rows: &[TransferRow]) -> String {
    let title = ["STEP", "WHAT", &asked.from, &asked.to, "TOGETHER"].map(str::to_owned);
    let mut lines = vec![title];
    for TransferRow { step, from, to, together } in rows {
        let mut line = |what: &str, of: &dyn Fn(&Share) -> String| {
            lines.push([step.to_string(), what.to_owned(), of(from), of(to), of(together)]);
        };
        if asked.amounts.memory > 0 {
            line("memory", &|share| share.memory_bytes.unwrap_or_default().to_string());
        }
        if asked.amounts.cpu > 0 {
            line("cpus", &|share| share.cpus.unwrap_or_default().to_string());
        }
        if asked.amounts.pids > 0 {
            line("tasks", &|share| share.tasks.unwrap_or_default().to_string());
        }
    }
    align(&lines)
}

/// Left-aligned columns at least 12 wide with three spaces between; the last is not padded.
pub(super) fn align(rows: &[impl AsRef<[String]>]) -> String {
    let cell = |row: usize, column: usize| rows[row].as_ref().get(column).map_or("", String::as_str);
    let columns = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0);
    let width = |column| (0..rows.len()).map(|row| shown_width(cell(row, column)) + 3).max().unwrap_or(0).max(12);
    let widths: Vec<usize> = (0..columns.saturating_sub(1)).map(width).collect();
    (0..rows.len()).fold(String::new(), |mut text, row| {
        for (column, width) in widths.iter().enumerate() {
            let cell = cell(row, column);
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - shown_width(cell)));
        }
        text.push_str(cell(row, widths.len()));
        text.push('\n');
        text
    })
}

/// The lines of ps(1) that are about `pids`, under its title.
pub fn filter_ps(output: &str, pids: &[i32]) -> Result<String> {
    let mut lines = output.lines();
    let title = lines.next().unwrap_or_default();
    let Some(column) = title.split_ascii_whitespace().position(|name| name == "PID") else {
        return Err(crate::error::Error::new(Stage::Args, "ps printed no PID column")
            .with_hint("give ps options whose output has a column called PID"));
    };
    let mut text = format!("{title}\n");
    for line in lines {
        let pid = line.split_ascii_whitespace().nth(column).and_then(|field| field.parse().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::is_unseen;

    #[test]
    fn a_table_gives_a_terminal_no_orders() {
        let view = View {
            oci_version: String::new(),
            id: "a".to_owned(),
            pid: 1,
            status: "running",
            exit_status: None,
            finished: None,
            reason: None,
            bundle: "/b\u{1b}[2J\n\u{202e}x".to_owned(),
            rootfs: String::new(),
            created: "\u{9b}2J".to_owned(),
            annotations: std::collections::BTreeMap::new(),
            owner: "root".to_owned(),
        };
        let text = table(&[view]);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.lines().all(|line| !line.chars().any(is_unseen)), "{text}");
    }
}
