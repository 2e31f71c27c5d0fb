//! `spec`: a config.json to start from, and with `--program` a root for it.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::compose::{Composition, ReportRow};
use crate::container::outline::{self, Outline};
use crate::error::{Context, Error, Result, Stage};
use crate::spec::mounts::Mount;

/// Writes the config.json of an outline, under this name, to a bundle that is there, or to the working directory.
pub fn write_spec(bundle: Option<&Path>, name: &Path, outline: &Outline) -> Result<()> {
    let text = outline::file(outline)?;
    write(&in_bundle(bundle, name), &text, || Ok(()))
}

/// Writes a bundle whose root is put together of the host's files; the files, and why each is there.
pub fn compose_bundle(
    bundle: Option<&Path>,
    name: &Path,
    outline: &Outline,
    composed: &Composition,
) -> Result<Vec<ReportRow>> {
    let text = outline::file(&with_program(outline, composed)?)?;
    if let Some(bundle) = bundle {
        match std::fs::create_dir(bundle) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.at(Stage::Bundle, || format!("make {}", bundle.display()))?,
        }
    }
    write(&in_bundle(bundle, name), &text, || composed.lay_out(&in_bundle(bundle, Path::new("rootfs"))))?;
    Ok(composed.report())
}

fn in_bundle(bundle: Option<&Path>, name: &Path) -> PathBuf {
    bundle.map_or_else(|| name.to_owned(), |bundle| bundle.join(name))
}

/// `beside` is made when the name is ours, and before the text is there.
fn write(path: &Path, text: &[u8], beside: impl FnOnce() -> Result<()>) -> Result<()> {
    // O_EXCL: never over what somebody has edited.
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::new(Stage::Bundle, format!("{} exists: remove it first", path.display())));
        }
        result => result.at(Stage::Bundle, || format!("make {}", path.display()))?,
    };
    let done = beside().and_then(|()| file.write_all(text).at(Stage::Bundle, || format!("write {}", path.display())));
    if done.is_err() {
        // Half a bundle would keep the next try out.
        let _gone = std::fs::remove_file(path);
    }
    done
}

/// The program is what runs, unless a command was given; a mount over what it consists of comes first, so that it is on top.
fn with_program(outline: &Outline, composed: &Composition) -> Result<Outline> {
    let mut outline = outline.clone();
    if outline.args.is_empty() {
        outline.args.push(composed.program().to_owned());
    }
    let mounts = composed.mounts()?;
    let hidden = |one: &Mount| composed.links().find(|(link, _)| link.starts_with(&one.destination));
    if let Some((one, (link, _))) = outline.mounts.iter().find_map(|one| Some((one, hidden(one)?))) {
        let what = format!("{} would hide the link {}, which the program needs", one.destination, link.display());
        return Err(Error::new(Stage::Args, what).with_hint("mount something that is further below"));
    }
    let above = |one: &Mount| mounts.iter().any(|bind| Path::new(&bind.destination).starts_with(&one.destination));
    let (first, last): (Vec<_>, Vec<_>) = outline.mounts.drain(..).partition(above);
    outline.mounts = [first, mounts, last].concat();
    Ok(outline)
}
