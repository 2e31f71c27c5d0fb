//! Whose word it takes for annotations to be followed: the caller's, by flag or environment, or the administrator's.
//!
//! Reads the administrator's file, which counts only if nobody else can have written it. Runs in the parent.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;

use crate::container::options::Global;
use crate::error::{Context, Error, Result, Stage};
use crate::plan::systemd::driver::CgroupDriver;
use crate::spec::Spec;
use crate::spec::annotations::{SYSTEMD_PROPERTY, Trust};
use crate::sys::fs::RegularFile;

const DIR: &str = "/etc/brisk";
const FILE: &str = "/etc/brisk/trusted-annotations";

/// More than all names there are.
const LONGEST: u64 = 64 * 1024;

/// Decides which of the annotations are followed, and tells of those that are not.
pub(in crate::container) fn decide(global: &Global, spec: &mut Spec) -> Result<()> {
    let mut trust = Trust::default();
    for (list, source) in [
        (&global.trust_annotations, "--trust-annotations"),
        (&global.environment.trust_annotations, "BRISK_TRUST_ANNOTATIONS"),
    ] {
        trust.extend(Trust::parse(list.as_deref().unwrap_or_default(), source)?);
    }
    // Few containers have any, and only for them is there a file to look for.
    if !trust.left_out(spec).is_empty() {
        trust.extend(of_administrator(global)?);
    }
    for key in trust.left_out(spec) {
        if !key.starts_with(SYSTEMD_PROPERTY) || global.cgroups == CgroupDriver::Systemd {
            (global.warn)(&format!(
                "annotation {key} is not followed: an image can have it; --trust-annotations or BRISK_TRUST_ANNOTATIONS \
                 says otherwise"
            ));
        }
    }
    trust.apply(spec);
    Ok(())
}

/// What /etc/brisk/trusted-annotations says: a name a line, `#` begins a comment.
fn of_administrator(global: &Global) -> Result<Trust> {
    let file = match RegularFile::find(Path::new(FILE)) {
        Err(Errno::ENOENT) => return Ok(Trust::default()),
        result => result.at(Stage::Args, || format!("open {FILE}"))?,
    };
    let dir = std::fs::symlink_metadata(DIR).at(Stage::Args, || format!("look at {DIR}"))?;
    let counts =
        |file: &RegularFile| roots_alone(file.stat.st_uid, file.stat.st_mode) && roots_alone(dir.uid(), dir.mode());
    let Some(file) = file.filter(counts) else {
        (global.warn)(&format!("{FILE} does not count: others than root may have written it"));
        return Ok(Trust::default());
    };
    let text = file.read(LONGEST).at(Stage::Args, || format!("read {FILE}"))?;
    let text = String::from_utf8(text).map_err(|_| Error::new(Stage::Args, format!("read {FILE}: it is not UTF-8")))?;
    let names: Vec<&str> = text.lines().map(|line| line.split('#').next().unwrap_or_default()).collect();
    Trust::parse(&names.join("\n"), FILE)
}

/// In a user namespace without the host's root that one's files belong to the overflow uid, and do not count.
fn roots_alone(uid: u32, mode: u32) -> bool {
    uid == 0 && mode & 0o022 == 0
}
