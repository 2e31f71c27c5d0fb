//! A root that is put together from files of the host: a program, its loader and libraries, and what else is asked for.
//! Each is bound where it is on the host, so that it is in memory once for all who use it; nothing else of the host is
//! there. `spec --program` writes such a root down.
//!
//! `gather` follows what files ask for: [`elf`] reads it from them, and [`script`] from one with `#!`; [`loader`] knows where that
//! may be, [`root`] what the root becomes, and `report` why.
//!
//! Not trusted: the files that are read, which only name others; what is taken is what the caller may read.

pub mod elf;
mod gather;
pub mod loader;
mod report;
pub mod root;
pub mod script;

use std::path::{Path, PathBuf};

use self::gather::{Gatherer, find_program};
pub use self::report::{ReportRow, Taken};
use self::root::{ComposedRoot, FileKind, follow};
use crate::error::{Error, Result, Stage};
use crate::spec::mounts::Mount;

/// A root and its program.
#[derive(Debug)]
pub struct Composition {
    program: String,
    root: ComposedRoot,
    absent: Vec<ReportRow>,
    /// Links in directories that are bound.
    outward: Vec<PathBuf>,
}

impl Composition {
    /// The path of the program.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The binds.
    pub fn mounts(&self) -> Result<Vec<Mount>> {
        let bind = |path: &Path, kind| {
            let path = path.to_str().ok_or_else(|| {
                Error::new(Stage::Bundle, format!("{}: a name in config.json is UTF-8", path.display()))
            })?;
            let options: &[&str] = match kind {
                FileKind::File => &["bind", "private", "ro", "nosuid", "nodev"],
                FileKind::Dir => &["rbind", "rprivate", "rro", "rnosuid", "rnodev"],
            };
            Ok(Mount {
                destination: path.to_owned(),
                kind: Some("bind".to_owned()),
                source: Some(path.to_owned()),
                options: options.iter().map(|option| (*option).to_owned()).collect(),
                ..Mount::default()
            })
        };
        self.root.binds().map(|(path, bound)| bind(path, bound.kind)).collect()
    }

    /// What is in the root and why, and what is not.
    pub fn report(&self) -> Vec<ReportRow> {
        let text = |path: &Path| path.display().to_string();
        let binds = self.root.binds();
        let binds =
            binds.map(|(path, bound)| ReportRow { taken: Taken::Bind, what: text(path), why: bound.why.clone() });
        let links = self.root.links();
        let links = links.map(|(path, to)| ReportRow {
            taken: Taken::Link,
            what: text(path),
            why: format!("to {}", to.display()),
        });
        // Only now is it known what else was taken.
        let outward = self.outward.iter().filter_map(|link| {
            let (real, links) = follow(link).ok()?;
            let there = self.root.has(&real) && links.iter().all(|(link, _)| self.root.has(link));
            (!there).then(|| ReportRow {
                taken: Taken::Absent,
                what: text(&real),
                why: format!("{} leads to it", link.display()),
            })
        });
        binds.chain(links).chain(self.absent.iter().cloned()).chain(outward).collect()
    }

    /// The links, and where they lead to.
    pub fn links(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.root.links()
    }

    /// Makes the root's directory, for `root.path`.
    pub fn lay_out(&self, root: &Path) -> Result<()> {
        self.root.lay_out(root)
    }
}

/// Finds a program and all that it needs; `with` are further paths, or `nss` or `gconv`.
pub fn compose(program: &Path, with: &[String]) -> Result<Composition> {
    let program = find_program(program)?;
    let mut gatherer = Gatherer::default();
    gatherer.program(&program, "the program")?;
    for wanted in with {
        gatherer.with(wanted)?;
    }
    let Gatherer { root, absent, outward, .. } = gatherer;
    let text = program.to_str();
    let program = text.ok_or_else(|| Error::new(Stage::Args, format!("--program {}: not UTF-8", program.display())))?;
    Ok(Composition { program: program.to_owned(), root, absent, outward })
}
