//! `trace`: where the time of a command went, from the file that its `--trace` has written.
//!
//! The modules, in the order of the work: `timeline` reads the file and says what it means, `compare` puts two beside each other; `tables` and
//! `picture` show it. Not trusted: the file.

mod compare;
mod picture;
mod tables;
mod timeline;

use std::path::Path;

use brisk::cli::apart::each_its_own;
use brisk::cli::args::TraceArgs;
use brisk::cli::output;
use brisk::cli::put::Format;
use brisk::container::options::Global;
use brisk::error::Result;
use brisk::state::StateRoot;
use serde_json::json;

use crate::containers::roots;
use crate::looks::Looks;
use crate::svg::NamedFile;
use crate::{json, svg};

use timeline::Timeline;

/// The version of the format.
const VERSION: u32 = 1;

/// Shows one, or compares two.
pub fn trace(global: &Global<'_>, args: &TraceArgs) -> Result<()> {
    let TraceArgs { file, compare, format, plain, svg: picture, html } = args;
    let looks = Looks::of_stdout();
    let looks = if *plain { looks.plain() } else { looks };
    let files = PictureFiles::find(picture.as_deref(), html.as_deref(), *format, &roots(global)?)?;
    files.check(file, compare.as_deref())?;
    let first = Timeline::read(file)?;
    let Some(other) = compare else {
        let sentence = first.sentence();
        let drawn = || picture::svg(&[("", &first)], &sentence);
        if files.write(drawn, || picture::page(&first))? == StdoutUse::Picture {
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
    if files.write(|| picture::svg(&lines, &sentence), page)? == StdoutUse::Picture {
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

/// The files of the pictures, looked up before anything is written.
struct PictureFiles {
    svg: Option<NamedFile>,
    html: Option<NamedFile>,
    stdout: StdoutUse,
}

impl PictureFiles {
    fn find(svg: Option<&Path>, html: Option<&Path>, format: Format, roots: &[StateRoot]) -> Result<PictureFiles> {
        let mut stdout = StdoutUse::Text;
        for file in svg.iter().chain(&html) {
            if svg::takes_stdout(file, format)? {
                stdout = StdoutUse::Picture;
            }
        }
        let find = |file: Option<&Path>| file.map(|file| NamedFile::find(file, roots)).transpose();
        Ok(PictureFiles { svg: find(svg)?, html: find(html)?, stdout })
    }

    /// Refuses those that are one, or one of what is read.
    fn check(&self, file: &Path, other: Option<&Path>) -> Result<()> {
        let text = (self.stdout == StdoutUse::Text).then_some(("standard output", &NamedFile::Stdout));
        let named = [("--svg", &self.svg), ("--html", &self.html)];
        let named = named.into_iter().filter_map(|(name, file)| Some((name, file.as_ref()?)));
        let written: Vec<_> = named.chain(text).collect();
        let read: Vec<_> = [("what is read", Some(file)), ("--compare", other)]
            .into_iter()
            .filter_map(|(name, path)| Some((name, path?)))
            .collect();
        each_its_own(&written, &read)
    }

    fn write(&self, svg: impl Fn() -> String, html: impl Fn() -> String) -> Result<StdoutUse> {
        for (file, text) in [(&self.svg, &svg as &dyn Fn() -> String), (&self.html, &html)] {
            file.as_ref().map_or(Ok(()), |file| file.write(&text()))?;
        }
        Ok(self.stdout)
    }
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
