//! `plan` where more is asked than the list in order: by subject, as the tree of the root that will be, what is different from
//! another one, or of another host. All of it is made from the JSON that `brisk plan --json` prints, so a plan that was saved
//! somewhere will do.
//!
//! The modules: `document` reads such JSON; `groups`, `root` with `tree`, and `changes` are what is shown; `layout` breaks lines; `tests`.

mod changes;
mod document;
mod groups;
mod layout;
mod root;
#[cfg(test)]
mod tests;
mod tree;

use std::path::Path;

use brisk::cli::args::{PlanArgs, PlanFormat};
use brisk::cli::plan::is_saved;
use brisk::cli::{output, plan as list};
use brisk::container::options::Global;
use brisk::error::{Error, Result, Stage};

use self::document::PlanDocument;
use crate::json;
use crate::looks::Looks;

/// Shows one, or what is different between two.
pub fn plan(global: &Global, args: &PlanArgs) -> Result<()> {
    let looks = Looks::of_stdout();
    let plain = args.plain;
    let looks = if plain { looks.plain() } else { looks };
    let elsewhere = args.host.as_deref().map(document::host_of).transpose()?;
    let value_of = |path: &Path| match is_saved(path) {
        true if args.host.is_some() && args.diff.is_none() => {
            let what = format!("--host: {} is a plan that was made already", path.display());
            Err(Error::new(Stage::Args, what).with_hint("with a bundle it is planned for that host"))
        }
        true => document::value(path),
        false => list::document_of(global, path, args.which(), elsewhere.clone()),
    };
    let read = |path: &Path| PlanDocument::of(&value_of(path)?, &path.to_string_lossy());
    if args.bundle == Path::new("-") && args.diff.as_deref() == Some(&args.bundle) {
        return Err(Error::new(Stage::Args, "standard input is one plan").with_hint("name a file for the other"));
    }
    let lines = match (&args.diff, args.format) {
        (None, PlanFormat::Table | PlanFormat::Json) if !is_saved(&args.bundle) => {
            return list::plan(global, args, elsewhere);
        }
        (None, PlanFormat::Table) => groups::list(&read(&args.bundle)?, looks),
        (None, PlanFormat::Json) => {
            let value = value_of(&args.bundle)?;
            // It is looked at, too, before it is handed on.
            PlanDocument::of(&value, &args.bundle.to_string_lossy())?;
            return output::print(&json::text(&value)?);
        }
        (None, PlanFormat::Groups) => groups::lines(&read(&args.bundle)?, looks),
        (None, PlanFormat::Tree) => tree::lines(&read(&args.bundle)?, looks),
        (Some(other), format) => {
            let (first, second) = (read(other)?, read(&args.bundle)?);
            match format {
                PlanFormat::Json => return output::print(&json::text(&changes::json(&first, &second))?),
                PlanFormat::Tree => tree::changes(&first, &second, looks),
                PlanFormat::Table | PlanFormat::Groups => changes::lines(&first, &second, looks),
            }
        }
    };
    output::print(&(lines.join("\n") + "\n"))
}
