//! `memory`: which memory of containers is shared, which is theirs alone, and which would be shared if files were.
//!
//! The modules, in the order of the work: `look` gathers what processes have mapped, by `smaps`, which is read `aside`; `caches` says whose files
//! are the same; `tables` and `picture` show it. Reads, and changes nothing.

mod aside;
mod caches;
mod look;
mod picture;
mod smaps;
mod tables;

use brisk::cli::apart::each_its_own;
use brisk::cli::args::MemoryArgs;
use brisk::cli::output;
use brisk::cli::put::Format;
use brisk::container::options::Global;
use brisk::error::Result;

use crate::containers::{Finder, roots};
use crate::json;
use crate::looks::Looks;
use crate::svg::{self, NamedFile};

use look::MemoryLook;

/// Shows it.
pub fn memory(global: &Global<'_>, args: &MemoryArgs) -> Result<()> {
    let MemoryArgs { ids, format, filters, plain, svg } = args;
    let only_picture = svg.as_deref().map_or(Ok(false), |file| svg::takes_stdout(file, *format))?;
    // Before what takes time.
    let roots = roots(global)?;
    let picture = svg.as_deref().map(|file| NamedFile::find(file, &roots)).transpose()?;
    if let Some(file) = picture.as_ref().filter(|_| !only_picture) {
        each_its_own(&[("--svg", file), ("standard output", &NamedFile::Stdout)], &[])?;
    }
    let search = Finder::new(global, ids)?;
    let look = MemoryLook::at(search.look_for_all(filters)?)?;
    if *format != Format::Json {
        look.problems.told.iter().for_each(|problem| (global.warn)(problem));
    }
    if let Some(file) = picture {
        file.write(&picture::draw(&look))?;
    }
    output::print(&match format {
        _ if only_picture => String::new(),
        Format::Json => json::text(&look.json())?,
        Format::Table => {
            let looks = Looks::of_stdout();
            let looks = if *plain { looks.plain() } else { looks };
            tables::all(&look, looks).join("\n") + "\n"
        }
    })?;
    let shown: Vec<_> = look.containers.iter().map(|container| &container.reading.subject).collect();
    search.all_are_shown(&shown, &look.problems)
}
