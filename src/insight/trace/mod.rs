//! `trace`: where the time of a command went, from the file that its `--trace` has written.
//!
//! The modules, in the order of the work: `timeline` reads the file and says what it means, `compare` puts two beside each other; `tables` and
//! `picture` show it. Not trusted: the file.

mod compare;
mod picture;
mod tables;
mod timeline;

use brisk::cli::args::TraceArgs;
use brisk::cli::output;
use brisk::cli::put::Format;
use brisk::error::Result;
use serde_json::json;

use crate::looks::Looks;
use crate::{json, svg};

use timeline::Timeline;

/// The version of the format.
const VERSION: u32 = 1;

/// Shows one, or compares two.
pub fn trace(args: &TraceArgs) -> Result<()> {
    let TraceArgs { file, compare, format, plain, svg: picture, html } = args;
    let looks = Looks::of_stdout();
    let looks = if *plain { looks.plain() } else { looks };
    let first = Timeline::read(file)?;
    let Some(other) = compare else {
        let sentence = first.sentence();
        let drawn = || picture::svg(&[("", &first)], &sentence);
        if pictures(picture.as_deref(), html.as_deref(), drawn, || picture::page(&first))? == StdoutUse::Picture {
            return Ok(());
        }
        let mut value = first.json();
        value["version"] = json!(VERSION);
        return print(*format, &value, &sentence, || tables::steps(&first, looks), looks);
    };
    let second = Timeline::read(other)?;
    let steps = compare::compare(&first, &second);
    let sentence = compare::sentence(&first, &second, &steps);
    let names = [file, other].map(|path| path.to_string_lossy());
    let lines = [(&*names[0], &first), (&*names[1], &second)];
    let page = || picture::page_of_two(&lines, &steps);
    if pictures(picture.as_deref(), html.as_deref(), || picture::svg(&lines, &sentence), page)? == StdoutUse::Picture {
        return Ok(());
    }
    let mut value = compare::json(&first, &second, &steps);
    value["version"] = json!(VERSION);
    print(*format, &value, &sentence, || tables::changes(&first, &second, &steps, looks), looks)
}

/// What standard output is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StdoutUse {
    Text,
    Picture,
}

fn pictures(
    svg_file: Option<&std::path::Path>,
    html_file: Option<&std::path::Path>,
    svg: impl Fn() -> String,
    html: impl Fn() -> String,
) -> Result<StdoutUse> {
    let mut used = StdoutUse::Text;
    for (file, text) in [(svg_file, &svg as &dyn Fn() -> String), (html_file, &html)] {
        let Some(file) = file else { continue };
        svg::write(file, &text())?;
        if file.as_os_str() == "-" {
            used = StdoutUse::Picture;
        }
    }
    Ok(used)
}

fn print(
    format: Format,
    value: &serde_json::Value,
    sentence: &str,
    table: impl Fn() -> Vec<String>,
    looks: Looks,
) -> Result<()> {
    match format {
        Format::Json => output::print(&json::text(value)?),
        Format::Table => {
            let lines = tables::wrapped(sentence, looks).into_iter().chain([String::new()]).chain(table());
            output::print(&(lines.collect::<Vec<_>>().join("\n") + "\n"))
        }
    }
}
